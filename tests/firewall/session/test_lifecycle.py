"""The messages that each side may send, when, and how often."""

from __future__ import annotations

import pytest

from pipeguard.errors import Refusal
from pipeguard.firewall.finding import Action, Direction, Finding
from pipeguard.firewall.policy import Limits
from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.json_values import JsonObject, Number
from pipeguard.firewall.protocol.message import Message, parse
from pipeguard.firewall.protocol.pending import PendingRequest, pending_request
from pipeguard.firewall.session.lifecycle import ConversationState
from tests.firewall.session.talk import message

TO_SERVER, TO_CLIENT = Direction.TO_SERVER, Direction.TO_CLIENT


def admit(state: ConversationState, direction: Direction, sent: Message) -> PendingRequest:
    """Make a request that is forwarded."""
    request = pending_request(sent, 0.0)
    state.admit(direction, sent, request)
    state.request_sent(direction, request, sent.value.get("params"))
    return request


def opened(**capabilities: object) -> ConversationState:
    """Return the state after the client declared this."""
    state = ConversationState(Limits())
    params = {"protocolVersion": "2025-11-25", "capabilities": capabilities}
    admit(state, TO_SERVER, message(id=0, method="initialize", params=params))
    state.server_described("initialize", {"protocolVersion": "2025-11-25"})
    state.admit_notification(TO_SERVER, message(method="notifications/initialized"), 0.0)
    return state


def rule_of(finding: Finding | None) -> str | None:
    return finding.rule if finding is not None else None


# --- requests ------------------------------------------------------------------------------


def test_no_more_than_the_limit_wait() -> None:
    state = ConversationState(Limits(pending=1))
    admit(state, TO_SERVER, message(id=1, method="ping"))
    with pytest.raises(Refusal) as refused:
        admit(state, TO_SERVER, message(id=2, method="ping"))
    assert refused.value.rule == "protocol.too-many-pending"
    assert refused.value.code == codes.OVERLOADED
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
    with pytest.raises(Refusal, match="before it answered") as refused:
        state.admit(TO_CLIENT, asks, request)
    assert refused.value.rule == "protocol.too-early"
    state.server_described("initialize", {"protocolVersion": "2025-11-25"})
    noted = state.admit(TO_CLIENT, asks, request)
    assert rule_of(noted) == "protocol.before-initialized"
    assert noted
    assert noted.action == Action.WARN
    state.admit_notification(TO_SERVER, message(method="notifications/initialized"), 0.0)
    assert state.admit(TO_CLIENT, asks, PendingRequest("2", "roots/list", None, 0.0)) is None


# --- openings ------------------------------------------------------------------------------


def test_what_was_agreed_is_remembered() -> None:
    state = ConversationState(Limits())
    offered: JsonObject = {"tools": {"listChanged": True}, "prompts": {"listChanged": False}}
    agreed: JsonObject = {"protocolVersion": "2025-11-25", "capabilities": {**offered, "x": "7"}}
    state.server_described("initialize", agreed)
    assert state.peers.revision == "2025-11-25"
    assert state.peers.announces == {"tools"}
    assert state.may_answer_without_id("protocol.invalid-json")
    assert not state.may_answer_without_id("protocol.params-not-an-object")


@pytest.mark.parametrize("opening", [{}, {"protocolVersion": Number("7"), "capabilities": []}])
def test_an_odd_opening_agrees_on_nothing(opening: JsonObject) -> None:
    state = ConversationState(Limits())
    state.server_described("initialize", opening)
    assert (state.peers.revision, state.peers.announces) == (None, frozenset())
    assert not state.may_answer_without_id("protocol.invalid-json")


def test_a_server_that_is_discovered_agrees_on_no_revision() -> None:
    state = ConversationState(Limits())
    state.server_described("server/discover", {"protocolVersion": "2025-11-25"})
    assert state.peers.revision is None


# --- notifications -------------------------------------------------------------------------


def note(
    state: ConversationState, direction: Direction, method: str, params: object = None
) -> str | None:
    """Return the rule that drops a notification, or None."""
    members = {} if params is None else {"params": params}
    dropped = state.admit_notification(direction, message(method=method, **members), 0.0)
    return None if dropped is None else rule_of(dropped[0])


def test_a_request_without_an_id_is_dropped() -> None:
    state = ConversationState(Limits())
    assert note(state, TO_SERVER, "tools/call") == "protocol.request-without-id"
    assert note(state, TO_SERVER, "acme/call") is None


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
    assert [told(log, 5.4), told("notifications/progress", 5.9)] == [[], []]
    assert told(change, 5.9) is None
    assert [told(log, 6.0), told(log, 6.5)] == [None, None]
    assert "(4 so far)" in (told(log, 6.9) or [""])[0]
