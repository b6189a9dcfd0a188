"""Compares one definition with its pin: what the client gets to see, and what is remembered.

A poisoned definition that was never approved is hidden. One that drifted is shown as it was
approved, so that the model reads the approved words. The rest pass.
"""

from __future__ import annotations

import json
from collections import Counter
from enum import Enum
from hashlib import sha256

from pipeguard.firewall.budgets import Budgets
from pipeguard.firewall.finding import (
    Action,
    Confidence,
    Finding,
    PinChange,
    Severity,
    enforced_action,
    name_is_secret,
    observe_only,
    tells_private,
    worst,
)
from pipeguard.firewall.pins.fingerprint import WITHDRAWN, Pin, canonical, lasting_part
from pipeguard.firewall.pins.store import REVIEW
from pipeguard.firewall.policy import Mode, Trust
from pipeguard.firewall.protocol.json_values import JsonValue, Number, Path, serialise
from pipeguard.firewall.protocol.places import Surface
from pipeguard.firewall.session.admission import NO_ROOM, show_command
from pipeguard.firewall.session.guard import Context, Guard, ReadPart
from pipeguard.records import NamedTuple
from pipeguard.unicode.display import NAME_CHARS, cut

FULL = "trust.full"
_LENIENT = json.JSONDecoder(parse_int=Number, parse_float=Number)

Findings = tuple[Finding, ...]


class Hidden(Enum):
    """A stand-in for a definition that is hidden from the client."""

    HIDDEN = "hidden"


HIDDEN = Hidden.HIDDEN


class ReviewedDefinition(NamedTuple):
    """One definition after review.

    Attributes:
        shown: what the client sees of it.
        findings: what was found in it.
        pin: what is to be remembered of it, or None.
    """

    shown: JsonValue | Hidden
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
        budgets: what judging the message may still cost.
        read: reads the definitions that were looked at together; None for the guard's detector.
    """

    guard: Guard
    method: str
    path: Path
    kind: str
    key: str
    now: float
    budgets: Budgets
    read: ReadPart | None = None

    def context(self, name: str | None) -> Context:
        """The place of the definition in the message, which is about a tool of this name."""
        guard, path = self.guard, self.path
        return Context(guard, "result", self.method, self.now, name, path, self.budgets)

    def scan(self, value: JsonValue, name: str | None) -> Findings:
        """The findings of the rules for definitions; they block where others would redact."""
        context, read = self.context(name), self.read
        if read is None:
            findings = self.guard.detector.read(context, Surface.DEFINITIONS, value)
        else:
            findings = read(context, value)
        if name is not None and self._tells_name(findings, name):
            findings = [finding._replace(tool=None) for finding in findings]
        return tuple(map(_blocked_whole, findings))

    def _tells_name(self, findings: list[Finding], name: str) -> bool:
        """True if the name has a secret, which may have been found elsewhere in its definition."""
        is_private = any(tells_private(finding.rule) for finding in findings)
        return is_private and (name_is_secret(findings) or self.show_name(name) is None)

    def show_name(self, name: str) -> str | None:
        """The name, as a log may have it; None if it has a secret."""
        findings = self.scan({self.key: name}, None)
        return None if any(tells_private(finding.rule) for finding in findings) else name

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
        return PinChange(self.kind, name, fingerprint, text, is_held, reason or "", not is_held)

    def finding(self, rule: str, note: str, name: str | None, action: Action) -> Finding:
        """A finding about the definition as a whole."""
        is_waiting = rule.startswith("trust.")
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
        return observe_only(finding) if self.guard.policy.mode is Mode.OBSERVE else finding


def review_definition(
    scope: DefinitionScope,
    name: str,
    definition: JsonValue,
    look_alike: str | None = None,
) -> ReviewedDefinition:
    """Compare one definition with its pin.

    Args:
        scope: where it is.
        name: its own key.
        definition: as the server sent it.
        look_alike: the known name that this one could be taken for; until a person approves it,
            such a definition is hidden.

    Raises:
        Refusal: it could not be judged.
    """
    lasting = lasting_part(scope.kind, definition)
    fingerprint = sha256(canonical(lasting)).hexdigest()
    pin = scope.guard.pin(scope.kind, name)
    findings = scope.scan(definition, name)
    if (
        pin is not None
        and pin.approved_definition is not None
        and pin.approved_fingerprint == fingerprint
    ):
        return _review_unchanged(scope, pin, pin.approved_definition, definition, findings)
    shown = findings[0].tool if findings else name  # None if it has a secret
    seen = _Seen(name, shown, definition, serialise(lasting).decode(), fingerprint, findings)
    if pin is not None and pin.approved_definition is not None:
        return _review_drifted(scope, pin, pin.approved_definition, seen)
    if seen.is_poisoned or look_alike is not None or scope.guard.policy.trust is Trust.REVIEW:
        return _review_unapproved(scope, pin, seen, look_alike)
    return _first_use(scope, pin, seen)


def _blocked_whole(finding: Finding) -> Finding:
    """A finding in a definition, in which nothing is redacted."""
    if finding.would is Action.REDACT:
        finding = finding._replace(would=Action.BLOCK)
    return finding._replace(action=Action.BLOCK) if finding.action is Action.REDACT else finding


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
    """The definition is the approved one: what newer rules find in it is reported, not stopped.

    That holds for what was judged then. What is not part of the fingerprint (a size, a date, the
    order of keys) may have changed since: where it alone is what a rule finds, the approved
    definition is shown in its place.
    """
    change = _end_of_hold(scope, pin) or _withdraw(scope, pin)
    stopping = [f for f in findings if enforced_action(f) > Action.WARN]
    if not stopping:
        return ReviewedDefinition(definition, findings, change)
    approved: JsonValue = _LENIENT.decode(approved_text)
    approved_matches = Counter((f.rule, f.place) for f in scope.scan(approved, pin.name))
    new_matches = Counter((f.rule, f.place) for f in stopping) - approved_matches
    reported = tuple(
        f
        if (f.rule, f.place) in new_matches
        else f._replace(action=min(f.action, Action.WARN), would=None)
        for f in findings
    )
    is_replaced = new_matches and scope.guard.policy.mode is Mode.ENFORCE
    return ReviewedDefinition(approved if is_replaced else definition, reported, change)


def _end_of_hold(scope: DefinitionScope, pin: Pin) -> PinChange | None:
    """The change that ends the hold of this run on a definition that passes now, if any."""
    if not scope.guard.confirm(pin) or not pin.approved_fingerprint or not pin.approved_definition:
        return None
    return scope.change(pin.name, pin.approved_fingerprint, pin.approved_definition)


def _withdraw(scope: DefinitionScope, pin: Pin) -> PinChange | None:
    """The change that withdraws the hold of an earlier run, whose version is no longer offered."""
    if pin.held_definition is None or pin.held_fingerprint is None:
        return None
    return scope.change(pin.name, pin.held_fingerprint, pin.held_definition, WITHDRAWN)


def _first_use(scope: DefinitionScope, pin: Pin | None, seen: _Seen) -> ReviewedDefinition:
    """Trust a clean definition that was never seen, unless it is already held."""
    if (
        pin is not None
        and pin.held_definition is not None
        and pin.held_fingerprint == seen.fingerprint
    ):
        return _held_again(scope, pin, seen, pin.reason)
    change = scope.change(seen.name, seen.fingerprint, seen.text)
    if _learn(scope.guard, change, None) is None:
        return _beyond_room(scope, seen)
    return ReviewedDefinition(seen.definition, seen.findings, change)


def _review_unapproved(
    scope: DefinitionScope, pin: Pin | None, seen: _Seen, look_alike: str | None
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
    if scope.guard.policy.mode is Mode.OBSERVE:
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
    if scope.guard.policy.mode is Mode.OBSERVE or is_allowed:
        action = Action.WARN if is_allowed else Action.BLOCK
        finding = scope.finding("trust.drifted", note, seen.shown_name, action)
        change_back = _end_of_hold(scope, pin)
        return ReviewedDefinition(seen.definition, (*seen.findings, finding), change_back)
    is_stored = not scope.guard.is_unstored(pin.kind, pin.name)
    change = scope.change(pin.name, seen.fingerprint, seen.text, reason)
    stored = _learn(scope.guard, change, pin)
    if (
        stored is not None
        and stored.held_definition is not None
        and stored.held_fingerprint is not None
    ):
        change = scope.change(pin.name, stored.held_fingerprint, stored.held_definition, reason)
    is_remembered = pin.held_fingerprint == change.fingerprint and is_stored
    finding = scope.finding("trust.drifted", note, seen.shown_name, Action.BLOCK)
    approved: JsonValue = _LENIENT.decode(approved_text)
    return ReviewedDefinition(
        approved, (*seen.findings, finding), None if is_remembered else change
    )


def _held_again(
    scope: DefinitionScope, pin: Pin | None, seen: _Seen, reason: str
) -> ReviewedDefinition:
    """Hide a definition, and hold it where the store has not done so."""
    is_remembered = (
        pin is not None
        and pin.held_fingerprint == seen.fingerprint
        and not scope.guard.is_unstored(pin.kind, pin.name)
    )
    change = scope.change(seen.name, seen.fingerprint, seen.text, reason)
    if _learn(scope.guard, change, pin) is None:
        return _beyond_room(scope, seen)
    hidden = _hide(scope, seen, reason)
    return hidden if is_remembered else hidden._replace(pin=change)


def _hide(scope: DefinitionScope, seen: _Seen, reason: str) -> ReviewedDefinition:
    note = f"{scope.describe(seen.shown_name)} was never approved and is held ({reason})"
    finding = scope.finding("trust.held", note, seen.shown_name, Action.BLOCK)
    return ReviewedDefinition(HIDDEN, (*seen.findings, finding))


def _beyond_room(scope: DefinitionScope, seen: _Seen) -> ReviewedDefinition:
    """Hide a definition that there is no room to remember."""
    note = f"a {scope.kind} was left out of the list: {NO_ROOM}"
    finding = scope.finding(FULL, note, None, Action.BLOCK)
    is_shown = scope.guard.policy.mode is Mode.OBSERVE
    return ReviewedDefinition(seen.definition if is_shown else HIDDEN, (*seen.findings, finding))


def _learn(guard: Guard, change: PinChange, pin: Pin | None) -> Pin | None:
    """Remember a definition; return what is stored of it, or None if there is no room."""
    seen: tuple[str | None, str | None] = (change.definition, change.fingerprint)
    trusted: tuple[str | None, str | None] = (None, None)
    if pin is not None:
        trusted = pin.approved_definition, pin.approved_fingerprint
    texts = (*trusted, *seen) if change.is_held else (*seen, None, None)
    is_reviewed = pin is not None and pin.is_reviewed
    return guard.learn(
        Pin(change.kind, change.name, *texts, change.reason, is_reviewed=is_reviewed)
    )
