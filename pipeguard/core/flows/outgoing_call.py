"""What a call would have a tool take away, in all its readings, and what of a result stands in it.

Knows no rules: how much that may be, and of what, is for core.flows.ledger.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nlargest

from pipeguard.core.flows import overlap
from pipeguard.core.flows.tool_labels import Label, Tool
from pipeguard.core.flows.tool_results import ToolResult

MOST_NEEDLES = 64  # looked up for one call
MOST_READINGS = 8  # of what is encoded in it
FEW_MAILBOXES = 3  # in a text that one of them may be answered with


class Call:
    """What goes to a tool, in all its readings."""

    def __init__(
        self,
        tool: Tool,
        text: bytes,
        known: tuple[str, str],
        about: frozenset[str],
    ) -> None:
        self.tool = tool
        self.about = about
        self.known, self._known_letters = known  # what the client said before is its own
        self.readings = overlap.readings(text)
        self.squeezed = list(map(overlap.squeezed, self.readings))
        self.follow("")
        small = " ".join(self.readings[0].lower().split())
        self.few = self._new(overlap.shingles(small))
        self.names = self._new(overlap.names(small))
        self.digests = overlap.digests(self.readings[0])
        self.addresses = overlap.addresses(self.readings[0])
        self.mailboxes = overlap.mailboxes(self.readings[0])
        self._letters = _letters(self.readings)
        self._clear = f"{self._known_letters}\n{self._letters[0]}"
        self.pieces: list[str] = []
        self._of_pieces: list[str] = []
        tokens = (one for text in self.readings for one in overlap.tokens(text))
        self.people = self._new(overlap.people(self.readings[0]))
        self.tokens = self._new(filter(overlap.is_telling, tokens))

    def follow(self, before: str) -> None:
        """Read it as what goes on behind what was sent before, squeezed."""
        self.torn = before + self.squeezed[0]
        self.whole = "\n".join(dict.fromkeys([*self.squeezed, self.torn]))

    def put_together(self, pieces: list[str]) -> None:
        """Read pieces of calls as one, without what they all begin with."""
        if len(pieces) > 1:
            self.pieces = pieces
            begin = min(overlap.alike(pieces[0], piece) for piece in pieces[1:])
            joined = "".join(piece[begin:] for piece in pieces).encode()
            self._of_pieces = _letters(overlap.readings(joined))

    @property
    def size(self) -> int:
        """How many letters and digits it has."""
        return len(self._letters[0])

    @property
    def needles(self) -> int:
        """How often a text is searched for what is said here."""
        listed = len(self.tokens) + len(self.few) + len(self.names)
        return 1 + listed + sum(map(overlap.places, self._letters + self._of_pieces))

    def shares(self, one: ToolResult, but_for: Iterable[str]) -> overlap.Overlap:
        """What it says as it is and stands in a result, but for some words that do."""
        said = self._letters[0]
        for word in but_for:
            if word in one.text():
                said = said.replace(overlap.letters(word), "")
        return overlap.shared(said, one.letters(), self._known_letters)

    def goes_back(self, one: ToolResult) -> bool:
        """Whether it names what a result was asked by, or only mail addresses that stand there."""
        if self.about & one.about:
            return True
        if not self.mailboxes or self.tool.labels & Label.OUTSIDE:
            return False
        there = overlap.mailboxes(one.text())
        return self.mailboxes <= there and len(there) <= FEW_MAILBOXES

    def hides(self, one: ToolResult) -> int:
        """How many letters of a result stand in what is encoded here."""
        hidden = self._letters[1:]
        if not any(piece in one.text() for piece in self.pieces):
            hidden += self._of_pieces
        found = (overlap.shared(said, one.letters(), self._clear).chars for said in hidden)
        return max(found, default=0)

    def _new(self, found: Iterable[str]) -> list[str]:
        """Each once, without what was said before; no more than are looked up."""
        ordered = list(dict.fromkeys(found))
        step = len(ordered) // MOST_NEEDLES + 1
        return [one for one in ordered[::step] if one not in self.known]


def _letters(readings: Iterable[str]) -> list[str]:
    """The letters of a text as it is, and of its longest other readings."""
    first, *others = dict.fromkeys(map(overlap.letters, readings))
    return [first, *nlargest(MOST_READINGS, others, key=len)]
