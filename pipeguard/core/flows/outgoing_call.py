"""What a call would have a tool take away, in all its readings, and what of a result is in it.

Knows no rules: how much of a result may leave, and of which, is for core.flows.ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from heapq import nlargest

from pipeguard.core.flows import overlap, text_values
from pipeguard.core.flows.readings import readings
from pipeguard.core.flows.tool_labels import Label, Tool
from pipeguard.core.flows.tool_results import ToolResult

MOST_NEEDLES = 64  # looked up for one call
MOST_READINGS = 8  # of what is encoded in it
FEW_MAILBOXES = 3  # in a text that one of them may be answered with


class Call:
    """What goes to a tool, in all its readings.

    Attributes:
        tool: that is called.
        about: the short values of the arguments.
        earlier_text: what the client said before, which is its own.
        readings: the arguments as they are, and all that is encoded in them.
        squeezed: the readings by their ASCII letters and digits alone.
        torn: the first of these after what was sent before.
        whole: all of these in one text.
        few: rows of a few words; these and the next three also of what was said before.
        names: what is named: accounts, branches, addresses.
        digests: of the usual lengths.
        addresses: of the web.
        mailboxes: mail addresses.
        people: what looks like names of people.
        tokens: values that no two texts share by chance.
        pieces: the longest values of this call and those before it, where there were some.
    """

    def __init__(
        self, tool: Tool, text: bytes, earlier_text: tuple[str, str], about: frozenset[str]
    ) -> None:
        """Read a call.

        Args:
            tool: that is called.
            text: the strings of the arguments.
            earlier_text: what the client said before, and its letters.
            about: the short values of the arguments.
        """
        self.tool = tool
        self.about = about
        self.earlier_text, self._letters_before = earlier_text
        self.readings = readings(text)
        self.squeezed = list(map(overlap.squeezed, self.readings))
        self.follow("")
        first = self.readings[0]
        small = " ".join(first.lower().split())
        self.few = _each_once(overlap.shingles(small))
        self.names = _each_once(text_values.names(small))
        self.digests = text_values.digests(first)
        self.addresses = text_values.addresses(first)
        self.mailboxes = text_values.mailboxes(first)
        self._letters = _letters(self.readings)
        self._clear = f"{self._letters_before}\n{self._letters[0]}"
        self.pieces: list[str] = []
        self._secret_tokens: dict[Callable[[str], bool], list[str]] = {}
        self._letters_of_pieces: list[str] = []
        tokens = (token for reading in self.readings for token in text_values.tokens(reading))
        self.people = _each_once(text_values.people(first))
        self.tokens = _each_once(filter(text_values.is_telling, tokens))

    def follow(self, before: str) -> None:
        """Read it as what comes after what was sent before, squeezed."""
        self.torn = before + self.squeezed[0]
        self.whole = "\n".join(dict.fromkeys([*self.squeezed, self.torn]))

    def put_together(self, pieces: list[str]) -> None:
        """Read pieces of calls as one, without what they all begin with."""
        if len(pieces) > 1:
            self.pieces = pieces
            begin = min(overlap.common_prefix(pieces[0], piece) for piece in pieces[1:])
            joined = "".join(piece[begin:] for piece in pieces).encode()
            self._letters_of_pieces = _letters(readings(joined))

    @property
    def size(self) -> int:
        """How many letters and digits it has."""
        return len(self._letters[0])

    def needles(self) -> int:
        """How many texts a result is searched for."""
        values = len(self.tokens) + len(self.few) + len(self.names)
        return 1 + values + sum(map(overlap.places, self._letters + self._letters_of_pieces))

    def shares(self, result: ToolResult, but_for: Iterable[str]) -> overlap.Overlap:
        """What it says in clear that is in a result, except for some words of that."""
        sent = self._letters[0]
        for word in but_for:
            if word in result.text():
                sent = sent.replace(overlap.letters(word), "")
        return overlap.shared(sent, result.letters(), self._letters_before)

    def goes_back(self, result: ToolResult) -> bool:
        """True where it goes to what a result is about, or only to mail addresses in the result."""
        if self.about & result.about:
            return True
        if not self.mailboxes or self.tool.labels & Label.OUTSIDE:
            return False
        mailboxes = text_values.mailboxes(result.text())
        return self.mailboxes <= mailboxes and len(mailboxes) <= FEW_MAILBOXES

    def hides(self, result: ToolResult) -> int:
        """How many letters of a result are in what is encoded here."""
        hidden = self._letters[1:]
        if not any(piece in result.text() for piece in self.pieces):
            hidden += self._letters_of_pieces
        counts = (overlap.shared(sent, result.letters(), self._clear).chars for sent in hidden)
        return max(counts, default=0)

    def is_new(self, value: str) -> bool:
        """False for a value of what the client said before.

        That is much text after some calls; so ask only of a value that is in a result.
        """
        return value not in self.earlier_text

    def tokens_that(self, is_secret: Callable[[str], bool]) -> list[str]:
        """The tokens of which a result's tool, or chance, makes secrets."""
        if is_secret not in self._secret_tokens:
            self._secret_tokens[is_secret] = list(filter(is_secret, self.tokens))
        return self._secret_tokens[is_secret]

    @cached_property
    def squeezed_before(self) -> str:
        """What the client said before, squeezed."""
        return overlap.squeezed(self.earlier_text)


def _each_once(values: Iterable[str]) -> list[str]:
    """Each value once, at most about MOST_NEEDLES."""
    ordered = list(dict.fromkeys(values))
    return ordered[:: len(ordered) // MOST_NEEDLES + 1]


def _letters(texts: Iterable[str]) -> list[str]:
    """The letters of a text as it is, and of its longest other readings."""
    first, *others = dict.fromkeys(map(overlap.letters, texts))
    return [first, *nlargest(MOST_READINGS, others, key=len)]
