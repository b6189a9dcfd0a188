"""The tools, prompts and resources that a request may use, and reasons for a refusal."""

import shlex

import pytest

from pipeguard import Action, Guard
from pipeguard.errors import Refusal
from pipeguard.firewall.pins.fingerprint import Pin
from pipeguard.firewall.pins.store import without_hold
from pipeguard.firewall.policy import Policy, Trust
from pipeguard.firewall.session.admission import find_obstacle, find_obstacles
from pipeguard.unicode.display import visible
from tests.firewall.session.talk import REVIEW, guard, message, pinned, tool, waits


def drifted(kind: str, name: str) -> Pin:
    return Pin(kind, name, "{}", "00", "{}", "11", "drift: wording")


# --- requests ---------------------------------------------------------------------------


def use(made: Guard, method: str, params: object) -> list[str]:
    """Return the rules that stop it."""
    members = {} if params is None else {"params": params}
    sent = message(id=1, method=method, **members)
    return [each.rule for each in find_obstacles(made, sent) if each.action is Action.BLOCK]


@pytest.mark.slow
@pytest.mark.parametrize("params", [None, {}, {"name": None}, {"ref": {"type": "ref/prompt"}}])
@pytest.mark.parametrize("method", ["tools/call", "prompts/get", "completion/complete"])
def test_what_names_nothing_uses_nothing_but_under_review(method: str, params: object) -> None:
    assert use(guard(None, drifted("tool", "x")), method, params) == []
    review = guard(REVIEW)
    assert use(review, method, params) == ["trust.not-offered"]


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
    (
        "resource",
        "subscriptions/listen",
        {"notifications": {"resourceSubscriptions": ["file:///a", ...]}},
    ),
]


@pytest.mark.parametrize("policy", [None, REVIEW])
@pytest.mark.parametrize("name", [7, ["x"]])
@pytest.mark.parametrize(("_", "method", "params"), USES)
def test_a_name_that_is_no_text_is_refused(
    _: str, method: str, params: dict[str, object], name: object, policy: Policy | None
) -> None:
    with pytest.raises(Refusal, match="is not a string") as refused:
        use(guard(policy), method, filled(params, name))
    assert refused.value.id_token == "1"


def filled(value: object, name: object) -> object:
    """Replace an ellipsis in the value by the name."""
    if isinstance(value, dict):
        return {key: filled(item, name) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, name) for item in value]
    return name if value is ... else value


@pytest.mark.parametrize(("kind", "method", "params"), USES)
def test_every_way_to_use_what_is_held_is_refused(
    kind: str, method: str, params: dict[str, object]
) -> None:
    approved = Pin("resource", "file:///a", "{}", "00", None, None, "")
    pins = (drifted(kind, "x"), approved)
    for trust in Trust:
        made = guard(Policy(trust=trust), *pins)
        assert use(made, method, filled(params, "x")) == ["trust.drifted"]
    assert use(guard(None, *pins), method, filled(params, "y")) == []
    review = guard(REVIEW, *pins)
    assert use(review, method, filled(params, "y")) == ["trust.not-offered"]
    offered = Pin(kind, "y", "{}", "00", None, None, "")
    review.repin({(pin.kind, pin.name): pin for pin in (*pins, offered)})
    assert use(review, method, filled(params, "y")) == []


@pytest.mark.parametrize(
    ("method", "key"),
    [
        ("tools/call", "ARGUMENTS"),
        ("prompts/get", "argument\u017f"),
        ("resources/read", "Uri"),
        ("completion/complete", "Ref"),
        ("subscriptions/listen", "Notifications"),
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


# --- definitions ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "method", "warned"),
    [("tool", "tools/call", True), ("prompt", "prompts/get", True), ("tool", "prompts/get", False)],
)
def test_first_use_warns_of_what_no_list_had(kind: str, method: str, warned: bool) -> None:
    request = message(id=1, method=method, params={"name": "upload_everything"})
    assert find_obstacles(guard(), request) == [], "it listed nothing"
    found = find_obstacles(guard(None, pinned(tool(), kind)), request)
    assert [(f.rule, f.action) for f in found] == [("trust.not-offered", Action.WARN)] * warned


def test_a_warning_of_one_name_frees_no_other() -> None:
    held = guard(None, pinned({"name": "a"}, "prompt"), drifted("template", "notes:///{name}"))
    ref = {"type": "ref/prompt", "name": "other", "uri": "notes:///{name}"}
    request = message(id=1, method="completion/complete", params={"ref": ref})
    (found,) = find_obstacles(held, request)
    assert (found.rule, found.action) == ("trust.drifted", Action.BLOCK)


TEMPLATE = "file:///notes/{name}"


@pytest.mark.parametrize("kind", ["resource", "template"])
@pytest.mark.parametrize(
    ("pin", "uri", "may"),
    [
        (pinned({"uriTemplate": TEMPLATE}, "template", TEMPLATE), "file:///notes/a.md", True),
        (pinned({"uriTemplate": TEMPLATE}, "template", TEMPLATE), "file:///notes/%61.md", True),
        (pinned({"uriTemplate": TEMPLATE}, "template", TEMPLATE), "file:///notes/a/b.md", False),
        (pinned({"uriTemplate": TEMPLATE}, "template", TEMPLATE), "file:///notes/..%2Fb", False),
        (
            waits({"uriTemplate": TEMPLATE}, "review", "template", TEMPLATE),
            "file:///notes/a",
            False,
        ),
        (Pin("template", TEMPLATE, "{}", "0", "[]", "1", "drift"), "file:///notes/a", False),
        (pinned({"uri": "file:///b"}, "resource", "file:///b"), "file:///b", True),
        (pinned({"uri": "file:///b"}, "resource", "file:///b"), "FILE:///%62", True),
        (pinned({"uri": "file:///b"}, "resource", "file:///b"), "file:///bb", False),
    ],
)
def test_under_review_what_an_approved_template_covers_may_be_used(
    pin: Pin, uri: str, may: bool, kind: str
) -> None:
    assert (find_obstacle(guard(REVIEW, pin), kind, uri) is None) is may
    assert find_obstacle(guard(None, pin), kind, uri) is None


def test_what_is_held_by_itself_is_not_freed_by_a_template() -> None:
    template = pinned({"uriTemplate": TEMPLATE}, "template", TEMPLATE)
    uri = "file:///notes/a"
    for policy in (None, REVIEW):
        made = guard(policy, template, waits({"uri": uri}, "poisoned: x", "resource", uri))
        assert find_obstacle(made, "resource", uri) is not None
        assert find_obstacle(made, "resource", "file:///notes/%61") is not None


DRIFTED = Pin("tool", "a", "{}", "0", "[]", "1", "drift: wording")


@pytest.mark.parametrize(
    ("policy", "pins", "rule", "why"),
    [
        (None, (waits(tool(), "review"),), "trust.held", "it was never approved (review)"),
        (None, (waits(tool(), ""),), "trust.held", "it was never approved. It"),
        (None, (DRIFTED,), "trust.drifted", "it changed since it was approved (drift: wording)"),
        (
            *(None, (DRIFTED._replace(is_reviewed=False),)),
            *("trust.drifted", "it changed since it was first seen (drift: wording)"),
        ),
    ],
)
def test_what_is_held_says_why_and_what_to_do(
    policy: Policy | None, pins: tuple[Pin, ...], rule: str, why: str
) -> None:
    made = guard(policy, *pins)
    finding = find_obstacle(made, "tool", "a")
    assert finding is not None
    assert (finding.rule, finding.action, finding.tool) == (rule, Action.BLOCK, "a")
    assert why in finding.note
    assert "pipeguard " not in finding.note
    assert finding.excerpt == "pipeguard diff demo/a"


def test_what_the_user_rejected_says_so_while_the_server_offers_it() -> None:
    made = guard(None)
    made.pins.learn(DRIFTED)
    made.repin({("tool", "a"): without_hold(DRIFTED)})
    finding = find_obstacle(made, "tool", "a")
    assert finding is not None
    assert "drift: wording). The user rejected it." in finding.note
    assert "until" not in finding.note


@pytest.mark.parametrize("name", ["a;touch X;#", "$(id)", "it's", "a\nb"])
def test_a_name_is_one_word_of_the_command_whatever_it_holds(name: str) -> None:
    finding = find_obstacle(guard(None, waits(tool(name), "review", name=name)), "tool", name)
    assert finding is not None
    *words, target = shlex.split(finding.excerpt)
    assert words == ["pipeguard", "diff"]
    assert target == f"demo/{visible(name)}"


def test_a_name_that_is_too_long_for_a_command_is_left_out_of_it() -> None:
    name = "a" * 1000
    finding = find_obstacle(guard(None, waits(tool(name), "review", name=name)), "tool", name)
    assert finding is not None
    assert finding.excerpt == "pipeguard diff demo"
