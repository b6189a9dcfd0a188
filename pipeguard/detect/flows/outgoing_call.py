"""An outgoing call in all its readings, and the parts of results in it.

Knows no rules: how much of a result may leave, and of which, is for detect.flows.ledger.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cached_property
from heapq import nlargest

from pipeguard.detect.flows import overlap, text_values
from pipeguard.detect.flows.tool_labels import Label, Tool
from pipeguard.detect.flows.tool_results import ToolResult
from pipeguard.detect.text import decoders
from pipeguard.detect.words import word_set
from pipeguard.firewall.budgets import DecodingBudget
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.unicode.name_words import name_words

MOST_NEEDLES = 64  # looked up for one call
MOST_READINGS = 8  # of what is encoded in it
FEW_MAILBOXES = 3  # in a text that one of them may be answered with


MOST_PARTS = 64  # of the first layer that are decoded once more
BYTES = 256

# By a sign that must be in a text.
_SIGNED = {
    b"%": "percent",
    b"\\": "escapes",
    b"&": "entities",
    b"=": "quoted-printable",
}
# In long words.
_RUNS = ("base64", "hex", "long-run", "base32", "compressed")
_TYPES = word_set("type fill press input")  # of a tool's name
_SPELLINGS = ("reversed", "rot13")
_LONG = lazy_regex(rb"\S{12,}")
_SEPARATED_HEX = lazy_regex(rb"(?:[0-9A-Fa-f]{2}[ :,-]{1,2}){7}")
_BETWEEN_PIECES = lazy_regex(rb"[\s\"',:]+")
_BETWEEN_LABELS = lazy_regex(rb"(?<=[0-9a-zA-Z])[.](?=[0-9a-zA-Z])")
_CODES = lazy_regex(rb"(?:\b\d{2,3}\b[ ,;:-]{1,2}){11,}\d{2,3}\b")


def readings(text: bytes) -> list[str]:
    """The text as it is, then all that is encoded in it, each reading once."""
    budget = DecodingBudget(len(text))
    first = _decode(text, budget)
    second = [inner for part in first[:MOST_PARTS] for inner in _decode(part, budget)]
    all_readings = [text, *first, *_read(text, _SPELLINGS, budget), *second]
    for between in (_BETWEEN_PIECES, _BETWEEN_LABELS):
        values = b"".join(between.split(text))
        if len(values) != len(text):
            all_readings += [values, *_read(values, _RUNS[:3], budget)]
    all_readings += [_from_codes(match[0]) for match in _CODES.finditer(text)]
    return [reading.decode("utf-8", "ignore") for reading in dict.fromkeys(all_readings)]


def _decode(text: bytes, budget: DecodingBudget) -> list[bytes]:
    signed = [name for sign, name in _SIGNED.items() if sign in text]
    parts = _read(text, signed, budget) if signed else []
    if _SEPARATED_HEX.search(text):
        parts += _read(text, ("separated-hex",), budget)
    long = _LONG.findall(text)
    return parts + _read(b"\n".join(long), _RUNS, budget) if long else parts


def _read(text: bytes, names: Sequence[str], budget: DecodingBudget) -> list[bytes]:
    return [
        part.data
        for part in decoders.decode(text, {name: [(0, len(text))] for name in names}, budget)
    ]


def _from_codes(text: bytes) -> bytes:
    """The bytes that a row of decimal numbers stands for."""
    return bytes(number for number in map(int, re.findall(rb"\d+", text)) if number < BYTES)


class Call:
    """The text that goes to a tool, in all its readings.

    Attributes:
        tool: that is called.
        about: the short values of the arguments.
        opened: the web addresses that it only requests.
        recipients: the mail addresses and telephone numbers that get it.
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
        self,
        tool: Tool,
        text: bytes,
        earlier_text: tuple[str, str],
        about: frozenset[str],
        opened: frozenset[str] = frozenset(),
    ) -> None:
        """Read a call.

        Args:
            tool: that is called.
            text: the strings of the arguments.
            earlier_text: what the client said before, and its letters.
            about: the short values of the arguments.
            opened: the web addresses that it only requests.
        """
        self.tool = tool
        self.about = about
        self.opened = opened
        self.recipients: Collection[str] = ()
        self.earlier_text, self._letters_before = earlier_text
        self.readings = readings(text)
        self.squeezed = list(map(overlap.squeeze, self.readings))
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
        self._before = before
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
    def is_typed(self) -> bool:
        """True for a call that types into a page, which may be the one that asked for a code."""
        types = not _TYPES.isdisjoint(name_words(self.tool.name))
        return types and not self.tool.labels & Label.OUTSIDE

    @property
    def size(self) -> int:
        """The number of its letters and digits."""
        return len(self._letters[0])

    def needles(self) -> int:
        """The number of texts that a result is searched for."""
        values = len(self.tokens) + len(self.few) + len(self.names)
        return 1 + values + sum(map(overlap.places, self._letters + self._letters_of_pieces))

    def shares(self, result: ToolResult, but_for: Iterable[str]) -> overlap.Overlap:
        """Find its plain text that is in a result, except for some words."""
        sent = self._letters[0]
        for word in but_for:
            if word in result.text():
                sent = sent.replace(overlap.letters(word), "")
        return overlap.find_shared(sent, result.letters(), self._letters_before)

    def goes_back(self, result: ToolResult) -> bool:
        """True where it goes to what a result is about, or only to mail addresses in the result."""
        if self.about & result.about:
            return True
        if not self.mailboxes or self.tool.labels & Label.OUTSIDE:
            return False
        mailboxes = text_values.mailboxes(result.text())
        return self.mailboxes <= mailboxes and len(mailboxes) <= FEW_MAILBOXES

    def hides(self, result: ToolResult) -> int:
        """Count the letters of a result that are encoded here."""
        hidden = self._letters[1:]
        if not any(piece in result.text() for piece in self.pieces):
            hidden += self._letters_of_pieces
        counts = (overlap.find_shared(sent, result.letters(), self._clear).chars for sent in hidden)
        return max(counts, default=0)

    def is_new(self, value: str) -> bool:
        """False for a value of what the client said before.

        That is much text after some calls; so ask only of a value that is in a result.
        """
        return value not in self.earlier_text

    def leave_out_opened(self, result: ToolResult) -> Call:
        """The call without the addresses of a result that it only requests."""
        text = self.readings[0]
        for address in self.opened:
            if result.has_address(address):
                text = text.replace(address, "")
        if text == self.readings[0]:
            return self
        earlier = self.earlier_text, self._letters_before
        sent = Call(self.tool, text.encode(), earlier, self.about)
        sent.recipients = self.recipients
        sent.follow(self._before)
        return sent

    def takes(self, secret: str) -> bool:
        """True for a one-time secret of a result in any of its readings, whole or in pieces."""
        bare = overlap.squeeze(secret)
        if bare.isdigit():
            digits = re.compile(rf"(?<![0-9])(?:{bare}|{bare[::-1]})(?![0-9])")
            return any(digits.search(text) for text in (*self.readings, *self.squeezed))
        if any(bare in text or bare[::-1] in text for text in self.squeezed):
            return True
        # Where all of it was sent before, this call has to repeat a part.
        was_sent = overlap.in_pieces(bare, self._before)
        repeats = not was_sent or overlap.has_piece(bare, self.squeezed[0])
        return repeats and overlap.in_pieces(bare, self.torn)

    def tokens_that(self, is_secret: Callable[[str], bool]) -> list[str]:
        """The tokens of which a result's tool, or chance, makes secrets."""
        if is_secret not in self._secret_tokens:
            self._secret_tokens[is_secret] = list(filter(is_secret, self.tokens))
        return self._secret_tokens[is_secret]

    @cached_property
    def contacts(self) -> list[str]:
        """Mail addresses and telephone numbers, other than of those who get it."""
        found = (each for text in self.readings for each in _contacts(text))
        return _each_once(each for each in found if each not in self.recipients)

    @cached_property
    def figures(self) -> list[str]:
        """Numbers and dates, as the arguments have them."""
        return _each_once(sorted(text_values.figures("\n".join(self.readings))))

    @cached_property
    def earlier_squeezed(self) -> str:
        """The client's earlier words, squeezed."""
        return overlap.squeeze(self.earlier_text)


def _contacts(text: str) -> Iterable[str]:
    return *text_values.mailboxes(text), *text_values.phone_numbers(text)


def _each_once(values: Iterable[str]) -> list[str]:
    """Each value once, at most about MOST_NEEDLES."""
    ordered = list(dict.fromkeys(values))
    return ordered[:: len(ordered) // MOST_NEEDLES + 1]


def _letters(texts: Iterable[str]) -> list[str]:
    """The letters of a text as it is, and of its longest other readings."""
    first, *others = dict.fromkeys(map(overlap.letters, texts))
    return [first, *nlargest(MOST_READINGS, others, key=len)]
