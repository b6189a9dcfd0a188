"""Lists of definitions, judged item by item and held to their pins.

A poisoned definition that was never approved is left out of the list; one that drifted keeps
its approved wording, so that the model reads what was approved; the rest pass. Everything that
a list says is judged at each list, whatever was announced.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from enum import Enum
from typing import NamedTuple

from pipeguard.core.digest import sha256
from pipeguard.core.finding import Action, Confidence, Finding, PinChange, Severity, greatest, worst
from pipeguard.core.pins.fingerprint import Pin, canonical
from pipeguard.core.pins.lookalikes import as_seen, differ_in_case, is_same
from pipeguard.core.protocol import codes
from pipeguard.core.protocol.json_values import JsonObject, JsonValue, Number, serialise
from pipeguard.core.protocol.places import LISTS, OPENINGS, Path, Surface
from pipeguard.core.rules.policy import Mode, Trust
from pipeguard.core.session.guard import Guard
from pipeguard.core.session.judge import Where, scanned
from pipeguard.core.text.budgets import Budgets
from pipeguard.core.unicode.display import NAME_CHARS, cut, quoted
from pipeguard.errors import Refusal

_BROKEN = codes.PEER_BROKE_PROTOCOL
FULL = "trust.full"
_NO_ROOM = "the server defines more than PipeGuard keeps of one server, and this goes beyond it"
_BLOCK = Action.BLOCK
TARGET_CHARS = 200  # of a server's and a definition's name in a command
_LENIENT = json.JSONDecoder(parse_int=Number, parse_float=Number)


class Reviewed(NamedTuple):
    """What became of the definitions in one result.

    Attributes:
        result: the result that goes on; the very object that came where nothing changed.
        findings: what was seen.
        pins: what is to be remembered.
        stopped: True where the result as a whole must not go on.
    """

    result: JsonObject
    findings: tuple[Finding, ...]
    pins: tuple[PinChange, ...]
    stopped: bool = False


class _Absent(Enum):
    """Stands in a list for a definition that is left out of it."""

    ABSENT = "absent"


_ABSENT = _Absent.ABSENT


class _Item(NamedTuple):
    """One definition: what the client gets to read of it, if anything."""

    shown: JsonValue | _Absent
    findings: tuple[Finding, ...]
    pin: PinChange | None = None


def review(
    guard: Guard, method: str, result: JsonObject, now: float, budgets: Budgets | None = None
) -> Reviewed:
    """Judge the definitions in the answer to a list request, or in a server's opening.

    Args:
        guard: whose rules, policy and pins hold; learns what is pinned here.
        method: of the request.
        result: its result.
        now: seconds on the session's clock.
        budgets: what judging the message may still cost: all of its definitions share it.

    Raises:
        Refusal: something could not be judged.
    """
    budgets = budgets or Budgets()
    if method in OPENINGS:
        return _review_opening(guard, method, result, now, budgets)
    member, kind, key = LISTS[method]
    _check_spelling(result, member)
    items = result.get(member)
    if items is None:
        return Reviewed(result, (), ())
    if not isinstance(items, list):
        raise Refusal("protocol.not-a-list", f"{member} of the result is no list", _BROKEN)
    shown: list[JsonValue] = []
    findings: list[Finding] = []
    pins: list[PinChange] = []
    names = _Names()
    for index, item in enumerate(items):
        place = _Place(guard, method, ("result", member, index), kind, key, now, budgets)
        judged = _item(place, item, names)
        findings += judged.findings
        if judged.pin is not None:
            pins.append(judged.pin)
        if not isinstance(judged.shown, _Absent):
            shown.append(judged.shown)
    findings = _once(findings, FULL)
    same = len(shown) == len(items) and all(map(lambda a, b: a is b, shown, items))
    changed = result if same else {**result, member: shown}
    if not same and "ttlMs" in changed:
        changed["ttlMs"] = Number("0")  # so that an old verdict does not live on in a cache
    return Reviewed(changed, tuple(findings), tuple(pins))


def _unpinned(guard: Guard, kind: str, name: str) -> Finding | None:
    """What stands against using a definition of which nothing is known under this name."""
    if not guard.knows_all(kind):
        finding = _held_finding(guard, kind, name, "", "trust.held")
        return finding._replace(note=f"PipeGuard holds the {kind}: {_NO_ROOM}", excerpt="")
    first = guard.names.first(kind, name)
    if first is not None and first != name:
        if is_same(kind, name):
            return held(guard, kind, first)
        note = f"it could be taken for {cut(first, NAME_CHARS)!r}. Use that as it is spelt"
        return _not_offered(guard, kind, name, note)
    if kind == "template":
        return held(guard, "resource", name)
    return _unknown(guard, kind, name) if guard.policy.trust is Trust.REVIEW else None


def held(guard: Guard, kind: str, name: str) -> Finding | None:
    """Why something may not be used, or None where it may.

    Args:
        guard: whose pins and policy hold.
        kind: as in Pin; of what may be a template or an address (completion), `template`.
        name: as the request has it.
    """
    pin = guard.pin(kind, name)
    if pin is None:
        return _unpinned(guard, kind, name)
    if pin.held is None:
        return None
    rule = "trust.held" if pin.approved is None else "trust.drifted"
    return _held_finding(guard, kind, name, _told(pin), rule)


def _unknown(guard: Guard, kind: str, name: str) -> Finding | None:
    """What of a server was never offered may be used under review where a template covers it."""
    why = "what is not offered cannot be approved"
    if kind == "resource":
        if _is_covered(guard, name):
            return None
        why = "no template that was approved covers it"
    return _not_offered(guard, kind, name, why)


def _is_covered(guard: Guard, uri: str) -> bool:
    from pipeguard.core.protocol.uri_templates import covers  # 2 ms, and only under review

    for template in guard.names.templates():
        pin = guard.pin("template", template)
        if pin is not None and pin.held is None and covers(template, uri):
            return True
    return False


def _told(pin: Pin) -> str:
    """Why it is held, in our words alone: what the server now says is for `pipeguard diff`."""
    if pin.approved is None:
        return f"it was never approved ({pin.reason})" if pin.reason else "it was never approved"
    return f"it changed since it was approved ({pin.reason})"


def _not_offered(guard: Guard, kind: str, name: str, why: str) -> Finding:
    note = (
        f"PipeGuard holds the {kind} {cut(name, NAME_CHARS)!r}:"
        f" the server has not offered it, and {why}."
    )
    finding = _held_finding(guard, kind, name, "", "trust.held")
    return finding._replace(note=note, excerpt="pipeguard diff")


def _held_finding(guard: Guard, kind: str, name: str, why: str, rule: str) -> Finding:
    action = Action.WARN if guard.policy.mode is Mode.OBSERVE else Action.BLOCK
    return Finding(
        rule=rule,
        place="call.name",
        pointer="/params/name",
        severity=Severity.HIGH,
        confidence=Confidence.HIGH,
        action=action,
        note=(
            f"PipeGuard holds the {kind} {cut(name, NAME_CHARS)!r}: {why}."
            " It cannot be used until the user has looked at it and accepted it."
        ),
        excerpt=_look(guard.name, name),
        tool=name,
    )


def _look(server: str, name: str) -> str:
    """The command that shows a definition to a person, whatever the server called it."""
    target = f"{server}/{name}"
    return f"pipeguard diff {quoted(target if len(target) <= TARGET_CHARS else server)}"


class _Place(NamedTuple):
    """Where a definition stands."""

    guard: Guard
    method: str
    path: Path
    kind: str
    key: str
    now: float
    budgets: Budgets

    def scan(self, value: JsonValue, name: str | None) -> tuple[Finding, ...]:
        """What the rules for definitions see in it; nothing is redacted in a definition."""
        where = Where(self.guard, "result", self.method, self.now, name, self.path, self.budgets)
        found = scanned(where, Surface.DEFINITIONS, value)
        return tuple(
            finding._replace(action=Action.BLOCK) if finding.action is Action.REDACT else finding
            for finding in found
        )

    def pin(self, name: str, fingerprint: str, text: str) -> PinChange:
        """Trust a definition from now on."""
        return PinChange(self.kind, name, fingerprint, text, held=False, reason="", pinned=True)

    def hold(self, name: str, fingerprint: str, text: str, reason: str) -> PinChange:
        """Let a definition wait for a person."""
        return PinChange(self.kind, name, fingerprint, text, held=True, reason=reason, pinned=False)

    def finding(self, rule: str, note: str, name: str | None, action: Action) -> Finding:
        """A finding about the definition as a whole."""
        if self.guard.policy.mode is Mode.OBSERVE:
            action = min(action, Action.WARN)
        return Finding(
            rule=rule,
            place=f"{self.kind}.name",
            pointer="/" + "/".join(map(str, self.path)),
            severity=Severity.HIGH if action is Action.BLOCK else Severity.MEDIUM,
            confidence=Confidence.HIGH,
            action=action,
            note=note,
            excerpt=_look(self.guard.name, name) if name else "",
            tool=name,
        )


class _Names:
    """The names in one list.

    Attributes:
        all: each as it stands there.
        seen: the first of those that are taken for one another, by how they are seen.
        new: those that nothing was known of before, and that are trusted now.
    """

    __slots__ = ("all", "new", "seen")

    def __init__(self) -> None:
        self.all: set[str] = set()
        self.seen: dict[str, str] = {}
        self.new: set[str] = set()

    def take(self, kind: str, name: str) -> bool:
        """Add a name; False where the list has it, or one that nobody tells from it."""
        earlier = self.seen.setdefault(as_seen(kind, name), name)
        if name in self.all or not (earlier == name or differ_in_case(kind, earlier, name)):
            return False
        self.all.add(name)
        return True

    def known(self, place: _Place, name: str) -> str | None:
        """The name that was known before and that this one is taken for, or None.

        A server that has both `Plan` and `plan` from the start means two; not one that has the
        second only once the first is trusted.
        """
        first = place.guard.names.first(place.kind, name)
        if first is None or first == name:
            return None
        return None if first in self.new and differ_in_case(place.kind, first, name) else first


def _item(place: _Place, item: JsonValue, names: _Names) -> _Item:
    name = item.get(place.key) if isinstance(item, dict) else None
    if not isinstance(item, dict) or type(name) is not str or _is_respelt(item, place.key):
        note = f"a {place.kind} without {place.key} was left out of the list"
        return _Item(_ABSENT, (place.finding("protocol.nameless", note, None, Action.BLOCK),))
    if not names.take(place.kind, name):
        note = f"a second {place.kind} of the same {place.key} was left out of the list"
        return _Item(_ABSENT, (place.finding("protocol.duplicate-name", note, name, Action.BLOCK),))
    is_new = place.guard.pin(place.kind, name) is None
    judged = _pinned(place, name, item, item, names.known(place, name))
    if is_new and judged.pin is not None and judged.pin.pinned:
        names.new.add(name)
    return judged


def _is_respelt(value: JsonObject, member: str) -> bool:
    """True where a parser that ignores case would read another member for this one."""
    wanted = member.casefold()
    return any(key != member and key.casefold() == wanted for key in value)


def _check_spelling(result: JsonObject, member: str) -> None:
    if _is_respelt(result, member):
        raise Refusal(
            "protocol.key-look-alike",
            "a member of the result differs from one of the protocol in case only",
            codes.INVALID_REQUEST,
        )


def _pinned(
    place: _Place,
    name: str,
    definition: JsonValue,
    shown: JsonValue,
    alike: str | None = None,
) -> _Item:
    """Hold one definition to its pin, and one that is taken for another's until it is approved."""
    lasting = _lasting(place.kind, definition)
    fingerprint = sha256(canonical(lasting)).hexdigest()
    pin = place.guard.pin(place.kind, name)
    findings = place.scan(definition, name)
    if pin is not None and pin.approved is not None and pin.approved_fingerprint == fingerprint:
        change = None
        if pin.held is not None:
            change = place.pin(name, fingerprint, pin.approved)
            _learn(place.guard, change, pin)
        return _approved(place, name, pin.approved, shown, findings)._replace(pin=change)
    text = serialise(lasting).decode()
    if pin is not None and pin.approved is not None:
        return _drifted(place, pin, text, fingerprint, shown, findings)
    poisoned = greatest(findings) is Action.BLOCK
    if not poisoned and alike is None and place.guard.policy.trust is Trust.FIRST_USE:
        if pin is not None and pin.held is not None and pin.held_fingerprint == fingerprint:
            return _never_approved(place, name, pin.reason, findings)
        change = place.pin(name, fingerprint, text)
        kept = _learn(place.guard, change, None)
        return _Item(shown, findings, change) if kept else _beyond(place, findings, shown)
    reason = f"poisoned: {worst(findings).rule}" if poisoned else "review"
    if alike is not None and not poisoned:
        reason = f"look-alike: {cut(alike, NAME_CHARS)}"
    change = place.hold(name, fingerprint, text, reason)
    if place.guard.policy.mode is Mode.OBSERVE:
        told = _never_approved(place, name, reason, findings).findings if alike else findings
        return _Item(shown, told)
    known = pin is not None and pin.held_fingerprint == fingerprint
    kept = _learn(place.guard, change, pin)
    left_out = _never_approved(place, name, reason, findings)
    if kept is None:
        left_out = _beyond(place, findings, shown)
    return left_out if known or kept is None else left_out._replace(pin=change)


def _approved(
    place: _Place, name: str, text: str, shown: JsonValue, findings: tuple[Finding, ...]
) -> _Item:
    """What was approved stays approved: what newer rules see in it is said, not stopped.

    That holds for what was judged then. What has no part in the fingerprint (a size, a date, the
    order of keys) may be another now: where something is found by that alone, the approved words
    are shown in its place, as they came.
    """
    stopping = [f for f in findings if f.action > Action.WARN]
    if not stopping:
        return _Item(shown, findings)
    approved: JsonValue = _LENIENT.decode(text)
    known = Counter((f.rule, f.place) for f in place.scan(approved, name))
    beyond = Counter((f.rule, f.place) for f in stopping) - known
    told = tuple(
        f if (f.rule, f.place) in beyond else f._replace(action=min(f.action, Action.WARN))
        for f in findings
    )
    return _Item(approved if beyond else shown, told)


# What a resource is to hold there (MCP 2025-06-18, schema.ts, Resource and Annotations): a number
# of bytes that a double holds, and a moment in ISO 8601. No word can be said in either.
_SIZE = r"0|[1-9][0-9]{0,15}"
_MOMENT = (
    r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}"
    r"(?:[Tt ][0-9]{2}:?[0-9]{2}(?::?[0-9]{2}(?:[.,][0-9]{1,9})?)?"
    r"(?:[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)


def _lasting(kind: str, definition: JsonValue) -> JsonValue:
    """A definition without what changes with the content: a resource's size and date.

    Only a size and a date are left out; anything else under these names belongs to it.
    """
    if kind != "resource" or not isinstance(definition, dict):
        return definition
    size = definition.get("size")
    if size is None or (type(size) is Number and re.fullmatch(_SIZE, size)):
        definition = {key: item for key, item in definition.items() if key != "size"}
    annotations = definition.get("annotations")
    if isinstance(annotations, dict):
        moment = annotations.get("lastModified")
        if moment is None or (type(moment) is str and re.fullmatch(_MOMENT, moment)):
            kept: JsonValue = {k: v for k, v in annotations.items() if k != "lastModified"}
            definition = {key: item for key, item in definition.items() if key != "annotations"}
            if kept:  # without a date there may be none at all
                definition["annotations"] = kept
    return definition


def _never_approved(place: _Place, name: str, reason: str, findings: tuple[Finding, ...]) -> _Item:
    note = f"the {place.kind} {cut(name, NAME_CHARS)!r} was never approved and is held ({reason})"
    return _Item(_ABSENT, (*findings, place.finding("trust.held", note, name, Action.BLOCK)))


def _drifted(
    place: _Place,
    pin: Pin,
    text: str,
    fingerprint: str,
    shown: JsonValue,
    findings: tuple[Finding, ...],
) -> _Item:
    assert pin.approved is not None  # noqa: S101  the caller asked
    from pipeguard.core.pins.drift import classify  # 3 ms, and hardly ever asked

    classes = classify(pin.approved, text, place.kind)
    reason = "drift: " + ", ".join(drift.value for drift in classes)
    note = (
        f"the {place.kind} {cut(pin.name, NAME_CHARS)!r} changed since it was approved ({reason})"
    )
    clean = greatest(findings) is not Action.BLOCK
    harmless = frozenset(classes) <= place.guard.policy.drift_allow
    if place.guard.policy.mode is Mode.OBSERVE or (clean and harmless):
        drifted = place.finding("trust.drifted", note, pin.name, Action.WARN)
        return _Item(shown, (*findings, drifted))
    change = place.hold(pin.name, fingerprint, text, reason)
    kept = _learn(place.guard, change, pin)
    if kept is not None and kept.held is not None and kept.held_fingerprint is not None:
        change = place.hold(pin.name, kept.held_fingerprint, kept.held, reason)
    known = pin.held_fingerprint == change.fingerprint
    drifted = place.finding("trust.drifted", note, pin.name, Action.BLOCK)
    approved: JsonValue = _LENIENT.decode(pin.approved)
    return _Item(approved, (*findings, drifted), None if known else change)


def _beyond(place: _Place, findings: tuple[Finding, ...], shown: JsonValue) -> _Item:
    """There is no room for one more definition: it is left out, since nothing is known of it."""
    told = place.finding(FULL, f"a {place.kind} was left out of the list: {_NO_ROOM}", None, _BLOCK)
    is_shown = place.guard.policy.mode is Mode.OBSERVE
    return _Item(shown if is_shown else _ABSENT, (*findings, told))


def _once(findings: list[Finding], rule: str) -> list[Finding]:
    """Of what a rule says of each definition alike, the first, and how often."""
    said = [finding for finding in findings if finding.rule == rule]
    if len(said) < 2:
        return findings
    first = said[0]._replace(note=f"{said[0].note} ({len(said)} of them here)")
    return [first, *(finding for finding in findings if finding.rule != rule)]


def _learn(guard: Guard, change: PinChange, pin: Pin | None) -> Pin | None:
    """Remember a definition; what is kept of it, or None where there is no room."""
    approved = change.definition if change.pinned else pin.approved if pin else None
    approved_fingerprint = (
        change.fingerprint if change.pinned else pin.approved_fingerprint if pin else None
    )
    return guard.learn(
        Pin(
            change.kind,
            change.name,
            approved,
            approved_fingerprint,
            change.definition if change.held else None,
            change.fingerprint if change.held else None,
            change.reason,
        )
    )


def _review_opening(
    guard: Guard, method: str, result: JsonObject, now: float, budgets: Budgets
) -> Reviewed:
    """The instructions are held to their pin; the rest of the opening is judged as a whole."""
    _check_spelling(result, "instructions")
    is_text = isinstance(result.get("instructions"), str)
    rest = {k: item for k, item in result.items() if k != "instructions" or not is_text}
    place = _Place(guard, method, ("result",), "server", "instructions", now, budgets)
    findings = place.scan(rest, None)
    if not is_text or greatest(findings) is Action.BLOCK:
        return Reviewed(result, findings, (), stopped=greatest(findings) is Action.BLOCK)
    place = place._replace(path=("result", "instructions"))
    wrapped: JsonObject = {"instructions": result["instructions"]}
    judged = _pinned(place._replace(path=("result",)), "instructions", wrapped, wrapped)
    pins = (judged.pin,) if judged.pin is not None else ()
    if judged.shown is wrapped:
        return Reviewed(result, (*findings, *judged.findings), pins)
    changed = dict(result)
    if isinstance(judged.shown, dict):
        changed["instructions"] = judged.shown["instructions"]
    else:
        del changed["instructions"]
    return Reviewed(changed, (*findings, *judged.findings), pins)
