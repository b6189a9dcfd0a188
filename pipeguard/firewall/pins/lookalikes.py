"""Names of definitions that a person, a model or a lenient server could confuse.

The names of tools and prompts are read: case, look-alike letters, blanks and invisible characters
do not tell two of them apart. Resources and templates have addresses: there each letter counts, and
only spellings of the same address (firewall.protocol.uris) are the same. Judges nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from pipeguard.firewall.pins.fingerprint import Pin
from pipeguard.unicode.display import is_hidden
from pipeguard.unicode.folding import fold

ADDRESSED = frozenset({"resource", "template"})


def as_seen(kind: str, name: str) -> str:
    """The normal form of all names that could be taken for this one."""
    if kind in ADDRESSED:
        from pipeguard.firewall.protocol.uris import (
            normal,  # 1 ms, and most servers have tools alone
        )

        return normal(name)
    if name.isascii() and name.isprintable() and " " not in name:
        return name.casefold()
    folded = _fold(_fold(name))  # of some letters only the lower case has a look-alike
    return "".join([c for c in folded if not c.isspace() and not is_hidden(c)])


def _fold(name: str) -> str:
    return fold(name.encode("utf-8"))[0].decode("utf-8", "replace").casefold()


def differ_in_case(kind: str, name: str, other: str) -> bool:
    """True if two names differ only in case, which an honest server may mean."""
    return kind not in ADDRESSED and name != other and name.casefold() == other.casefold()


def is_same(kind: str, name: str) -> bool:
    """True if names that could be taken for this one are the same address, spelt otherwise."""
    if kind not in ADDRESSED:
        return False
    from pipeguard.firewall.protocol.uris import hides

    return not hides(name)


class Names:
    """The first of the names that could be taken for each other.

    Approved definitions come before those that wait. Any thread may call any method.
    """

    __slots__ = ("_first", "_templates")

    def __init__(self, pins: Iterable[Pin] = ()) -> None:
        self._first: dict[tuple[str, str], str] = {}
        self._templates: dict[str, None] = {}
        waiting = []
        for pin in pins:
            if pin.approved_definition is None:
                waiting.append(pin)
            else:
                self.learn(pin)
        for pin in waiting:
            self.learn(pin)

    def learn(self, pin: Pin) -> None:
        """Add a definition."""
        self._first.setdefault((pin.kind, as_seen(pin.kind, pin.name)), pin.name)
        if pin.kind == "template" and pin.approved_definition is not None:
            self._templates[pin.name] = None

    def first(self, kind: str, name: str) -> str | None:
        """The first of the known names that could be taken for this one, or None."""
        return self._first.get((kind, as_seen(kind, name)))

    def templates(self) -> list[str]:
        """The approved templates."""
        return list(self._templates)
