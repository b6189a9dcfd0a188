"""Lists of definitions, judged item by item and held to their pins.

A poisoned definition that was never approved is left out of the list; one that drifted keeps
its approved wording, so that the model reads what was approved; the rest pass. Everything that
a list says is judged at each list, whatever was announced.
"""

from __future__ import annotations

import json
from enum import Enum
from typing import NamedTuple

from pipeguard.core import codes
from pipeguard.core.budgets import Budgets
from pipeguard.core.digest import sha256
from pipeguard.core.finding import Action, Confidence, Finding, PinChange, Severity
from pipeguard.core.fingerprint import Pin, canonical
from pipeguard.core.folding import fold
from pipeguard.core.guard import Guard
from pipeguard.core.judge import Where, greatest, scanned, worst
from pipeguard.core.message import JsonObject, JsonValue, Number
from pipeguard.core.places import LISTS, OPENINGS, Path, Surface
from pipeguard.core.policy import Mode, Trust
from pipeguard.core.visible import NAME_CHARS, cut
from pipeguard.errors import Refusal

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
    if not isinstance(items, list):
        return Reviewed(result, (), ())
    shown: list[JsonValue] = []
    findings: list[Finding] = []
    pins: list[PinChange] = []
    names: set[str] = set()
    for index, item in enumerate(items):
        place = _Place(guard, method, ("result", member, index), kind, key, now, budgets)
        judged = _item(place, item, names)
        findings += judged.findings
        if judged.pin is not None:
            pins.append(judged.pin)
        if not isinstance(judged.shown, _Absent):
            shown.append(judged.shown)
    same = len(shown) == len(items) and all(map(lambda a, b: a is b, shown, items))
    changed = result if same else {**result, member: shown}
    if not same and "ttlMs" in changed:
        changed["ttlMs"] = Number("0")  # so that an old verdict does not live on in a cache
    return Reviewed(changed, tuple(findings), tuple(pins))


def held(guard: Guard, kind: str, name: str) -> Finding | None:
    """Why something may not be used, or None where it may."""
    pin = guard.pins.get((kind, name))
    if pin is None:
        if guard.policy.trust is Trust.REVIEW and kind == "tool":
            return _held_finding(guard, kind, name, "it was never approved", "trust.held")
        return None
    if pin.held is None:
        return None
    rule = "trust.held" if pin.approved is None else "trust.drifted"
    return _held_finding(guard, kind, name, _told(pin), rule)


def _told(pin: Pin) -> str:
    """Why it is held, in our words alone: what the server now says is for `pipeguard diff`."""
    if pin.approved is None:
        return f"it was never approved ({pin.reason})" if pin.reason else "it was never approved"
    return f"it changed since it was approved ({pin.reason})"


def _held_finding(guard: Guard, kind: str, name: str, why: str, rule: str) -> Finding:
    target = f"{guard.name}/{name}"
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
            f" It cannot be used until the user looks at it with `pipeguard diff {target}`"
            f" and accepts it with `pipeguard approve {target}`."
        ),
        excerpt=f"pipeguard diff {target}",
        tool=name,
    )


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
            excerpt=f"pipeguard diff {self.guard.name}/{name}" if name else "",
            tool=name,
        )


def _item(place: _Place, item: JsonValue, names: set[str]) -> _Item:
    name = item.get(place.key) if isinstance(item, dict) else None
    if not isinstance(item, dict) or type(name) is not str or _is_respelt(item, place.key):
        note = f"a {place.kind} without {place.key} was left out of the list"
        return _Item(_ABSENT, (place.finding("protocol.nameless", note, None, Action.BLOCK),))
    if (seen := _as_seen(place.kind, name)) in names:
        note = f"a second {place.kind} of the same {place.key} was left out of the list"
        return _Item(_ABSENT, (place.finding("protocol.duplicate-name", note, name, Action.BLOCK),))
    names.add(seen)
    return _pinned(place, name, item, item)


def _as_seen(kind: str, name: str) -> str:
    """A name as a person or a model sees it; of an address each character counts."""
    if kind not in ("tool", "prompt"):
        return name
    return fold(name.encode("utf-8"))[0].decode("utf-8", "replace")


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


def _pinned(place: _Place, name: str, definition: JsonValue, shown: JsonValue) -> _Item:
    """Hold one definition to its pin."""
    text = canonical(_lasting(place.kind, definition))
    fingerprint = sha256(text).hexdigest()
    pin = place.guard.pins.get((place.kind, name))
    findings = place.scan(definition, name)
    if pin is not None and pin.approved_fingerprint == fingerprint:
        # What was approved stays approved: what newer rules see in it is said, not stopped.
        warned = tuple(f._replace(action=min(f.action, Action.WARN)) for f in findings)
        change = None
        if pin.held is not None:
            change = place.pin(name, fingerprint, text.decode())
            _learn(place.guard, change, pin)
        return _Item(shown, warned, change)
    if pin is not None and pin.approved is not None:
        return _drifted(place, pin, text.decode(), fingerprint, shown, findings)
    poisoned = greatest(findings) is Action.BLOCK
    if not poisoned and place.guard.policy.trust is Trust.FIRST_USE:
        if pin is not None and pin.held is not None and pin.held_fingerprint == fingerprint:
            return _never_approved(place, name, pin.reason, findings)
        change = place.pin(name, fingerprint, text.decode())
        _learn(place.guard, change, None)
        return _Item(shown, findings, change)
    reason = f"poisoned: {worst(findings).rule}" if poisoned else "review"
    change = place.hold(name, fingerprint, text.decode(), reason)
    if place.guard.policy.mode is Mode.OBSERVE:
        return _Item(shown, findings)
    known = pin is not None and pin.held_fingerprint == fingerprint
    _learn(place.guard, change, pin)
    left_out = _never_approved(place, name, reason, findings)
    return left_out if known else left_out._replace(pin=change)


def _lasting(kind: str, definition: JsonValue) -> JsonValue:
    """A definition without what changes with the content: a resource's size and date."""
    if kind != "resource" or not isinstance(definition, dict):
        return definition
    lasting = {key: item for key, item in definition.items() if key != "size"}
    annotations = lasting.get("annotations")
    if isinstance(annotations, dict) and "lastModified" in annotations:
        lasting["annotations"] = {k: v for k, v in annotations.items() if k != "lastModified"}
    return lasting


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
    from pipeguard.core.drift import classify  # 3 ms, and hardly ever asked

    classes = classify(pin.approved, text, place.kind)
    reason = "drift: " + ", ".join(drift.value for drift in classes)
    note = (
        f"the {place.kind} {cut(pin.name, NAME_CHARS)!r} changed since it was approved ({reason})"
    )
    clean = greatest(findings) is not Action.BLOCK
    harmless = frozenset(classes) <= place.guard.policy.drift_allow
    # What a resource list says of its entries changes with their content, so it is only told.
    lenient = harmless or (place.kind == "resource" and place.guard.policy.trust is Trust.FIRST_USE)
    if place.guard.policy.mode is Mode.OBSERVE or (clean and lenient):
        drifted = place.finding("trust.drifted", note, pin.name, Action.WARN)
        return _Item(shown, (*findings, drifted))
    change = place.hold(pin.name, fingerprint, text, reason)
    known = pin.held_fingerprint == fingerprint
    _learn(place.guard, change, pin)
    drifted = place.finding("trust.drifted", note, pin.name, Action.BLOCK)
    approved: JsonValue = _LENIENT.decode(pin.approved)
    return _Item(approved, (*findings, drifted), None if known else change)


def _learn(guard: Guard, change: PinChange, pin: Pin | None) -> None:
    approved = change.definition if change.pinned else pin.approved if pin else None
    approved_fingerprint = (
        change.fingerprint if change.pinned else pin.approved_fingerprint if pin else None
    )
    guard.learn(
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
    rest = {key: item for key, item in result.items() if key != "instructions"}
    place = _Place(guard, method, ("result",), "server", "instructions", now, budgets)
    findings = place.scan(rest, None)
    if not isinstance(result.get("instructions"), str) or greatest(findings) is Action.BLOCK:
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
