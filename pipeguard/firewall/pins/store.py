"""The pins of one server: its trusted definitions, and the versions waiting for a person.

One owner for all threads and clients of a server. Its values are immutable, and one lock guards
which of them is current. A server chooses how many definitions it has and how long they are, so
they are limited by the memory that they take. Judges nothing.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from threading import Lock

from pipeguard.firewall.budgets import measure_text
from pipeguard.firewall.pins.fingerprint import CONTENT, WITHDRAWN, Pin
from pipeguard.firewall.pins.skills import MAIN_FILE, MOST_STEPS
from pipeguard.firewall.protocol.uris import hides, normal
from pipeguard.unicode import display, folding

MAX_PINS_BYTES = 16 * 2**20  # in memory: 6,000 definitions of 2 KB, or 14,000 of a line each
PIN_BYTES = 1024  # of a pin without its texts: the objects, and entries in three mappings
OTHERWISE = "differs from what another session pinned"
# Replaces a definition that there is no room for. Approving it approves nothing else.
NOT_KEPT = (
    '{"pipeguard":"this definition is not kept: those of its server take too much room already"}'
)
_NOT_KEPT_FINGERPRINT = "68d1848157596f24b480bae681a8ab28fd1c14e37e5efd25a70962896acd11fc"


PinKey = tuple[str, str]  # kind and name
PinsByKey = Mapping[PinKey, Pin]
REVIEW = "review"  # why a definition waits that nothing else is wrong with


class _HoldState(Enum):
    """The state of a definition that this run holds."""

    STORED = "stored"
    DISPLACED = "displaced"  # the store has the hold of another run
    FORGOTTEN = "forgotten"  # the store lost it, and the server still offers it


class Pins:
    """The pins of one server. Any thread may call any method.

    Args:
        pins: by kind and name.

    Attributes:
        names: the names of the pins, by how they look.
        full: the kinds of which there was no room for a definition.
        stored: the pins of the store that replaced them last; None before.
    """

    def __init__(self, pins: PinsByKey) -> None:
        self._lock = Lock()
        self._now = dict(pins)
        self.names = Names(pins.values())
        self._learned: dict[PinKey, Pin] = {}
        # Definitions last listed in this run: held, or as approved.
        self._states: dict[PinKey, _HoldState] = {}
        self._as_approved: set[PinKey] = set()
        self._unstored: set[PinKey] = set()
        self._restored: set[PinKey] = set()  # stored since the trusted version changed
        self._bytes = sum(map(_size, pins.values()))
        self.full: frozenset[str] = frozenset()
        self.stored: PinsByKey | None = None
        self._shown: PinsByKey | None = None

    def of(self, kind: str, name: str) -> Pin | None:
        """The pin of one definition, or None."""
        return self._now.get((kind, name))

    def all(self) -> PinsByKey:
        """All pins as they are now; the mapping does not change afterwards."""
        with self._lock:
            if self._shown is None:
                self._shown = dict(self._now)
            return self._shown

    def learn(self, pin: Pin, *, is_decided: bool = False) -> Pin | None:
        """Remember a definition until the store has it.

        A first sight in another thread never replaces an approved definition: it is held. If there
        is no room for a changed version of an approved definition, `NOT_KEPT` is held.

        Args:
            pin: of the definition.
            is_decided: True if it is approved, and so replaces any other.

        Returns:
            The pin as remembered, or None if there is no room for it.
        """
        key = (pin.kind, pin.name)
        with self._lock:
            current = self._now.get(key)
            pin = pin if is_decided else _merge(pin, current)
            if not self._has_room(pin, current):
                self.full |= {pin.kind}
                if current is None or pin.approved_definition is None:
                    return None
                pin = pin._replace(held_definition=NOT_KEPT, held_fingerprint=_NOT_KEPT_FINGERPRINT)
            if pin.held_definition is None:
                self._approve(key)
            else:
                seen = current.held_fingerprint if current is not None else None
                self._hold(key, is_same=seen == pin.held_fingerprint)
            self._put(key, pin)
        return pin

    def confirm(self, pin: Pin) -> bool:
        """Record that the server offers a definition as approved, not as held.

        Returns:
            True if the store has the hold of this run, which has ended.
        """
        key = (pin.kind, pin.name)
        with self._lock:
            is_over = self._approve(key)
            if pin.held_definition is not None and self._now.get(key) == pin:
                self._put(key, without_hold(pin))
        return is_over

    def is_unstored(self, kind: str, name: str) -> bool:
        """True for a hold that the store lacks, though no person has decided on it."""
        return (kind, name) in self._unstored

    def is_rejected(self, kind: str, name: str) -> bool:
        """True for a hold that a person rejected, or one that was forgotten in this run."""
        pin = self._now.get((kind, name))
        state = self._states.get((kind, name))
        return state is _HoldState.FORGOTTEN or (pin is not None and pin.is_rejected)

    def start_anew(self) -> None:
        """Let forgotten definitions wait again once the restarted server offers them."""
        with self._lock:
            for key, state in self._states.items():
                if state is _HoldState.FORGOTTEN:
                    self._unstored.add(key)

    def _put(self, key: PinKey, pin: Pin) -> None:
        self._bytes += _size(pin) - _size(self._now.get(key))
        self._now[key] = self._learned[key] = pin
        self.names.learn(pin)
        self._shown = None

    def replace(self, stored: PinsByKey) -> frozenset[str]:
        """Replace the pins by those of the store.

        A definition that is held here stays held until it is accepted: the store may have
        discarded it, may not have it yet, or may have that of another run, while the server still
        offers it.

        Returns:
            The kinds that changed.
        """
        with self._lock:
            old = self._now
            learned = {key: pin for key, pin in self._learned.items() if key not in stored}
            new = {**learned, **stored}
            for key, pin in old.items():
                settled = self._settle(key, pin, stored.get(key))
                if settled is not None:
                    new[key] = settled
            self._now = new
            self._learned = learned
            self._shown, self.stored = None, stored
            self.names = Names(new.values())
            self._bytes = sum(map(_size, new.values()))
            unstored = new.keys() & self._unstored
        changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
        changed |= unstored
        return frozenset(kind for kind, _ in changed)

    def _hold(self, key: PinKey, *, is_same: bool) -> None:
        """Record that the server offers a waiting definition: the same as before, or another."""
        self._as_approved.discard(key)
        if not is_same or key in self._unstored or key not in self._states:
            self._states[key] = _HoldState.STORED
        if not is_same:
            self._restored.discard(key)
        self._unstored.discard(key)

    def _approve(self, key: PinKey) -> bool:
        """Record that the server offers the trusted version; True if this run's hold is stored."""
        self._as_approved.add(key)
        self._unstored.discard(key)
        self._restored.discard(key)
        return self._states.pop(key, None) is _HoldState.STORED

    def _settle(self, key: PinKey, pin: Pin, stored: Pin | None) -> Pin | None:
        """Settle a pin of this run once the store has changed.

        Args:
            key: of the pin.
            pin: as it is here.
            stored: as it is in the store now; None if it is not there.

        Returns:
            The pin; None for the one in the store.
        """
        held = pin.held_fingerprint
        approved = pin.approved_fingerprint
        now_approved = stored.approved_fingerprint if stored is not None else None
        if key in self._states and held is not None:
            if now_approved != held:
                return self._still_held(key, pin, stored)
            del self._states[key]
            self._as_approved.add(key)
            approved = held
        if key in self._as_approved and stored is not None and now_approved == approved:
            return without_hold(stored)
        self._as_approved.discard(key)
        return pin if _waits(pin, stored) else None

    def _still_held(self, key: PinKey, pin: Pin, stored: Pin | None) -> Pin:
        stored_hold = stored.held_fingerprint if stored is not None else None
        is_other_rejected = stored is not None and stored.is_rejected
        is_rebased = stored is not None and stored.approved_fingerprint != pin.approved_fingerprint
        if is_rebased:
            self._restored.discard(key)
        state = self._states[key]
        if stored_hold == pin.held_fingerprint:
            state = _HoldState.STORED
        elif stored_hold is not None and not is_other_rejected:
            is_final = state is _HoldState.FORGOTTEN and not is_rebased
            state = state if is_final else _HoldState.DISPLACED
        elif stored is not None and stored.is_withdrawn:  # by a run with the trusted version
            state = _HoldState.STORED
            self._unstored.add(key)
        elif key not in self._restored and (
            is_rebased or is_other_rejected or state is _HoldState.DISPLACED
        ):
            state = _HoldState.STORED
            self._unstored.add(key)
            self._restored.add(key)
        else:
            state = _HoldState.FORGOTTEN
        self._states[key] = state
        if stored is None:
            return pin
        if stored_hold == pin.held_fingerprint and stored.is_rejected != pin.is_rejected:
            return stored
        return stored._replace(
            held_definition=pin.held_definition,
            held_fingerprint=pin.held_fingerprint,
            reason=pin.reason,
            held_at=pin.held_at,
        )

    def _has_room(self, pin: Pin, current: Pin | None) -> bool:
        """True if there is room to replace the current pin; always if the new one is smaller."""
        growth = _size(pin) - _size(current)
        return growth <= 0 or self._bytes + growth <= MAX_PINS_BYTES


def _merge(pin: Pin, current: Pin | None) -> Pin:
    """Merge a learned pin without replacing a version approved in the meantime."""
    if current is None or current.approved_fingerprint in {None, pin.approved_fingerprint}:
        return pin
    seen = pin.held_fingerprint or pin.approved_fingerprint
    if seen == current.approved_fingerprint:
        return current
    return current._replace(
        held_definition=pin.held_definition or pin.approved_definition,
        held_fingerprint=seen,
        reason=pin.reason or OTHERWISE,
    )


def _size(pin: Pin | None) -> int:
    """The bytes that a pin takes in memory."""
    if pin is None:
        return 0
    return PIN_BYTES + measure_text(pin.name, pin.approved_definition, pin.held_definition)


def as_trusted(pin: Pin, *, needs_review: bool) -> Pin:
    """Read a stored pin; under review, a first sight does not count as approval.

    Other runs trust it, even if a run under review holds it. A withdrawn hold is ignored.
    """
    if pin.is_withdrawn:
        pin = without_hold(pin)
        if pin.is_reviewed or not needs_review:
            return pin._replace(reason=WITHDRAWN)
    # The content of an approved definition counts as approved once it was read.
    if pin.is_reviewed or pin.approved_definition is None or pin.kind == CONTENT:
        return pin
    if not needs_review:
        is_held = pin.held_fingerprint == pin.approved_fingerprint
        return without_hold(pin) if is_held else pin
    return pin._replace(
        approved_definition=None,
        approved_fingerprint=None,
        held_definition=pin.held_definition or pin.approved_definition,
        held_fingerprint=pin.held_fingerprint or pin.approved_fingerprint,
        reason=pin.reason or REVIEW,
    )


def without_hold(pin: Pin) -> Pin:
    """Only the trusted version of a definition."""
    return pin._replace(held_definition=None, held_fingerprint=None, reason="", held_at="")


def _waits(pin: Pin, stored: Pin | None) -> bool:
    """True if a definition is held here and the store has neither that nor its approval."""
    if pin.held_definition is None or (stored is not None and stored.held_definition is not None):
        return False
    return stored is None or stored.approved_fingerprint != pin.held_fingerprint


# --- lookalikes -------------------------------------------------------------------------
# Names of definitions that a person, a model or a lenient server could confuse.

ADDRESSED = frozenset({"resource", "template", "skill", CONTENT})
# Letters that many fonts show alike (Unicode TS 39), in small letters: `read_fiIe`.
_ALIKE = str.maketrans("i1|0", "lllo")


def as_seen(kind: str, name: str) -> str:
    """The normal form of all names that could be taken for this one."""
    if kind in ADDRESSED:
        return normal(name)
    small = name.casefold()
    if not (name.isascii() and name.isprintable() and " " not in name):
        folded = _fold(_fold(name))  # of some letters only the lower case has a look-alike
        small = "".join([c for c in folded if not c.isspace() and not display.is_hidden(c)])
    return small.translate(_ALIKE).replace("rn", "m").replace("vv", "w").replace("cl", "d")


def _fold(name: str) -> str:
    return folding.fold(name.encode("utf-8"))[0].decode("utf-8", "replace").casefold()


def is_same(kind: str, name: str) -> bool:
    """True if names that could be taken for this one are the same address, spelt otherwise."""
    return kind in ADDRESSED and not hides(name)


class Names:
    """The first of each group of names that could be mistaken for each other.

    Approved definitions come before waiting ones. Any thread may call any method.

    Attributes:
        kinds: that the server has listed.
        templates: those that are approved.
    """

    def __init__(self, pins: Iterable[Pin] = ()) -> None:
        self.kinds: set[str] = set()
        self._first: dict[tuple[str, str], str] = {}
        self.templates: dict[str, None] = {}
        for pin in sorted(pins, key=lambda pin: pin.approved_definition is None):
            self.learn(pin)

    def learn(self, pin: Pin) -> None:
        """Add a definition."""
        self.kinds.add(pin.kind)
        self._first.setdefault((pin.kind, as_seen(pin.kind, pin.name)), pin.name)
        if pin.kind == "template" and pin.approved_definition is not None:
            self.templates[pin.name] = None

    def first(self, kind: str, name: str) -> str | None:
        """The first of the known names that could be taken for this one, or None."""
        return self._first.get((kind, as_seen(kind, name)))

    def skills_around(self, uri: str) -> list[str]:
        """The skills in whose folders a file or a folder is, the innermost last."""
        if "skill" not in self.kinds:
            return []
        steps = normal(uri).split("/", MOST_STEPS)
        mains = ("/".join((*steps[:at], MAIN_FILE)) for at in range(1, len(steps) + 1))
        return [*filter(None, (self._first.get(("skill", main)) for main in mains))]
