"""The pins of one server: what is trusted of its definitions, and what waits for a person.

One owner for all threads and clients of a server. Its values are immutable, and one lock guards
which of them is current. A server chooses how many definitions it has and how long they are, so
they are limited by the memory that they take. Judges nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock

from pipeguard.firewall.memory import size_of
from pipeguard.firewall.pins.fingerprint import Pin
from pipeguard.firewall.pins.holds import Holds, PinKey, without_hold
from pipeguard.firewall.pins.lookalikes import Names

MAX_PINS_BYTES = 16 * 2**20  # in memory: 6,000 definitions of 2 KB, or 14,000 of a line each
PIN_BYTES = 1024  # of a pin without its texts: the objects, and entries in three mappings
OTHERWISE = "differs from what another session pinned"
# In place of a definition that there is no room for. Approving it approves nothing else.
NOT_KEPT = (
    '{"pipeguard":"this definition is not kept: those of its server take too much room already"}'
)
_NOT_KEPT_FINGERPRINT = "68d1848157596f24b480bae681a8ab28fd1c14e37e5efd25a70962896acd11fc"


class Pins:
    """The pins of one server. Any thread may call any method.

    Args:
        pins: by kind and name.

    Attributes:
        names: the names of the pins, by how they look.
    """

    def __init__(self, pins: Mapping[PinKey, Pin]) -> None:
        self._lock = Lock()
        self._now = dict(pins)
        self.names = Names(pins.values())
        self._learned: dict[PinKey, Pin] = {}
        self._holds = Holds()
        self._bytes = sum(map(_size, pins.values()))
        self._full: frozenset[str] = frozenset()
        self._shown: Mapping[PinKey, Pin] | None = None

    def of(self, kind: str, name: str) -> Pin | None:
        """The pin of one definition, or None."""
        return self._now.get((kind, name))

    def all(self) -> Mapping[PinKey, Pin]:
        """All pins as they are now; the mapping does not change afterwards."""
        with self._lock:
            if self._shown is None:
                self._shown = dict(self._now)
            return self._shown

    def are_full(self, kind: str) -> bool:
        """True once there was no room for a definition of a kind."""
        return kind in self._full

    def learn(self, pin: Pin) -> Pin | None:
        """Remember a definition until the store has it.

        A first sight in another thread never replaces what is approved: it is held. If there is
        no room for a changed version of something approved, `NOT_KEPT` is held.

        Returns:
            What is remembered, or None if there is no room for it.
        """
        key = (pin.kind, pin.name)
        with self._lock:
            current = self._now.get(key)
            pin = _merged(pin, current)
            if not self._has_room(pin, current):
                self._full |= {pin.kind}
                if current is None or pin.approved_definition is None:
                    return None
                pin = pin._replace(held_definition=NOT_KEPT, held_fingerprint=_NOT_KEPT_FINGERPRINT)
            if pin.held_definition is None:
                self._holds.approve(key)
            else:
                seen = current.held_fingerprint if current is not None else None
                self._holds.hold(key, is_same=seen == pin.held_fingerprint)
            self._put(key, pin)
        return pin

    def confirm(self, pin: Pin) -> bool:
        """Note that the server offers a definition as it is approved: what is held is not its.

        Returns:
            True where the store has the hold of this run, which is over.
        """
        key = (pin.kind, pin.name)
        with self._lock:
            is_over = self._holds.approve(key)
            if pin.held_definition is not None and self._now.get(key) == pin:
                self._put(key, without_hold(pin))
        return is_over

    def is_unstored(self, kind: str, name: str) -> bool:
        """True for a hold that the store lacks, though no person has decided on it."""
        return self._holds.is_unstored((kind, name))

    def _put(self, key: PinKey, pin: Pin) -> None:
        self._bytes += _size(pin) - _size(self._now.get(key))
        self._now[key] = self._learned[key] = pin
        self.names.learn(pin)
        self._shown = None

    def replace(self, stored: Mapping[PinKey, Pin]) -> frozenset[str]:
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
                settled = self._holds.settle(key, pin, stored.get(key))
                if settled is not None:
                    new[key] = settled
            self._now, self._learned, self._shown = new, learned, None
            self.names = Names(new.values())
            self._bytes = sum(map(_size, new.values()))
            unstored = {key for key in new if self._holds.is_unstored(key)}
        changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
        changed |= unstored
        return frozenset(kind for kind, _ in changed)

    def _has_room(self, pin: Pin, current: Pin | None) -> bool:
        """Whether there is room for a pin in place of the current one; always if it is smaller."""
        growth = _size(pin) - _size(current)
        return growth <= 0 or self._bytes + growth <= MAX_PINS_BYTES


def _merged(pin: Pin, current: Pin | None) -> Pin:
    """What was learned, without replacing what was approved meanwhile."""
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
    return PIN_BYTES + size_of(pin.name, pin.approved_definition, pin.held_definition)
