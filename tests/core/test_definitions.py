"""Definitions held to their pins: what the client gets to read, and what is remembered."""

from __future__ import annotations

import json
import shlex
from functools import cache

import pytest

from pipeguard.core.definitions import Reviewed, held, review
from pipeguard.core.finding import Action, Drift
from pipeguard.core.fingerprint import Pin, canonical, fingerprint
from pipeguard.core.guard import Engines, Guard
from pipeguard.core.message import JsonObject, JsonValue, parse_json
from pipeguard.core.places import Surface
from pipeguard.core.plans import build, loaded
from pipeguard.core.policy import ActionEntry, Layer, Mode, Policy, Selector, Trust
from pipeguard.core.rules import load_pack
from pipeguard.core.scan import Engine
from pipeguard.core.visible import visible
from pipeguard.errors import Refusal

PACK = """\
pack: mine
about: For a test.
defaults: {surfaces: [definitions], severity: high, views: [text], boundary: none, why: w, fix: f}
rules:
- {id: bad, title: t, confidence: high, pattern: xyzzy, matches: [xyzzy], passes: [xyz]}
- {id: odd, title: t, confidence: medium, pattern: plugh, matches: [plugh], passes: [plu]}
"""
REVIEW = Policy(trust=Trust.REVIEW)
OBSERVE = Policy(mode=Mode.OBSERVE)
LENIENT = Policy(drift_allow=frozenset({Drift.WORDING}))


@cache
def engines() -> Engines:
    """One rule that blocks and one that warns."""
    rules = load_pack(PACK, "mine.yaml")
    return Engines(*(Engine(rules, surface, loaded(build(rules, surface))) for surface in Surface))


def guard(policy: Policy | None = None, *pins: Pin) -> Guard:
    return Guard("demo", engines(), policy or Policy(), {(p.kind, p.name): p for p in pins})


def tool(name: str = "a", description: str = "Adds.", **more: object) -> dict[str, object]:
    return {"name": name, "description": description, **more}


def pinned(definition: object, kind: str = "tool", name: str = "a") -> Pin:
    text = canonical(definition).decode()
    return Pin(kind, name, text, fingerprint(definition), None, None, "")


def waits(definition: object, reason: str, kind: str = "tool", name: str = "a") -> Pin:
    text = canonical(definition).decode()
    return Pin(kind, name, None, None, text, fingerprint(definition), reason)


def as_object(value: object) -> JsonObject:
    read = parse_json(json.dumps(value).encode())
    assert isinstance(read, dict)
    return read


def listed(made: Guard, *items: object, method: str = "tools/list", **more: object) -> Reviewed:
    member = {"tools/list": "tools", "prompts/list": "prompts", "resources/list": "resources"}
    result = as_object({member[method]: list(items), **more})
    reviewed = review(made, method, result, 0.0)
    assert (reviewed.result is result) == (reviewed.result == result), "a needless copy"
    return reviewed


def shown(reviewed: Reviewed, member: str = "tools") -> JsonValue:
    return reviewed.result[member]


def rules(reviewed: Reviewed) -> list[str]:
    return [finding.rule for finding in reviewed.findings]


def state(made: Guard, kind: str = "tool", name: str = "a") -> tuple[bool, bool, str]:
    """Of a pin: whether anything is approved, whether anything waits, and why."""
    pin = made.pins[kind, name]
    return pin.approved is not None, pin.held is not None, pin.reason


# --- first sight ---------------------------------------------------------------------------


def test_what_is_seen_first_and_clean_is_pinned() -> None:
    made = guard()
    reviewed = listed(made, tool())
    assert shown(reviewed) == [tool()]
    assert [(pin.name, pin.pinned, pin.held) for pin in reviewed.pins] == [("a", True, False)]
    assert state(made) == (True, False, "")
    again = listed(made, tool())
    assert (again.findings, again.pins) == ((), ())


def test_what_is_poisoned_is_left_out_and_waits() -> None:
    made = guard()
    reviewed = listed(made, tool(description="xyzzy"), tool("b"), ttlMs=5000)
    assert shown(reviewed) == [tool("b")]
    assert reviewed.result["ttlMs"] == "0"
    assert rules(reviewed) == ["mine.bad", "trust.held"]
    assert reviewed.findings[1].excerpt == "pipeguard diff demo/a"
    assert state(made) == (False, True, "poisoned: mine.bad")
    again = listed(made, tool(description="xyzzy"))
    assert (shown(again), again.pins) == ([], ())


def test_what_only_looks_odd_is_pinned_with_a_warning() -> None:
    reviewed = listed(guard(), tool(description="plugh"))
    assert [finding.action for finding in reviewed.findings] == [Action.WARN]
    assert reviewed.pins[0].pinned


def test_what_is_no_longer_poisoned_is_pinned() -> None:
    made = guard(None, waits(tool(description="xyzzy"), "poisoned: mine.bad"))
    assert shown(listed(made, tool())) == [tool()]
    assert state(made) == (True, False, "")


def test_what_waits_goes_on_waiting_though_the_rule_is_gone() -> None:
    made = guard(None, waits(tool(), "poisoned: other.rule"))
    reviewed = listed(made, tool())
    assert (shown(reviewed), rules(reviewed), reviewed.pins) == ([], ["trust.held"], ())


def test_under_review_all_that_is_new_waits() -> None:
    made = guard(REVIEW)
    reviewed = listed(made, tool())
    assert (shown(reviewed), rules(reviewed)) == ([], ["trust.held"])
    assert [(pin.held, pin.reason) for pin in reviewed.pins] == [(True, "review")]
    changed = listed(made, tool(description="Subtracts."))
    assert [pin.definition for pin in changed.pins] == [canonical(tool("a", "Subtracts.")).decode()]


def test_who_observes_holds_nothing() -> None:
    made = guard(OBSERVE)
    reviewed = listed(made, tool(description="xyzzy"))
    assert shown(reviewed) == [tool(description="xyzzy")]
    assert [finding.action for finding in reviewed.findings] == [Action.WARN]
    held_back = guard(Policy(mode=Mode.OBSERVE, trust=Trust.REVIEW))
    assert shown(listed(held_back, tool())) == [tool()]
    assert held_back.pins == {}


def test_nothing_is_redacted_in_a_definition() -> None:
    layer = Layer(actions=(ActionEntry(Selector(rule="mine.*"), Action.REDACT),))
    reviewed = listed(guard(Policy(layers=(layer,))), tool(description="xyzzy"))
    assert shown(reviewed) == []
    assert reviewed.findings[0].action is Action.BLOCK


# --- drift ---------------------------------------------------------------------------------


def test_what_changed_keeps_its_approved_words() -> None:
    made = guard(None, pinned(tool(more=1.5)))
    reviewed = listed(made, tool(description="Sends mail."))
    assert shown(reviewed) == as_object({"t": [tool(more=1.5)]})["t"]
    assert rules(reviewed) == ["trust.drifted"]
    assert state(made)[:2] == (True, True)
    again = listed(made, tool(description="Sends mail."))
    assert (rules(again), again.pins) == (["trust.drifted"], ())


def test_what_changed_back_waits_no_longer() -> None:
    made = guard(None, pinned(tool()))
    listed(made, tool(description="Sends mail."))
    back = listed(made, tool())
    assert [(pin.pinned, pin.held) for pin in back.pins] == [(True, False)]
    assert state(made) == (True, False, "")


def test_what_was_approved_passes_whatever_the_rules_say_now() -> None:
    reviewed = listed(guard(None, pinned(tool(description="xyzzy"))), tool(description="xyzzy"))
    assert shown(reviewed) == [tool(description="xyzzy")]
    assert [finding.action for finding in reviewed.findings] == [Action.WARN]


@pytest.mark.parametrize(
    ("policy", "description", "passes"),
    [
        (LENIENT, "Adds numbers.", True),
        (LENIENT, "Adds xyzzy numbers.", False),
        (None, "Adds numbers.", False),
        (OBSERVE, "Adds xyzzy numbers.", True),
    ],
)
def test_a_change_passes_where_the_policy_lets_it(
    policy: Policy | None, description: str, passes: bool
) -> None:
    made = guard(policy, pinned(tool()))
    reviewed = listed(made, tool(description=description))
    assert (shown(reviewed) == [tool(description=description)]) is passes
    assert (state(made) == (True, False, "")) is passes
    assert reviewed.findings[-1].action is (Action.WARN if passes else Action.BLOCK)


def test_of_a_resource_only_what_lasts_counts() -> None:
    made = guard()
    first = {"uri": "file:///a", "size": 1, "annotations": {"lastModified": "x", "priority": 1}}
    listed(made, first, method="resources/list")
    later = {"uri": "file:///a", "size": 2, "annotations": {"lastModified": "y", "priority": 1}}
    assert listed(made, later, method="resources/list").findings == ()
    plain = {"uri": "file:///b", "annotations": {"priority": 1}}
    assert listed(made, plain, method="resources/list").findings == ()


@pytest.mark.parametrize(("policy", "passes"), [(None, True), (REVIEW, False)])
def test_a_resource_that_changes_is_told_and_under_review_held(
    policy: Policy | None, passes: bool
) -> None:
    resource = {"uri": "file:///a", "name": "a"}
    made = guard(policy, pinned(resource, "resource", "file:///a"))
    reviewed = listed(made, {**resource, "name": "b"}, method="resources/list")
    assert rules(reviewed) == ["trust.drifted"]
    assert shown(reviewed, "resources") == [{**resource, "name": "b" if passes else "a"}]


# --- lists ---------------------------------------------------------------------------------


def test_what_has_no_name_is_left_out() -> None:
    reviewed = listed(guard(), {"description": "d"}, 7, tool("b"), {**tool("c"), "NAME": "d"})
    assert shown(reviewed) == [tool("b")]
    assert rules(reviewed) == ["protocol.nameless"] * 3


@pytest.mark.parametrize("name", ["a_tool", "a_\u200btool", "\uff41_tool", "\u0430_tool"])
def test_a_name_that_looks_like_an_earlier_one_is_left_out(name: str) -> None:
    reviewed = listed(guard(), tool("a_tool"), tool(name, "Another."))
    assert shown(reviewed) == [tool("a_tool")]
    assert rules(reviewed) == ["protocol.duplicate-name"]


def test_addresses_are_compared_to_the_letter() -> None:
    made = guard()
    items = [{"uri": "file:///Muller"}, {"uri": "file:///M\u00fcller"}]
    assert listed(made, *items, method="resources/list").findings == ()


@pytest.mark.parametrize("result", [{}, {"tools": None}, {"tools": {"name": "a"}}])
def test_what_is_no_list_is_not_reviewed(result: dict[str, object]) -> None:
    read = as_object(result)
    reviewed = review(guard(), "tools/list", read, 0.0)
    assert reviewed == Reviewed(read, (), ())


@pytest.mark.parametrize("result", [{"Tools": []}, {"tools": [], "TOOLS": []}])
def test_a_list_in_another_spelling_is_refused(result: dict[str, object]) -> None:
    with pytest.raises(Refusal, match="in case only"):
        review(guard(), "tools/list", as_object(result), 0.0)


# --- openings ------------------------------------------------------------------------------


def opening(made: Guard, **result: object) -> Reviewed:
    return review(made, "initialize", as_object(result), 0.0)


def test_instructions_are_pinned_and_held_to_it() -> None:
    made = guard()
    first = opening(made, instructions="Be kind.", serverInfo={"name": "s"})
    assert [(pin.kind, pin.name) for pin in first.pins] == [("server", "instructions")]
    assert first.result["instructions"] == "Be kind."
    drifted = opening(made, instructions="Be quick.", serverInfo={"name": "s"})
    assert drifted.result == {"instructions": "Be kind.", "serverInfo": {"name": "s"}}
    assert rules(drifted) == ["trust.drifted"]
    same = opening(made, instructions="Be kind.")
    assert same.result == {"instructions": "Be kind."}


def test_poisoned_instructions_are_taken_out() -> None:
    reviewed = opening(guard(), instructions="xyzzy", serverInfo={"name": "s"})
    assert reviewed.result == {"serverInfo": {"name": "s"}}
    assert rules(reviewed) == ["mine.bad", "trust.held"]
    assert not reviewed.stopped


def test_an_opening_that_is_poisoned_elsewhere_is_stopped() -> None:
    reviewed = opening(guard(), serverInfo={"name": "xyzzy"}, instructions="Be kind.")
    assert (reviewed.stopped, reviewed.pins) == (True, ())


@pytest.mark.parametrize("more", [{}, {"instructions": None}])
def test_an_opening_without_instructions_passes(more: dict[str, object]) -> None:
    made = guard()
    reviewed = opening(made, serverInfo={"name": "plugh"}, **more)
    assert (rules(reviewed), reviewed.stopped, made.pins) == (["mine.odd"], False, {})


def test_instructions_in_another_spelling_are_refused() -> None:
    with pytest.raises(Refusal, match="in case only"):
        opening(guard(), Instructions="Be kind.")


# --- use -----------------------------------------------------------------------------------


def test_what_is_approved_may_be_used() -> None:
    assert held(guard(None, pinned(tool())), "tool", "a") is None
    assert held(guard(), "tool", "never-seen") is None
    assert held(guard(REVIEW), "prompt", "never-seen") is None


DRIFTED = Pin("tool", "a", "{}", "0", "[]", "1", "drift: wording")


@pytest.mark.parametrize(
    ("policy", "pins", "rule", "why"),
    [
        (REVIEW, (), "trust.held", "it was never approved. It"),
        (None, (waits(tool(), "review"),), "trust.held", "it was never approved (review)"),
        (None, (waits(tool(), ""),), "trust.held", "it was never approved. It"),
        (None, (DRIFTED,), "trust.drifted", "it changed since it was approved (drift: wording)"),
    ],
)
def test_what_is_held_says_why_and_what_to_do(
    policy: Policy | None, pins: tuple[Pin, ...], rule: str, why: str
) -> None:
    made = guard(policy, *pins)
    finding = held(made, "tool", "a")
    assert finding is not None
    assert (finding.rule, finding.action, finding.tool) == (rule, Action.BLOCK, "a")
    assert why in finding.note
    assert "pipeguard " not in finding.note
    assert finding.excerpt == "pipeguard diff demo/a"


@pytest.mark.parametrize("name", ["a;touch X;#", "$(id)", "a b", "it's", "a\nb", "`id`"])
def test_a_name_is_one_word_of_the_command_whatever_it_holds(name: str) -> None:
    finding = held(guard(Policy(trust=Trust.REVIEW)), "tool", name)
    assert finding is not None
    *words, target = shlex.split(finding.excerpt)
    assert words == ["pipeguard", "diff"]
    assert target == f"demo/{visible(name)}"


def test_a_name_that_is_too_long_for_a_command_is_left_out_of_it() -> None:
    finding = held(guard(Policy(trust=Trust.REVIEW)), "tool", "a" * 1000)
    assert finding is not None
    assert finding.excerpt == "pipeguard diff demo"


def test_who_observes_is_only_told() -> None:
    made = guard(OBSERVE, waits(tool(), "review"))
    finding = held(made, "tool", "a")
    assert finding is not None
    assert finding.action is Action.WARN
