"""Reviews the definitions in a server's lists and openings, one by one.

Each list is judged anew, whatever the server announced. Definitions that a client must not see are
left out (firewall.session.pinning), and so are a second one of the same name and the tools that the
policy blocks, which are judged and pinned all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import is_

from pipeguard.errors import Refusal
from pipeguard.firewall.budgets import Budgets
from pipeguard.firewall.finding import Action, Finding, PinChange, Severity, greatest
from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, Number
from pipeguard.firewall.protocol.places import LISTS, OPENINGS
from pipeguard.firewall.protocol.spelling import check_spelling, has_look_alike, spellings
from pipeguard.firewall.session.guard import Guard
from pipeguard.firewall.session.pinning import (
    FULL,
    HIDDEN,
    DefinitionScope,
    Hidden,
    ReviewedDefinition,
    review_definition,
)
from pipeguard.records import NamedTuple

BLOCKED = "policy.tool"
TOGETHER = 64  # definitions that are looked at before the first of them is judged
_MEMBERS = ("instructions", *(name for row in LISTS.values() for name in (row[0], row[2])))
_SPELLINGS = {name: spellings((name,)) for name in _MEMBERS}


class ReviewedResult(NamedTuple):
    """The definitions in one result after review.

    Attributes:
        result: the result that goes on; the very object that came if nothing changed.
        findings: what was found in it.
        pins: what is to be remembered.
        stopped: True if the result as a whole must not go on.
    """

    result: JsonObject
    findings: tuple[Finding, ...]
    pins: tuple[PinChange, ...]
    stopped: bool = False


def review(
    guard: Guard, method: str, result: JsonObject, now: float, budgets: Budgets | None = None
) -> ReviewedResult:
    """Review the definitions in the answer to a list request, or in a server's opening.

    Args:
        guard: whose rules, policy and pins apply; it learns what is pinned here.
        method: of the request.
        result: its result.
        now: seconds on the session's clock.
        budgets: what judging the message may still cost; all of its definitions share it.

    Raises:
        Refusal: it could not be judged.
    """
    budgets = budgets or Budgets()
    if method in OPENINGS:
        path = ("result",)
        scope = DefinitionScope(guard, method, path, "server", "instructions", now, budgets)
        return _review_opening(scope, result)
    member, kind, key = LISTS[method]
    check_spelling(result, _SPELLINGS[member], "the result")
    items = result.get(member)
    if items is None:
        return ReviewedResult(result, (), ())
    if not isinstance(items, list):
        why = f"{member} of the result is not a list"
        raise Refusal("protocol.not-a-list", why, codes.PEER_BROKE_PROTOCOL)
    budgets.grow_by_definitions(len(items))
    listed = DefinitionScope(guard, method, ("result", member), kind, key, now, budgets)
    reviewed = [*_review_items(listed, items)]
    shown = [each.shown for each in reviewed if not isinstance(each.shown, Hidden)]
    is_same = len(shown) == len(items) and all(map(is_, shown, items))
    changed = result if is_same else {**result, member: shown}
    if not is_same and "ttlMs" in changed:
        changed["ttlMs"] = Number("0")  # so that no cache keeps an old verdict
    findings = [finding for each in reviewed for finding in each.findings]
    pins = tuple(each.pin for each in reviewed if each.pin is not None)
    findings = _counted_once(_counted_once(findings, FULL), BLOCKED)
    return ReviewedResult(changed, tuple(findings), pins)


def _review_items(listed: DefinitionScope, items: list[JsonValue]) -> Iterator[ReviewedDefinition]:
    """Review the definitions of a list, some of which are looked at together."""
    names, detector = set[str](), listed.guard.detector
    for first in range(0, len(items), TOGETHER):
        some = items[first : first + TOGETHER]
        read = detector.look_ahead(listed.context(None), some)
        for index, item in enumerate(some, first):
            scope = listed._replace(path=(*listed.path, index), read=read)
            yield _review_item(scope, item, names)


def _review_item(scope: DefinitionScope, item: JsonValue, names: set[str]) -> ReviewedDefinition:
    """Review a definition, and add its name to those of its list."""
    kind, key = scope.kind, scope.key
    name = item.get(key) if isinstance(item, dict) else None
    if not isinstance(item, dict) or type(name) is not str or has_look_alike(item, _SPELLINGS[key]):
        note = f"a {kind} without {key} was left out of the list"
        finding = scope.finding("protocol.nameless", note, None, Action.BLOCK)
        return ReviewedDefinition(HIDDEN, (finding,))
    if name in names:
        note = f"a second {kind} of the same {key} was left out of the list"
        finding = scope.finding(
            "protocol.duplicate-name", note, scope.show_name(name), Action.BLOCK
        )
        return ReviewedDefinition(HIDDEN, (finding,))
    names.add(name)
    first = scope.guard.names.first(kind, name)  # of the known names, also from this list
    reviewed = review_definition(scope, name, item, None if first == name else first)
    if kind == "tool" and scope.guard.policy.hides(name):
        origin = scope.guard.policy.find_refusal(name)
        note = f"{origin} does not allow the tool to be called, so no list shows it"
        finding = scope.finding(BLOCKED, note, scope.show_name(name), Action.WARN)
        finding = finding._replace(severity=Severity.LOW)  # each list has it
        return reviewed._replace(shown=HIDDEN, findings=(*reviewed.findings, finding))
    return reviewed


def _counted_once(findings: list[Finding], rule: str) -> list[Finding]:
    """The findings with those of one rule, which all say the same, replaced by one with a count."""
    same = [finding for finding in findings if finding.rule == rule]
    if len(same) < 2:
        return findings
    first = same[0]._replace(note=f"{same[0].note} ({len(same)} of them here)")
    return [first, *(finding for finding in findings if finding.rule != rule)]


def _review_opening(scope: DefinitionScope, result: JsonObject) -> ReviewedResult:
    """Compare the instructions with their pin, and judge the rest of the opening as a whole."""
    check_spelling(result, _SPELLINGS["instructions"], "the result")
    has_instructions = isinstance(result.get("instructions"), str)
    rest = {
        key: item for key, item in result.items() if key != "instructions" or not has_instructions
    }
    findings = scope.scan(rest, None)
    if not has_instructions or greatest(findings) is Action.BLOCK:
        return ReviewedResult(result, findings, (), stopped=greatest(findings) is Action.BLOCK)
    instructions: JsonObject = {"instructions": result["instructions"]}
    reviewed = review_definition(scope, "instructions", instructions)
    pins = (reviewed.pin,) if reviewed.pin is not None else ()
    findings += reviewed.findings
    if reviewed.shown is instructions:
        return ReviewedResult(result, findings, pins)
    changed = dict(result)
    if isinstance(reviewed.shown, dict):
        changed["instructions"] = reviewed.shown["instructions"]
    else:
        del changed["instructions"]
    return ReviewedResult(changed, findings, pins)
