"""What is trusted of one server's definitions, and what waits for a person. Judges nothing.

One owner for all who judge for a server, in whatever thread and for whichever client. What is in
it is immutable and changes place behind one lock, which is held for moments. A server chooses how
many definitions it has and how long they are, so they are bounded by the memory that they take.
"""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock

from pipeguard.core.flows.tool_labels import Tool, tool_of
from pipeguard.core.memory import size_of
from pipeguard.core.pins.fingerprint import Pin
from pipeguard.core.pins.lookalikes import Names
from pipeguard.core.protocol.strict_json import parse_json

PinKey = tuple[str, str]  # kind and name
MAX_PINS_BYTES = 16 * 2**20  # in memory: 6,000 definitions of 2 KB, or 14,000 of a line each
PIN_BYTES = 1024  # of a pin beside its texts: the objects, and its places in three mappings
MAX_TOOLS = 2048  # of which the labels are remembered
MAX_TOOL_CHARS = 256  # of the name of one of them
OTHERWISE = "differs from what another session pinned"
# Stands for a definition that there is no room for; who approves it approves nothing else.
NOT_KEPT = (
    '{"pipeguard":"this definition is not kept: those of its server take too much room already"}'
)
_NOT_KEPT_FINGERPRINT = "68d1848157596f24b480bae681a8ab28fd1c14e37e5efd25a70962896acd11fc"


class Pins:
    """All pins of one server, of which any thread may ask and tell.

    Attributes:
        names: of the pins, by how they read.
    """

    def __init__(self, pins: Mapping[PinKey, Pin]) -> None:
        self._lock = Lock()
        self._now = dict(pins)
        self.names = Names(pins.values())
        self._learned: dict[PinKey, Pin] = {}
        self._bytes = sum(map(_size, pins.values()))
        self._full: frozenset[str] = frozenset()
        self._shown: Mapping[PinKey, Pin] | None = None
        self._tools: dict[str, tuple[Pin | None, Tool]] = {}

    def of(self, kind: str, name: str) -> Pin | None:
        """What is known of one definition."""
        return self._now.get((kind, name))

    def all(self) -> Mapping[PinKey, Pin]:
        """All of them as they are now; what is given does not change any more."""
        with self._lock:
            if self._shown is None:
                self._shown = dict(self._now)
            return self._shown

    def are_full(self, kind: str) -> bool:
        """True once a definition of a kind was not kept, since there was no room for it."""
        return kind in self._full

    def learn(self, pin: Pin) -> Pin | None:
        """Remember a definition until the store has it; None where there is no room for it.

        What is approved is never replaced by what another thread saw first: that is held. Where
        there is no room for another definition of something approved, `NOT_KEPT` is held.

        Returns:
            What is kept now.
        """
        key = (pin.kind, pin.name)
        with self._lock:
            known = self._now.get(key)
            pin = _beside(pin, known)
            if not self._takes(pin, known):
                self._full |= {pin.kind}
                if known is None or pin.approved is None:
                    return None
                pin = pin._replace(held=NOT_KEPT, held_fingerprint=_NOT_KEPT_FINGERPRINT)
            self._bytes += _size(pin) - _size(known)
            self._now[key] = self._learned[key] = pin
            self.names.learn(pin)
            self._shown = None
        return pin

    def replace(self, stored: Mapping[PinKey, Pin]) -> frozenset[str]:
        """Take over what the store holds now.

        What is held here stays held until it is accepted: the store may have thrown it away,
        or not have it yet, and the server still offers it.

        Returns:
            The kinds in which something changed.
        """
        with self._lock:
            old = self._now
            learned = {key: pin for key, pin in self._learned.items() if key not in stored}
            new = {**learned, **stored}
            new |= {key: pin for key, pin in old.items() if _waits(pin, stored.get(key))}
            self._now, self._learned, self._shown = new, learned, None
            self.names = Names(new.values())
            self._bytes = sum(map(_size, new.values()))
        changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
        return frozenset(kind for kind, _ in changed)

    def tool(self, name: str) -> Tool:
        """What a tool does, by the definition that is trusted."""
        pin = self.of("tool", name)
        known = self._tools.get(name)
        if known is not None and known[0] is pin:
            return known[1]
        text = pin.approved or pin.held if pin is not None else None
        definition = parse_json(text.encode()) if text else None
        tool = tool_of(name, definition if isinstance(definition, dict) else None)
        if len(name) <= MAX_TOOL_CHARS:
            with self._lock:
                while len(self._tools) >= MAX_TOOLS:
                    del self._tools[next(iter(self._tools))]
                self._tools[name] = (pin, tool)
        return tool

    def _takes(self, pin: Pin, known: Pin | None) -> bool:
        """Whether there is room for a pin in the place of what is known; always for less."""
        grows = _size(pin) - _size(known)
        return grows <= 0 or self._bytes + grows <= MAX_PINS_BYTES


def _beside(pin: Pin, known: Pin | None) -> Pin:
    """What is learned, as it can stand beside what was approved in the meantime."""
    if known is None or known.approved_fingerprint in {None, pin.approved_fingerprint}:
        return pin
    seen = pin.held_fingerprint or pin.approved_fingerprint
    if seen == known.approved_fingerprint:
        return known
    return known._replace(
        held=pin.held or pin.approved, held_fingerprint=seen, reason=pin.reason or OTHERWISE
    )


def _size(pin: Pin | None) -> int:
    """Bytes that a pin takes in memory."""
    if pin is None:
        return 0
    return PIN_BYTES + size_of(pin.name, pin.approved, pin.held)


def _waits(pin: Pin, stored: Pin | None) -> bool:
    """True where something is held of which the store knows neither that nor an approval."""
    if pin.held is None or (stored is not None and stored.held is not None):
        return False
    return stored is None or stored.approved_fingerprint != pin.held_fingerprint
