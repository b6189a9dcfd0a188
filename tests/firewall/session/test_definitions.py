"""Definitions compared with their pins: the client's view, and the stored state."""

import json

import pytest

from pipeguard import Action, Guard
from pipeguard.detect.detector import get_detection
from pipeguard.errors import Refusal
from pipeguard.firewall.budgets import Budgets
from pipeguard.firewall.pins.fingerprint import Pin, fingerprint
from pipeguard.firewall.policy import ActionEntry, Layer, Mode, Policy, Selector, Trust
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue
from pipeguard.firewall.protocol.places import LISTS, Surface
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.firewall.session.admission import find_obstacle
from pipeguard.firewall.session.definitions import (
    TOGETHER,
    DefinitionScope,
    ReviewedResult,
    review_definitions,
)
from pipeguard.firewall.session.guard import APPROVED
from tests.firewall.session.talk import OBSERVE, PACK, REVIEW, guard, made_of, pinned, tool, waits

NEWER = PACK.replace(
    "pattern: xyzzy, matches: [xyzzy]", r'pattern: "123|xy\\s+zz", matches: ["xy zz", "123"]'
)


def as_object(value: object) -> JsonObject:
    read = parse_json(json.dumps(value).encode())
    assert isinstance(read, dict)
    return read


def scope(made: Guard, method: str) -> DefinitionScope:
    return DefinitionScope(made, method, (), "tool", "name", 0.0, Budgets())


def listed(
    made: Guard, *items: object, method: str = "tools/list", **more: object
) -> ReviewedResult:
    result = as_object({LISTS[method][0]: list(items), **more})
    reviewed = review_definitions(scope(made, method), result)
    same = json.dumps(reviewed.result) == json.dumps(result)
    assert (reviewed.result is result) == same, "a needless copy"
    return reviewed


def shown(reviewed: ReviewedResult, member: str = "tools") -> JsonValue:
    return reviewed.result[member]


def rules(reviewed: ReviewedResult) -> list[str]:
    return [finding.rule for finding in reviewed.findings]


def state(made: Guard, kind: str = "tool", name: str = "a") -> tuple[bool, bool, str]:
    """Return whether a pin has an approved definition, a held one, and why."""
    pin = made.pins.all()[kind, name]
    return pin.approved_definition is not None, pin.held_definition is not None, pin.reason


# --- first sight ---------------------------------------------------------------------------


def test_what_is_poisoned_in_a_long_list_is_left_out_where_it_is() -> None:
    bad = {0, TOGETHER - 1, TOGETHER, 2 * TOGETHER}
    tools = [tool(f"t{n}", "xyzzy" if n in bad else "Adds.") for n in range(2 * TOGETHER + 1)]
    reviewed = listed(guard(), *tools)
    assert shown(reviewed) == [each for n, each in enumerate(tools) if n not in bad]
    found = {each.pointer for each in reviewed.findings if each.rule == "mine.bad"}
    assert found == {f"/result/tools/{n}/description" for n in bad}


def test_what_only_looks_odd_is_pinned_with_a_warning() -> None:
    reviewed = listed(guard(), tool(description="plugh"))
    assert [finding.action for finding in reviewed.findings] == [Action.WARN]
    assert not reviewed.pins[0].is_held


def test_what_is_no_longer_poisoned_is_pinned() -> None:
    made = guard(None, waits(tool(description="xyzzy"), "poisoned: mine.bad"))
    assert shown(listed(made, tool())) == [tool()]
    assert state(made) == (True, False, "")


def test_what_waits_goes_on_waiting_though_the_rule_is_gone() -> None:
    made = guard(None, waits(tool(), "poisoned: other.rule"))
    reviewed = listed(made, tool())
    assert (shown(reviewed), rules(reviewed), reviewed.pins) == ([], ["trust.held"], ())


BARE = Pin("tool", "a", None, None, None, None, "")


@pytest.mark.parametrize("trust", Trust)
@pytest.mark.parametrize(
    ("pin", "launched", "is_shown"),
    [
        (BARE, "npm @corp/x", True),
        (pinned(tool(description="Earlier.")), "npm @corp/x", True),
        (waits(tool(description="xyzzy"), "poisoned: mine.bad"), "npm @corp/x", True),
        (waits(tool(description="Another."), "review"), "npm @corp/x", True),
        (BARE._replace(rejected=fingerprint(tool(description="xyzzy"))), "npm @corp/x", False),
        (BARE, "npm @corp/y", False),
        (BARE, "", False),
    ],
)
def test_what_the_organisation_approved_is_trusted_for_its_server_only(
    trust: Trust, pin: Pin, launched: str, is_shown: bool
) -> None:
    given = tool(description="xyzzy")
    approved = frozenset({f"npm @corp/x {fingerprint(given)}"})
    made = guard(Policy(trust=trust, approved=approved), pin)
    made.launched = launched
    reviewed = listed(made, given)
    assert (shown(reviewed) == [given]) is is_shown
    assert (find_obstacle(made, "tool", "a") is None) is is_shown
    if is_shown:
        assert [change.reason for change in reviewed.pins] == [APPROVED]
        assert not listed(made, given).pins
        assert shown(listed(made, tool(description="xyzzy plugh"))) == [given]
        assert made.adopt(Policy(trust=trust)) == {"tool"}


def test_who_observes_holds_nothing() -> None:
    made = guard(OBSERVE)
    reviewed = listed(made, tool(description="xyzzy"))
    assert shown(reviewed) == [tool(description="xyzzy")]
    assert [finding.action for finding in reviewed.findings] == [Action.WARN, Action.WARN]
    assert [finding.would for finding in reviewed.findings] == [Action.BLOCK, Action.BLOCK]
    assert reviewed.pins == (), "what enforcing would hold is not trusted"
    held_back = guard(Policy(mode=Mode.OBSERVE, trust=Trust.REVIEW))
    assert shown(listed(held_back, tool())) == [tool()]
    assert held_back.pins.all() == {}


def test_nothing_is_redacted_in_a_definition() -> None:
    layer = Layer(actions=(ActionEntry(Selector(rule="mine.*"), Action.REDACT),))
    reviewed = listed(guard(Policy(layers=(layer,))), tool(description="xyzzy"))
    assert shown(reviewed) == []
    assert reviewed.findings[0].action is Action.BLOCK


# --- drift ---------------------------------------------------------------------------------


def resource(**more: object) -> dict[str, object]:
    return {"uri": "file:///a", "name": "a", **more}


MOMENTS = (
    *("2026-01-01T10:00:00Z", "2026-01-02 11:30:59,123456+05:30"),
    *("2026-01-03", "20260104T0101Z"),
)


@pytest.mark.parametrize("policy", [None, REVIEW])
def test_a_files_size_and_date_may_change_with_every_list(policy: Policy | None) -> None:
    first = resource(size=0, annotations={"lastModified": MOMENTS[0], "priority": 1})
    made = guard(policy, pinned(resource(annotations={"priority": 1}), "resource", "file:///a"))
    for size, moment in zip((0, 7, 2**53, 10**15), MOMENTS, strict=True):
        now = {**first, "size": size, "annotations": {"lastModified": moment, "priority": 1}}
        reviewed = listed(made, now, method="resources/list")
        assert (reviewed.findings, reviewed.pins) == ((), ())
    without = resource(annotations={"priority": 1})
    unknown = resource(size=None, annotations={"priority": 1, "lastModified": None})
    for now in (without, unknown):
        assert listed(made, now, method="resources/list").findings == ()


def test_a_templates_date_may_change_with_every_list() -> None:
    first = {"uriTemplate": "file:///{a}", "name": "a", "annotations": {"priority": 1}}
    made = guard(None, pinned(first, "template", "file:///{a}"))
    for moment in MOMENTS:
        now = {**first, "annotations": {"lastModified": moment, "priority": 1}}
        assert listed(made, now, method="resources/templates/list").findings == ()


def test_a_file_has_no_date_until_it_has_one() -> None:
    dated = {"lastModified": MOMENTS[0]}
    none: dict[str, str] = {}
    made = guard(None, pinned(resource(), "resource", "file:///a"))
    for kept in (dated, none):
        reviewed = listed(made, resource(annotations=kept), method="resources/list")
        assert (reviewed.findings, reviewed.pins) == ((), ())
    told = listed(made, resource(annotations={**dated, "x": "y"}), method="resources/list")
    assert [finding.rule for finding in told.findings] == ["trust.drifted"]


@pytest.mark.parametrize(
    "changed",
    [
        {"size": "Read this first."},
        {"size": "7"},
        {"size": 7.5},
        {"size": 10**16},
        {"annotations": {"lastModified": "Read this first."}},
        {"annotations": {"lastModified": "2026-01-01T10:00:00Z Read this first."}},
        {"annotations": {"lastModified": "2026-01-01\n"}},
        {"annotations": {"lastModified": "\u0662026-01-01"}},
        {"annotations": "2026-01-01"},
    ],
)
def test_what_is_no_size_and_no_date_belongs_to_the_definition(changed: dict[str, object]) -> None:
    made = guard(None, pinned(resource(annotations={}), "resource", "file:///a"))
    reviewed = listed(made, resource(annotations={}) | changed, method="resources/list")
    assert rules(reviewed) == ["trust.drifted"]
    assert shown(reviewed, "resources") == [resource(annotations={})]


@pytest.mark.parametrize("kind", ["tool", "prompt"])
def test_only_a_resource_has_a_size_and_a_date(kind: str) -> None:
    made = guard(None, pinned({"name": "a"}, kind))
    reviewed = listed(made, {"name": "a", "size": 7}, method=f"{kind}s/list")
    assert rules(reviewed) == ["trust.drifted"]


def use_newer_rules(made: Guard) -> None:
    engine = made_of(NEWER, Surface.DEFINITIONS)
    detection = get_detection(made)
    scanners = dict.fromkeys(Surface, (engine,))
    detection.knowledge = detection.knowledge._replace(scanners=scanners)


def test_what_is_found_beside_what_was_approved_is_stopped() -> None:
    """A rule that looks at numbers: a size is not part of the approved definition."""
    made = guard(None, pinned(resource(), "resource", "file:///a"))
    use_newer_rules(made)
    reviewed = listed(made, resource(size=123456789), method="resources/list")
    assert shown(reviewed, "resources") == [resource()]
    assert [(f.rule, f.action) for f in reviewed.findings] == [("mine.bad", Action.BLOCK)]


@pytest.mark.parametrize("first", [["name", "dz", "description"], ["dz", "name", "description"]])
@pytest.mark.parametrize(
    "then", [["description", "dz", "name"], ["name", "description", "dz"]], ids=["sorted", "other"]
)
def test_what_only_another_order_of_keys_says_is_stopped(first: list[str], then: list[str]) -> None:
    words = {"name": "a", "dz": "zz", "description": "xy"}
    calm, turned = ({key: words[key] for key in keys} for keys in (first, then))
    made = guard()
    use_newer_rules(made)
    assert listed(made, calm).findings == ()
    listed(made, tool(description="Sends mail."))
    assert listed(made, calm).findings == ()
    reviewed = listed(made, turned)
    assert json.dumps(shown(reviewed)) == json.dumps([calm]), "in the order that was judged"
    assert [(f.rule, f.action) for f in reviewed.findings] == [("mine.bad", Action.BLOCK)]


def test_what_was_approved_may_come_in_any_order() -> None:
    made = guard(None, pinned(tool(description="xyzzy")))
    reviewed = listed(made, {"description": "xyzzy", "name": "a"})
    assert [finding.action for finding in reviewed.findings] == [Action.WARN]
    assert shown(reviewed) == [tool(description="xyzzy")]


# --- lists ---------------------------------------------------------------------------------


def test_what_was_approved_and_changed_back_lets_no_other_case_of_it_in() -> None:
    made = guard(None, pinned(tool()))
    listed(made, tool(description="Sends mail."))
    reviewed = listed(made, tool(), tool("A"))
    assert shown(reviewed) == [tool()]


@pytest.mark.parametrize("value", [{"0": {"name": "a"}}, "a", 7, True])
def test_definitions_in_anything_but_a_list_are_refused(value: object) -> None:
    with pytest.raises(Refusal, match="is not a list"):
        review_definitions(scope(guard(), "tools/list"), as_object({"tools": value}))


# --- openings ------------------------------------------------------------------------------


def opening(made: Guard, **result: object) -> ReviewedResult:
    return review_definitions(scope(made, "initialize"), as_object(result))


@pytest.mark.parametrize("value", [["xyzzy"], {"text": "xyzzy"}])
def test_instructions_that_are_no_text_are_judged_with_the_rest(value: object) -> None:
    reviewed = opening(guard(), instructions=value, serverInfo={"name": "s"})
    assert (rules(reviewed), reviewed.stopped) == (["mine.bad"], True)


@pytest.mark.parametrize("more", [{}, {"instructions": None}])
def test_an_opening_without_instructions_passes(more: dict[str, object]) -> None:
    made = guard()
    reviewed = opening(made, serverInfo={"name": "plugh"}, **more)
    assert (rules(reviewed), reviewed.stopped, made.pins.all()) == (["mine.odd"], False, {})
