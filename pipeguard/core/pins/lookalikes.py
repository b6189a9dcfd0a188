"""Which names of definitions a person, a model or a lenient server takes for one and the same.

Tools and prompts have names that are read: case, look-alike letters, blanks and what nobody sees
make no second one. Resources and templates have addresses: of those each letter counts, and only
other spellings of the same address (core.protocol.uris) are the same. Judges nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from pipeguard.core.pins.fingerprint import Pin
from pipeguard.core.unicode.display import is_hidden
from pipeguard.core.unicode.folding import fold

ADDRESSED = frozenset({"resource", "template"})


def as_seen(kind: str, name: str) -> str:
    """The one form of all names that are taken for this one."""
    if kind in ADDRESSED:
        from pipeguard.core.protocol.uris import normal  # 1 ms, and most servers have tools alone

        return normal(name)
    if name.isascii() and name.isprintable() and " " not in name:
        return name.casefold()
    folded = _folded(_folded(name))  # of some letters, only the small one is known to look alike
    return "".join([c for c in folded if not c.isspace() and not is_hidden(c)])


def _folded(name: str) -> str:
    return fold(name.encode("utf-8"))[0].decode("utf-8", "replace").casefold()


def differ_in_case(kind: str, one: str, other: str) -> bool:
    """True where two names differ in case and in nothing else, as a server may honestly mean it."""
    return kind not in ADDRESSED and one != other and one.casefold() == other.casefold()


def is_same(kind: str, name: str) -> bool:
    """True where all that is taken for this name is the same: another spelling of an address."""
    if kind not in ADDRESSED:
        return False
    from pipeguard.core.protocol.uris import hides

    return not hides(name)


class Names:
    """Of the names that are taken for one another, the one that was there first.

    What is approved comes before what waits. Asked and told by any thread.
    """

    __slots__ = ("_first", "_templates")

    def __init__(self, pins: Iterable[Pin] = ()) -> None:
        self._first: dict[tuple[str, str], str] = {}
        self._templates: dict[str, None] = {}
        waiting = []
        for pin in pins:
            if pin.approved is None:
                waiting.append(pin)
            else:
                self.learn(pin)
        for pin in waiting:
            self.learn(pin)

    def learn(self, pin: Pin) -> None:
        """Know one more definition."""
        self._first.setdefault((pin.kind, as_seen(pin.kind, pin.name)), pin.name)
        if pin.kind == "template" and pin.approved is not None:
            self._templates[pin.name] = None

    def first(self, kind: str, name: str) -> str | None:
        """The name that was known first of those taken for this one; None where none is."""
        return self._first.get((kind, as_seen(kind, name)))

    def templates(self) -> list[str]:
        """The templates that were approved."""
        return list(self._templates)
