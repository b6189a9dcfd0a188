"""Who may send what, when: the rules of conduct, one at a time."""

from __future__ import annotations

import json
from functools import cache
from typing import cast

import pytest

from pipeguard.core.finding import Action, Direction, Finding
from pipeguard.core.pins.fingerprint import Pin
from pipeguard.core.protocol import codes
from pipeguard.core.protocol.json_values import JsonObject, JsonValue
from pipeguard.core.protocol.message import Message, parse
from pipeguard.core.protocol.pending import PendingRequest
from pipeguard.core.protocol.places import Surface
from pipeguard.core.protocol.strict_json import parse_json
from pipeguard.core.protocol.subscriptions import SUBSCRIPTION_META
from pipeguard.core.rules.policy import Layer, Limits, Mode, Policy, Trust
from pipeguard.core.scanning.databases import build, loaded
from pipeguard.core.scanning.engine import Engine
from pipeguard.core.session import conduct
from pipeguard.core.session.conduct import ConversationState
from pipeguard.core.session.guard import Engines, Guard
from pipeguard.errors import Refusal

TO_SERVER, TO_CLIENT = Direction.TO_SERVER, Direction.TO_CLIENT


def message(**members: object) -> Message:
    made = parse(json.dumps({"jsonrpc": "2.0", **members}).encode())
    assert isinstance(made, Message)
    return made


def value(text: str) -> JsonValue:
    return parse_json(text.encode())


def admit(state: ConversationState, direction: Direction, sent: Message) -> PendingRequest:
    """A request that goes on."""
    assert sent.id_token is not None
    assert sent.method is not None
    request = PendingRequest(sent.id_token, sent.method, None, 0.0, conduct.progress_token(sent))
    state.admit(direction, sent, request)
    state.sent(direction, sent, request)
    return request


def opened(**capabilities: object) -> ConversationState:
    """A state after the client declared this."""
    state = ConversationState(Limits())
    params = {"protocolVersion": "2025-11-25", "capabilities": capabilities}
    admit(state, TO_SERVER, message(id=0, method="initialize", params=params))
    state.opened("initialize", {"protocolVersion": "2025-11-25"})
    state.admit_notification(TO_SERVER, message(method="notifications/initialized"), 0.0)
    return state


@cache
def engines() -> Engines:
    """Without a rule: conduct looks at no text."""
    return Engines(*(Engine([], surface, loaded(build([], surface))) for surface in Surface))


def guard(policy: Policy | None = None, pins: dict[tuple[str, str], Pin] | None = None) -> Guard:
    return Guard("demo", engines(), policy or Policy(), pins or {})


def held(kind: str, name: str) -> dict[tuple[str, str], Pin]:
    return {(kind, name): Pin(kind, name, "{}", "00", "{}", "11", "drift: wording")}


def rule_of(finding: Finding | None) -> str | None:
    return finding.rule if finding is not None else None


# --- requests ------------------------------------------------------------------------------


def test_no_more_than_the_limit_wait() -> None:
    state = ConversationState(Limits(pending=1))
    admit(state, TO_SERVER, message(id=1, method="ping"))
    with pytest.raises(Refusal) as refused:
        admit(state, TO_SERVER, message(id=2, method="ping"))
    assert (refused.value.rule, refused.value.code) == (
        "protocol.too-many-pending",
        codes.OVERLOADED,
    )
    assert refused.value.id_token == "2"


def test_an_id_in_use_is_refused() -> None:
    state = ConversationState(Limits())
    admit(state, TO_SERVER, message(id=1, method="ping"))
    with pytest.raises(Refusal, match="belongs to a request") as refused:
        admit(state, TO_SERVER, message(id=1, method="ping"))
    assert refused.value.rule == "protocol.id-in-use"


@pytest.mark.parametrize(
    ("capabilities", "method", "params"),
    [
        ({"roots": {}}, "roots/list", {}),
        ({"sampling": {}}, "sampling/createMessage", {}),
        ({"elicitation": {}}, "elicitation/create", {"mode": "form"}),
        ({"elicitation": {"url": {}}}, "elicitation/create", {"mode": "url"}),
        ({}, "acme/ask", {}),
        ({}, "ping", {}),
    ],
)
def test_a_server_may_ask_for_what_was_declared(
    capabilities: dict[str, object], method: str, params: dict[str, str]
) -> None:
    admit(opened(**capabilities), TO_CLIENT, message(id=1, method=method, params=params))


@pytest.mark.parametrize(
    ("capabilities", "method", "params"),
    [
        ({"roots": {}}, "sampling/createMessage", {}),
        ({"elicitation": {}}, "elicitation/create", {"mode": "url"}),
        ({"elicitation": True}, "elicitation/create", {"mode": "url"}),
        ({}, "roots/list", {}),
    ],
)
def test_a_server_may_not_ask_for_what_was_not(
    capabilities: dict[str, object], method: str, params: dict[str, str]
) -> None:
    with pytest.raises(Refusal) as refused:
        admit(opened(**capabilities), TO_CLIENT, message(id=1, method=method, params=params))
    assert refused.value.rule == "protocol.undeclared-capability"
    assert refused.value.code == codes.METHOD_NOT_FOUND


@pytest.mark.parametrize("params", [None, {}, {"capabilities": []}])
def test_who_declares_nothing_is_asked_nothing(params: dict[str, object] | None) -> None:
    state = ConversationState(Limits())
    members = {} if params is None else {"params": params}
    admit(state, TO_SERVER, message(id=0, method="initialize", **members))
    with pytest.raises(Refusal):
        admit(state, TO_CLIENT, message(id=1, method="roots/list"))


def test_before_the_client_spoke_only_a_ping_passes() -> None:
    state = ConversationState(Limits())
    admit(state, TO_CLIENT, message(id=1, method="ping"))
    with pytest.raises(Refusal) as refused:
        admit(state, TO_CLIENT, message(id=2, method="acme/ask"))
    assert refused.value.rule == "protocol.too-early"


def test_without_a_handshake_a_server_asks_nothing() -> None:
    state = ConversationState(Limits())
    admit(state, TO_SERVER, message(id=1, method="tools/list"))
    with pytest.raises(Refusal, match="not declared"):
        admit(state, TO_CLIENT, message(id=1, method="acme/ask"))


def test_before_it_has_answered_the_handshake_a_server_asks_nothing_and_then_is_noted() -> None:
    state = ConversationState(Limits())
    params: JsonObject = {"capabilities": {"roots": {}}}
    admit(state, TO_SERVER, message(id=0, method="initialize", params=params))
    asks = message(id=1, method="roots/list")
    request = PendingRequest("1", "roots/list", None, 0.0)
    with pytest.raises(Refusal, match="before it had answered") as refused:
        state.admit(TO_CLIENT, asks, request)
    assert refused.value.rule == "protocol.too-early"
    state.opened("initialize", {"protocolVersion": "2025-11-25"})
    noted = state.admit(TO_CLIENT, asks, request)
    assert (rule_of(noted), noted and noted.action) == (
        "protocol.before-initialized",
        Action.WARN,
    )
    state.admit_notification(TO_SERVER, message(method="notifications/initialized"), 0.0)
    assert state.admit(TO_CLIENT, asks, PendingRequest("2", "roots/list", None, 0.0)) is None


# --- openings ------------------------------------------------------------------------------


def test_what_was_agreed_is_remembered() -> None:
    state = ConversationState(Limits())
    agreed = value(
        '{"protocolVersion":"2025-11-25","capabilities":'
        '{"tools":{"listChanged":true},"prompts":{"listChanged":false},"logging":{},"x":7}}'
    )
    assert isinstance(agreed, dict)
    state.opened("initialize", agreed)
    assert state.known.revision == "2025-11-25"
    assert state.known.announces == {"tools"}
    assert state.may_answer_without_id("protocol.invalid-json")
    assert not state.may_answer_without_id("protocol.params-not-an-object")


@pytest.mark.parametrize("text", ["{}", '{"protocolVersion":7,"capabilities":[]}'])
def test_an_odd_opening_agrees_on_nothing(text: str) -> None:
    state = ConversationState(Limits())
    state.opened("initialize", cast(JsonObject, value(text)))
    assert (state.known.revision, state.known.announces) == (None, frozenset())
    assert not state.may_answer_without_id("protocol.invalid-json")


def test_a_server_that_is_discovered_agrees_on_no_revision() -> None:
    state = ConversationState(Limits())
    state.opened("server/discover", {"protocolVersion": "2025-11-25"})
    assert state.known.revision is None


# --- notifications -------------------------------------------------------------------------


def note(
    state: ConversationState, direction: Direction, method: str, params: object = None
) -> str | None:
    """The rule by which a notification is dropped, or None."""
    members = {} if params is None else {"params": params}
    dropped = state.admit_notification(direction, message(method=method, **members), 0.0)
    return None if dropped is None else rule_of(dropped[0])


def test_a_request_without_an_id_is_dropped() -> None:
    assert (
        note(ConversationState(Limits()), TO_SERVER, "tools/call") == "protocol.request-without-id"
    )
    assert note(ConversationState(Limits()), TO_SERVER, "acme/call") is None


def test_a_server_that_speaks_first_is_heard_only_for_its_log() -> None:
    state = ConversationState(Limits())
    assert note(state, TO_CLIENT, "notifications/acme") == "protocol.too-early"
    assert note(state, TO_CLIENT, "notifications/message") is None
    assert note(state, TO_SERVER, "notifications/acme") is None
    assert note(state, TO_CLIENT, "notifications/acme") is None


def test_only_an_open_request_is_cancelled() -> None:
    state = opened()
    admit(state, TO_SERVER, message(id="a", method="ping"))
    cancel = "notifications/cancelled"
    assert note(state, TO_CLIENT, cancel, {"requestId": "a"}) == "protocol.unknown-request"
    assert note(state, TO_SERVER, cancel, {"requestId": "a"}) is None
    assert note(state, TO_SERVER, cancel, {"requestId": "a"}) == "protocol.unknown-request"
    assert note(state, TO_SERVER, cancel, {"requestId": 1.5}) == "protocol.unknown-request"
    assert note(state, TO_SERVER, cancel, {"reason": "a task"}) is None
    assert note(state, TO_SERVER, cancel) is None


@pytest.mark.parametrize(
    ("params", "dropped"),
    [
        ({"progressToken": 7, "progress": 1}, False),
        ({"progressToken": 7, "progress": 1e3}, False),
        ({"progressToken": 8, "progress": 1}, True),
        ({"progressToken": 7, "progress": "1"}, True),
        ({"progressToken": 7}, True),
        ({"progress": 1}, True),
        (None, True),
    ],
)
def test_progress_is_of_an_open_request(params: object, dropped: bool) -> None:
    state = opened()
    asks = {"_meta": {"progressToken": 7}}
    admit(state, TO_SERVER, message(id=1, method="tools/call", params=asks))
    rule = note(state, TO_CLIENT, "notifications/progress", params)
    assert rule == ("protocol.unknown-progress" if dropped else None)


def test_a_progress_token_goes_with_the_request_of_the_other_side() -> None:
    state = opened(roots={})
    asks = {"_meta": {"progressToken": "p"}}
    admit(state, TO_CLIENT, message(id=1, method="roots/list", params=asks))
    told = {"progressToken": "p", "progress": 1}
    assert note(state, TO_CLIENT, "notifications/progress", told) == "protocol.unknown-progress"
    assert note(state, TO_SERVER, "notifications/progress", told) is None


def test_a_number_that_no_float_holds_is_no_progress_that_falls() -> None:
    state = opened()
    asks = {"_meta": {"progressToken": 7}}
    admit(state, TO_SERVER, message(id=1, method="tools/call", params=asks))
    huge = (
        b'{"jsonrpc":"2.0","method":"notifications/progress",'
        b'"params":{"progressToken":7,"progress":' + b"9" * 5000 + b"}}"
    )
    sent = parse(huge)
    assert isinstance(sent, Message)
    assert state.admit_notification(TO_CLIENT, sent, 0.0) is None


def test_of_a_flood_only_progress_and_logs_are_dropped_and_it_is_said_once_a_second() -> None:
    state = ConversationState(Limits(notifications=2))
    state.admit_notification(TO_SERVER, message(method="notifications/initialized"), 0.0)

    def told(method: str, now: float) -> list[str] | None:
        sent = message(method=method, params={"level": "info", "data": "x"})
        dropped = state.admit_notification(TO_CLIENT, sent, now)
        return None if dropped is None else [finding.note for finding in dropped]

    log, change = "notifications/message", "notifications/tools/list_changed"
    assert [told(log, 5.0), told(change, 5.2)] == [None, None]
    note = (told(log, 5.3) or [""])[0]
    assert "more than 2 notifications" in note
    assert "(1 so far)" in note
    assert [told(log, 5.4), told("notifications/progress", 5.9), told(change, 5.9)] == [
        [],
        [],
        None,
    ]
    assert [told(log, 6.0), told(log, 6.5)] == [None, None]
    assert "(4 so far)" in (told(log, 6.9) or [""])[0]


# --- use -----------------------------------------------------------------------------------


def use(made: Guard, method: str, params: object, direction: Direction = TO_SERVER) -> list[str]:
    members = {} if params is None else {"params": params}
    sent = message(id=1, method=method, **members)
    return [finding.rule for finding in conduct.use(made, direction, sent)]


@pytest.mark.parametrize(
    ("kind", "method", "params"),
    [
        ("tool", "tools/call", {"name": "x"}),
        ("prompt", "prompts/get", {"name": "x"}),
        ("resource", "resources/read", {"uri": "x"}),
    ],
)
def test_what_is_held_is_not_used(kind: str, method: str, params: dict[str, str]) -> None:
    assert use(guard(pins=held(kind, "x")), method, params) == ["trust.drifted"]
    assert use(guard(pins=held(kind, "y")), method, params) == []
    assert use(guard(pins=held(kind, "x")), method, params, TO_CLIENT) == []


@pytest.mark.parametrize("params", [None, {}, {"name": None}])
@pytest.mark.parametrize("method", ["tools/call", "prompts/get", "resources/read"])
def test_what_names_nothing_uses_nothing_but_under_review(method: str, params: object) -> None:
    assert use(guard(pins=held("tool", "x")), method, params) == []
    review = guard(Policy(trust=Trust.REVIEW))
    assert use(review, method, params) == ["trust.held"]


@pytest.mark.parametrize("policy", [None, Policy(trust=Trust.REVIEW)])
@pytest.mark.parametrize("name", [7, ["x"], {"x": 1}, True])
@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tools/call", {"name": ...}),
        ("prompts/get", {"name": ...}),
        ("resources/read", {"uri": ...}),
        ("resources/subscribe", {"uri": ...}),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": ...}}),
        ("completion/complete", {"ref": {"type": "ref/resource", "uri": ...}}),
        ("subscriptions/listen", {"notifications": {"resourceSubscriptions": [...]}}),
    ],
)
def test_a_name_that_is_no_text_is_refused(
    method: str, params: dict[str, object], name: object, policy: Policy | None
) -> None:
    with pytest.raises(Refusal, match="is no text") as refused:
        use(guard(policy), method, filled(params, name))
    assert refused.value.id_token == "1"


def filled(value: object, name: object) -> object:
    """The value with the name where it has an ellipsis."""
    if isinstance(value, dict):
        return {key: filled(item, name) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, name) for item in value]
    return name if value is ... else value


USES = [
    ("tool", "tools/call", {"name": ...}),
    ("tool", "tools/call", {"name": ..., "task": {"ttl": 60000}}),
    ("prompt", "prompts/get", {"name": ...}),
    ("resource", "resources/read", {"uri": ...}),
    ("resource", "resources/subscribe", {"uri": ...}),
    ("prompt", "completion/complete", {"ref": {"type": "ref/prompt", "name": ...}}),
    ("prompt", "completion/complete", {"ref": {"name": ...}}),
    ("template", "completion/complete", {"ref": {"type": "ref/resource", "uri": ...}}),
    ("resource", "completion/complete", {"ref": {"type": "ref/resource", "uri": ...}}),
    ("resource", "subscriptions/listen", {"notifications": {"resourceSubscriptions": [...]}}),
    (
        "resource",
        "subscriptions/listen",
        {"notifications": {"resourceSubscriptions": ["file:///a", ...]}},
    ),
]


@pytest.mark.parametrize(("kind", "method", "params"), USES)
def test_every_way_to_use_what_is_held_is_refused(
    kind: str, method: str, params: dict[str, object]
) -> None:
    approved = Pin("resource", "file:///a", "{}", "00", None, None, "")
    pins = held(kind, "x") | {("resource", "file:///a"): approved}
    for trust in Trust:
        made = guard(Policy(trust=trust), pins)
        assert use(made, method, filled(params, "x")) == ["trust.drifted"]
    assert use(guard(pins=pins), method, filled(params, "y")) == []
    review = guard(Policy(trust=Trust.REVIEW), pins)
    assert use(review, method, filled(params, "y")) == ["trust.held"]
    review.repin(pins | {(kind, "y"): Pin(kind, "y", "{}", "00", None, None, "")})
    assert use(review, method, filled(params, "y")) == []


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("resources/unsubscribe", {"uri": "x"}),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "x"}}),
        ("subscriptions/listen", {"notifications": {"toolsListChanged": True}}),
        ("subscriptions/listen", {"notifications": {"resourceSubscriptions": []}}),
        ("subscriptions/listen", {"notifications": {"resourceSubscriptions": None}}),
        ("subscriptions/listen", {}),
        ("tasks/get", {"taskId": "x"}),
        ("tools/list", {}),
        ("acme/ask", {"name": ["x"], "uri": 7}),
    ],
)
def test_what_uses_nothing_that_is_held_passes(method: str, params: dict[str, object]) -> None:
    pin = Pin("prompt", "x", "{}", "00", None, None, "")
    made = guard(Policy(trust=Trust.REVIEW), {("prompt", "x"): pin})
    assert use(made, method, params) == []


@pytest.mark.parametrize("ref", [{}, {"type": "ref/prompt"}, None])
def test_a_completion_of_nothing_is_held_under_review(ref: object) -> None:
    assert use(guard(), "completion/complete", {"ref": ref}) == []
    review = guard(Policy(trust=Trust.REVIEW))
    assert use(review, "completion/complete", {"ref": ref}) == ["trust.held"]


def test_a_reference_that_is_a_text_is_refused() -> None:
    with pytest.raises(Refusal, match="is no text"):
        use(guard(), "completion/complete", {"ref": "x"})


@pytest.mark.parametrize(
    ("mode", "action"), [(Mode.ENFORCE, Action.BLOCK), (Mode.OBSERVE, Action.WARN)]
)
def test_a_tool_that_the_policy_blocks_is_not_called(mode: Mode, action: Action) -> None:
    made = guard(Policy(mode=mode, layers=(Layer(tools_block=("x",)),)))
    sent = message(id=1, method="tools/call", params={"name": "x"})
    (finding,) = conduct.use(made, TO_SERVER, sent)
    assert (finding.rule, finding.action, finding.tool) == ("policy.tool", action, "x")
    assert use(made, "tools/call", {"name": "y"}) == []
    assert use(made, "prompts/get", {"name": "x"}) == []


@pytest.mark.parametrize(
    ("method", "key"),
    [
        ("tools/call", "Name"),
        ("tools/call", "ARGUMENTS"),
        ("tools/call", "inputresponses"),
        ("prompts/get", "argument\u017f"),
        ("resources/read", "Uri"),
        ("completion/complete", "Argument"),
        ("completion/complete", "Ref"),
        ("subscriptions/listen", "Notifications"),
        ("resources/subscribe", "URI"),
    ],
)
def test_a_member_in_another_spelling_is_refused(method: str, key: str) -> None:
    with pytest.raises(Refusal) as refused:
        use(guard(), method, {key: "x"})
    assert (refused.value.rule, refused.value.id_token) == ("protocol.key-look-alike", "1")
    assert use(guard(), "acme/ask", {key: "x"}) == []


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("completion/complete", {"ref": {"Name": "x"}}),
        ("completion/complete", {"ref": {"type": "ref/resource", "uri": "x", "URI": "y"}}),
        ("subscriptions/listen", {"notifications": {"resourcesubscriptions": ["x"]}}),
    ],
)
def test_a_member_further_in_is_not_spelt_otherwise_either(
    method: str, params: dict[str, object]
) -> None:
    with pytest.raises(Refusal) as refused:
        use(guard(), method, params)
    assert (refused.value.rule, refused.value.id_token) == ("protocol.key-look-alike", "1")


@pytest.mark.parametrize(
    ("members", "rules"),
    [
        ({"method": "x", "params": {"a": {"__proto__": 1}, "_meta": {"prototype": 1}}}, []),
        ({"method": "x", "params": {"__proto__": 1}}, ["protocol.inherited-key"]),
        ({"method": "x", "id": 1, "constructor": 1}, ["protocol.inherited-key"]),
        ({"method": "x"}, []),
        ({"id": 1, "result": {"_meta": None}}, []),
        ({"id": 1, "result": {"prototype": 1}, "prototype": 1}, ["protocol.inherited-key"]),
        ({"id": 1, "result": [], "__proto__": 1}, ["protocol.inherited-key"]),
        ({"id": 1, "error": {"code": 1, "message": "x", "constructor": 1}}, []),
    ],
)
def test_what_is_odd_is_noted_and_passes(members: dict[str, object], rules: list[str]) -> None:
    found = ConversationState(Limits()).oddities(TO_SERVER, message(**members))
    assert [finding.rule for finding in found] == rules
    assert {finding.action for finding in found} <= {Action.WARN}


# --- small questions -----------------------------------------------------------------------


def test_the_called_tool_is_named() -> None:
    assert conduct.tool_of(message(id=1, method="tools/call", params={"name": "x"})) == "x"
    assert conduct.tool_of(message(id=1, method="tools/call", params={"name": 7})) is None
    assert conduct.tool_of(message(id=1, method="tools/call")) is None
    assert conduct.tool_of(message(id=1, method="prompts/get", params={"name": "x"})) is None


def test_a_progress_token_is_a_string_or_an_integer() -> None:
    def asks(meta: object) -> str | None:
        return conduct.progress_token(message(id=1, method="ping", params={"_meta": meta}))

    assert asks({"progressToken": 7}) == "7"
    assert asks({"progressToken": "7"}) == '"7"'
    assert asks({"progressToken": None}) is None
    assert asks({}) is None
    assert conduct.progress_token(message(id=1, method="ping")) is None
    with pytest.raises(Refusal) as refused:
        asks({"progressToken": 1.5})
    assert refused.value.rule == "protocol.invalid-progress-token"


def test_a_task_is_made_by_its_result() -> None:
    assert conduct.makes_task({"task": {}})
    assert conduct.makes_task({"resultType": "task", "taskId": "t"})
    assert not conduct.makes_task({"task": "done"})
    assert not conduct.makes_task({"resultType": "complete"})


def test_of_what_must_go_on_only_the_words_are_taken_out() -> None:
    def left(method: str, **params: JsonValue) -> JsonValue:
        sent: JsonObject = {"jsonrpc": "2.0", "method": method, "more": "x", "params": params}
        bare = conduct.without_reason(sent)
        assert bare.pop("jsonrpc") == "2.0"
        assert bare.pop("method") == method
        assert bare.keys() == {"params"}
        return bare["params"]

    key = SUBSCRIPTION_META
    granted: JsonObject = {"toolsListChanged": True, "resourceSubscriptions": ["x"], "x": True}
    assert left("notifications/cancelled", requestId="1", reason="r") == {"requestId": "1"}
    assert left("notifications/cancelled", requestId=["1"]) == {}
    assert left("notifications/initialized", requestId="1", _meta={"x": "y"}) == {}
    assert left(
        "notifications/subscriptions/acknowledged",
        notifications=granted,
        _meta={key: "1", "x": "y"},
    ) == {"notifications": {"toolsListChanged": True}, "_meta": {key: "1"}}
    bare = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert conduct.without_reason({"method": "notifications/initialized", "x": ""}) == bare
