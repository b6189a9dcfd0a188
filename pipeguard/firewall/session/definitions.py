"""Reviews the definitions in a server's lists and openings by comparing each with its pin.

Each list is judged again, whatever the server announced. A poisoned definition that was never
approved is hidden. For one that drifted, the client gets the approved version, so that the model
reads the approved words. A duplicate name is left out, and so are tools that the policy blocks,
although they are judged and pinned. The rest pass.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from operator import is_

from pipeguard.errors import Refusal
from pipeguard.firewall.budgets import Budgets
from pipeguard.firewall.finding import (
    Action,
    Confidence,
    Finding,
    Findings,
    PinChange,
    Severity,
    blocked_whole,
    counted_once,
    enforced_action,
    greatest,
    have_private,
    name_is_secret,
    observe_only,
    worst,
)
from pipeguard.firewall.pins.fingerprint import (
    CONTENT,
    REJECTED,
    WITHDRAWN,
    Pin,
    canonical,
    lasting_part,
)
from pipeguard.firewall.pins.skills import read_entry
from pipeguard.firewall.pins.store import REVIEW
from pipeguard.firewall.policy import Trust
from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.json_values import (
    ABSENT,
    Absent,
    JsonObject,
    JsonValue,
    Number,
    Path,
    as_object,
    serialise,
)
from pipeguard.firewall.protocol.places import LISTS, OPENINGS, Surface
from pipeguard.firewall.protocol.spelling import check_spelling, has_look_alike, spellings
from pipeguard.firewall.session.admission import NO_ROOM, show_command
from pipeguard.firewall.session.guard import APPROVED, Context, DefinitionGroup, Guard
from pipeguard.records import NamedTuple
from pipeguard.unicode.display import NAME_CHARS, cut

BLOCKED = "policy.tool"
TOGETHER = 256  # definitions that are looked at before the first of them is judged
FULL = "trust.full"
_LENIENT = json.JSONDecoder(parse_int=Number, parse_float=Number)


class ReviewedResult(NamedTuple):
    """The definitions in one result after review.

    Attributes:
        result: the result to forward; the object that came if nothing changed.
        pins: definitions to remember.
        stopped: True if the result as a whole must not be forwarded.
        keeps_bytes: True if nothing may be taken out of it: it has a digest.
    """

    result: JsonObject
    findings: Findings
    pins: tuple[PinChange, ...]
    stopped: bool = False
    keeps_bytes: bool = False


def review_definitions(scope: DefinitionScope, result: JsonObject) -> ReviewedResult:
    """Review the definitions in the answer to a list request or in an opening; others have none.

    Args:
        scope: of any kind of definition. Its guard learns what is pinned here; its budgets are
            shared by all definitions.
        result: of the request.

    Raises:
        Refusal: it could not be judged.
    """
    if scope.method in OPENINGS:
        opening = scope._replace(path=("result",), kind="server", key="instructions")
        return _review_opening(opening, result)
    if scope.method not in LISTS:
        return ReviewedResult(result, (), ())
    member, kind, key = LISTS[scope.method]
    check_spelling(result, spellings((member,)), "the result")
    items = result.get(member)
    if items is None:
        return ReviewedResult(result, (), ())
    if not isinstance(items, list):
        why = f"{member} of the result is not a list"
        raise Refusal("protocol.not-a-list", why, codes.PEER_BROKE_PROTOCOL)
    scope.budgets.grow_by_definitions(len(items))
    listed = scope._replace(path=("result", member), kind=kind, key=key)
    reviewed = [*_review_items(listed, items)]
    shown = [each.shown for each in reviewed if each.shown is not ABSENT]
    is_same = len(shown) == len(items) and all(map(is_, shown, items))
    changed = result if is_same else {**result, member: shown}
    if not is_same and "ttlMs" in changed:
        changed["ttlMs"] = Number("0")  # so that no cache keeps an old verdict
    findings = [finding for each in reviewed for finding in each.findings]
    pins = tuple(each.pin for each in reviewed if each.pin is not None)
    findings = counted_once(counted_once(findings, FULL), BLOCKED)
    return ReviewedResult(changed, tuple(findings), pins)


def _review_items(listed: DefinitionScope, items: list[JsonValue]) -> Iterator[ReviewedDefinition]:
    """Review the definitions of a list; the detector looks at several together."""
    names = set[str]()
    for first in range(0, len(items), TOGETHER):
        some = items[first : first + TOGETHER]
        group = DefinitionGroup(some)
        for index, item in enumerate(some, first):
            scope = listed._replace(path=(*listed.path, index), group=group)
            yield _review_item(scope, item, names)


def _review_item(scope: DefinitionScope, item: JsonValue, names: set[str]) -> ReviewedDefinition:
    """Review a definition, and add its name to the names of its list."""
    kind = scope.kind
    key = scope.key
    members = as_object(item)
    name = members.get(key)
    if type(name) is not str or has_look_alike(members, spellings((key,))):
        note = f"a {kind} without {key} was left out of the list"
        finding = scope.finding("protocol.nameless", note, None, Action.BLOCK)
        return ReviewedDefinition(ABSENT, (finding,))
    if name in names:
        note = f"a second {kind} of the same {key} was left out of the list"
        finding = scope.finding(
            "protocol.duplicate-name", note, scope.show_name(name), Action.BLOCK
        )
        return ReviewedDefinition(ABSENT, (finding,))
    if kind == "skill":
        try:
            read_entry(item)
        except ValueError as why:
            note = f"a skill was left out of the list: {why}"
            finding = scope.finding("protocol.malformed-skill", note, None, Action.BLOCK)
            return ReviewedDefinition(ABSENT, (finding,))
    names.add(name)
    first = scope.guard.pins.names.first(kind, name)  # of the known names, also from this list
    reviewed = review_definition(scope, name, item, None if first == name else first)
    if kind == "tool" and scope.guard.policy.hides(name):
        origin = scope.guard.policy.find_refusal(name)
        note = f"{origin} does not allow the tool to be called, so no list shows it"
        finding = scope.finding(BLOCKED, note, scope.show_name(name), Action.WARN)
        finding = finding._replace(severity=Severity.LOW)  # each list has it
        return reviewed._replace(shown=ABSENT, findings=(*reviewed.findings, finding))
    return reviewed


def _review_opening(scope: DefinitionScope, result: JsonObject) -> ReviewedResult:
    """Compare the instructions with their pin, and judge the rest of the opening as a whole."""
    check_spelling(result, spellings(("instructions",)), "the result")
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


# --- one definition ---------------------------------------------------------------------


class ReviewedDefinition(NamedTuple):
    """One definition after review.

    Attributes:
        shown: the version the client sees; ABSENT if it sees none.
        pin: the change to remember, or None.
    """

    shown: JsonValue | Absent
    findings: Findings
    pin: PinChange | None = None


class DefinitionScope(NamedTuple):
    """The place of a definition, and its review.

    Attributes:
        guard: whose rules, policy and pins apply.
        method: of the request.
        path: of the definition in the answer.
        kind: as in Pin.
        key: the member that names such a definition.
        now: seconds on the session's clock.
        budgets: the cost that judging the message may still have.
        group: the definitions that are read next to it; None without them.
    """

    guard: Guard
    method: str
    path: Path
    kind: str
    key: str
    now: float
    budgets: Budgets
    group: DefinitionGroup | None = None

    def scan(self, value: JsonValue, name: str | None) -> Findings:
        """The findings of the rules for definitions; they block if others would redact."""
        context = Context(
            self.guard,
            "result",
            self.method,
            self.now,
            name,
            self.path,
            budgets=self.budgets,
            group=self.group,
        )
        if self.kind == CONTENT:
            findings = self.guard.detector.read_content(context, as_object(value))
        else:
            findings = self.guard.detector.read(context, Surface.DEFINITIONS, value)
        if (
            name is not None
            and have_private(findings)
            # It may be found only elsewhere in the definition.
            and (name_is_secret(findings) or self.show_name(name) is None)
        ):
            findings = [finding._replace(tool=None) for finding in findings]
        return tuple(map(blocked_whole, findings))

    def show_name(self, name: str) -> str | None:
        """The name, as a log may have it; None if it has a secret."""
        return None if have_private(self.scan({self.key: name}, None)) else name

    def describe(self, name: str | None) -> str:
        """The definition, as a note may call it."""
        if name is None:
            return f"a {self.kind} whose name has a secret"
        if self.kind == "server":
            return "the text of the server's instructions"
        return f"the {self.kind} {cut(name, NAME_CHARS)!r}"

    def change(
        self, name: str, fingerprint: str, text: str, reason: str | None = None
    ) -> PinChange:
        """The change that holds a definition for a reason, or without one trusts it."""
        is_held = reason is not None
        return PinChange(self.kind, name, fingerprint, text, is_held, reason or "")

    def finding(self, rule: str, note: str, name: str | None, action: Action) -> Finding:
        """A finding about the definition as a whole."""
        is_waiting = rule.startswith(("trust.held", "trust.drifted", "trust.left-out"))
        finding = Finding(
            rule=rule,
            place=f"{self.kind}.name",
            pointer="/" + "/".join(map(str, self.path)),
            severity=Severity.HIGH if action is Action.BLOCK else Severity.MEDIUM,
            confidence=Confidence.HIGH,
            action=action,
            note=note,
            excerpt=show_command(self.guard.name, name) if name and is_waiting else "",
            tool=name,
        )
        return observe_only(finding) if self.guard.policy.observes else finding


def review_definition(
    scope: DefinitionScope,
    name: str,
    definition: JsonValue,
    look_alike: str | None = None,
    *,
    pinned: JsonValue = None,
) -> ReviewedDefinition:
    """Compare one definition with its pin.

    Args:
        scope: its place.
        name: its own key.
        definition: as the server sent it.
        look_alike: the known name that this one could be taken for; until a person approves it,
            such a definition is hidden.
        pinned: the part that is pinned, of a content; of any other, its lasting part.

    Raises:
        Refusal: it could not be judged.
    """
    lasting = pinned or lasting_part(scope.kind, definition)
    fingerprint = sha256(canonical(lasting)).hexdigest()
    nothing = Pin(scope.kind, name, None, None, None, None, "", is_reviewed=False)
    pin = scope.guard.pin(scope.kind, name) or nothing
    approved = pin.approved_definition
    findings = scope.scan(definition, name)
    if approved is not None and pin.approved_fingerprint == fingerprint:
        return _review_unchanged(scope, pin, approved, definition, findings)
    shown = findings[0].tool if findings else name  # None if it has a secret
    seen = _Seen(name, shown, definition, serialise(lasting).decode(), fingerprint, findings)
    is_approved = f"{scope.guard.launched} {fingerprint}" in scope.guard.policy.approved
    if is_approved and fingerprint not in pin.rejected:
        return _review_approved(scope, pin, seen)
    if fingerprint in pin.rejected and not scope.guard.policy.observes:
        return _review_rejected(scope, pin, seen)
    if approved is not None:
        return _review_drifted(scope, pin, approved, seen)
    is_new = scope.guard.policy.trust is Trust.REVIEW and scope.kind != CONTENT
    needs_review = is_new or pin.rejected
    if seen.is_poisoned or look_alike is not None or needs_review:
        return _review_unapproved(scope, pin, seen, look_alike)
    return _review_first(scope, pin, seen)


def _review_first(scope: DefinitionScope, pin: Pin, seen: _Seen) -> ReviewedDefinition:
    """Trust a definition in which no rule finds anything, unless an earlier run holds it."""
    if pin.held_fingerprint == seen.fingerprint:
        return _held_again(scope, pin, seen, pin.reason)
    change = scope.change(seen.name, seen.fingerprint, seen.text)
    if scope.guard.learn(change, pin) is None:
        return _beyond_room(scope, seen)
    return ReviewedDefinition(seen.definition, seen.findings, change)


def _review_approved(scope: DefinitionScope, pin: Pin, seen: _Seen) -> ReviewedDefinition:
    """Trust a definition that the organisation approved, as if a person here had."""
    change = scope.change(seen.name, seen.fingerprint, seen.text)._replace(reason=APPROVED)
    learned = scope.guard.learn(change, pin)
    if learned is None or learned.held_definition is not None:
        return _beyond_room(scope, seen)
    reviewed = _review_unchanged(scope, learned, seen.text, seen.definition, seen.findings)
    return reviewed._replace(pin=change)


class _Seen(NamedTuple):
    """A definition as it was seen now, with the name that a log may have and its lasting part."""

    name: str
    shown_name: str | None
    definition: JsonValue
    text: str
    fingerprint: str
    findings: Findings

    @property
    def is_poisoned(self) -> bool:
        """True if a rule blocks it."""
        return any(enforced_action(finding) is Action.BLOCK for finding in self.findings)


def _review_unchanged(
    scope: DefinitionScope, pin: Pin, approved_text: str, definition: JsonValue, findings: Findings
) -> ReviewedDefinition:
    """Review a definition that is the approved one: report findings of newer rules, do not stop.

    This applies to the parts judged at approval. A part outside the fingerprint (a size, a date,
    the order of keys) may have changed later: if a rule finds only this, the client gets the
    approved definition instead.
    """
    change = _end_of_hold(scope, pin) or _withdraw(scope, pin)
    stopping = [f for f in findings if enforced_action(f) > Action.WARN]
    if not stopping:
        return ReviewedDefinition(definition, findings, change)
    approved: JsonValue = definition  # which has the same digest
    if scope.kind != CONTENT:
        approved = _LENIENT.decode(approved_text)
    approved_matches = Counter((f.rule, f.place) for f in scope.scan(approved, pin.name))
    new_matches = Counter((f.rule, f.place) for f in stopping) - approved_matches
    reported = tuple(
        f
        if (f.rule, f.place) in new_matches
        else f._replace(action=min(f.action, Action.WARN), would=None)
        for f in findings
    )
    is_replaced = new_matches and not scope.guard.policy.observes
    return ReviewedDefinition(approved if is_replaced else definition, reported, change)


def _end_of_hold(scope: DefinitionScope, pin: Pin) -> PinChange | None:
    """The change that ends the hold of this run on a definition that passes now, if any."""
    is_over = scope.guard.pins.confirm(pin)
    if not (is_over and pin.approved_fingerprint and pin.approved_definition):
        return None
    return scope.change(pin.name, pin.approved_fingerprint, pin.approved_definition)


def _withdraw(scope: DefinitionScope, pin: Pin) -> PinChange | None:
    """The change that withdraws an earlier run's hold, whose version is no longer offered."""
    if pin.held_definition is None or pin.held_fingerprint is None:
        return None
    return scope.change(pin.name, pin.held_fingerprint, pin.held_definition, WITHDRAWN)


def _review_unapproved(
    scope: DefinitionScope, pin: Pin, seen: _Seen, look_alike: str | None
) -> ReviewedDefinition:
    """Hold a definition that was never approved, until a person decides."""
    if seen.is_poisoned:
        reason = f"poisoned: {worst(seen.findings).rule}"
    elif look_alike is not None:
        shown = scope.show_name(look_alike)
        reason = "look-alike" if shown is None else f"look-alike: {cut(shown, NAME_CHARS)}"
    else:
        reason = REVIEW
    hidden = _hide(scope, seen, reason)
    if scope.guard.policy.observes:
        return ReviewedDefinition(seen.definition, hidden.findings)
    return _held_again(scope, pin, seen, reason)


def _review_drifted(
    scope: DefinitionScope, pin: Pin, approved_text: str, seen: _Seen
) -> ReviewedDefinition:
    """Show the approved definition, unless the policy allows all of the drift."""
    from pipeguard.firewall.pins.drift import classify  # 3 ms, and drift is rare

    classes = classify(approved_text, seen.text, scope.kind)
    reason = "drift: " + ", ".join(drift.value for drift in classes)
    note = f"{scope.describe(seen.shown_name)} changed since it was {pin.origin} ({reason})"
    is_allowed = not seen.is_poisoned and frozenset(classes) <= scope.guard.policy.drift_allow
    if scope.guard.policy.observes or is_allowed:
        action = Action.WARN if is_allowed else Action.BLOCK
        finding = scope.finding("trust.drifted", note, seen.shown_name, action)
        change_back = _end_of_hold(scope, pin)
        return ReviewedDefinition(seen.definition, (*seen.findings, finding), change_back)
    is_stored = not scope.guard.pins.is_unstored(pin.kind, pin.name)
    change = scope.change(pin.name, seen.fingerprint, seen.text, reason)
    stored = scope.guard.learn(change, pin)
    if stored is not None and stored.held_fingerprint and stored.held_definition:
        change = scope.change(pin.name, stored.held_fingerprint, stored.held_definition, reason)
    is_remembered = pin.held_fingerprint == change.fingerprint and is_stored
    finding = scope.finding("trust.drifted", note, seen.shown_name, Action.BLOCK)
    approved: JsonValue = _LENIENT.decode(approved_text)
    return ReviewedDefinition(
        approved, (*seen.findings, finding), None if is_remembered else change
    )


def _review_rejected(scope: DefinitionScope, pin: Pin, seen: _Seen) -> ReviewedDefinition:
    """Leave out a version that a person rejected; show the trusted one, if there is one."""
    held = _held_again(scope, pin, seen, REJECTED)
    note = f"{scope.describe(seen.shown_name)} is as the user rejected it, so no list shows it"
    finding = scope.finding("trust.left-out", note, seen.shown_name, Action.WARN)
    finding = finding._replace(severity=Severity.LOW)  # each list has it
    approved = pin.approved_definition
    shown = ABSENT if approved is None else _LENIENT.decode(approved)
    return ReviewedDefinition(shown, (finding,), held.pin)


def _held_again(scope: DefinitionScope, pin: Pin, seen: _Seen, reason: str) -> ReviewedDefinition:
    """Hide a definition, and hold it if the store has not done so."""
    is_stored = not scope.guard.pins.is_unstored(pin.kind, pin.name)
    is_remembered = pin.held_fingerprint == seen.fingerprint and is_stored
    change = scope.change(seen.name, seen.fingerprint, seen.text, reason)
    if scope.guard.learn(change, pin) is None:
        return _beyond_room(scope, seen)
    hidden = _hide(scope, seen, reason)
    return hidden if is_remembered else hidden._replace(pin=change)


def _hide(scope: DefinitionScope, seen: _Seen, reason: str) -> ReviewedDefinition:
    note = f"{scope.describe(seen.shown_name)} was never approved and is held ({reason})"
    finding = scope.finding("trust.held", note, seen.shown_name, Action.BLOCK)
    return ReviewedDefinition(ABSENT, (*seen.findings, finding))


def _beyond_room(scope: DefinitionScope, seen: _Seen) -> ReviewedDefinition:
    """Hide a definition because there is no room to remember it."""
    note = f"a {scope.kind} was left out of the list: {NO_ROOM}"
    finding = scope.finding(FULL, note, None, Action.BLOCK)
    is_shown = scope.guard.policy.observes
    return ReviewedDefinition(seen.definition if is_shown else ABSENT, (*seen.findings, finding))
