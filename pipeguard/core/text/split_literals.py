"""Readings of what was torn into pieces: literals that a program joins, keys, values in any order.

Each is made of the text of one value on its way to a server, and knows the way back. Knows how
programs write strings next to each other, and no language; what the pieces say is for the rules.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, groupby, permutations

from pipeguard.core.protocol.places import MASKED_STEP, Path
from pipeguard.core.text.document import MessageText
from pipeguard.core.text.encoding import Decoded
from pipeguard.core.unicode.folding import Range

PIECE_CHARS = 256  # of a value that could be a piece: a longer one is found by itself
MOST_IN_ANY_ORDER = 5  # pieces, of which each order is read: 120 of them
MOST_CHARS = 400  # of these pieces
MOST_IN_PAIRS = 12  # of which every two are, and all from the last to the first
MIN_CHARS = 16  # of all pieces: a shorter secret is none

FEW_LITERALS = 64  # of a text: more than are put together to one secret
JOINT_CHARS = 512  # of a long value, from its beginning and to its end, that are read joined
MIN_BITS = 12  # values in a row in which something may be spelt
BIT_CHARS = 24  # of such a value
FEW_LETTERS = 3  # of it on average: they are pieces of words
_BIT = re.compile(r"(?:[^\W\d_]+|[\s'’.,;:!?-])*+")

# A literal that may be a piece of something, for Hyperscan.
SIGN = (
    r"[\x22'`](?:[A-Za-z0-9+/=_.-]{0,24}(?:[0-9][A-Za-z]|[A-Za-z][0-9])[A-Za-z0-9+/=_.-]{0,60}"
    r"|[A-Za-z0-9]{1,2})[\x22'`]"
)
# Between two literals: an operator of any language, brackets, the prefix of a literal.
_GLUE = re.compile(
    rb"[\"'`](?:\s{0,40}[^\w\s\"'`]{1,8}\s{0,40}|\s{1,40})(?:[bBfFrRuU]{1,2}(?=[\"'`]))?[\"'`]"
)
_LITERALS = re.compile(
    rb"\"([^\"\n]{1,256}+)\"|(?<![A-Za-z0-9])'([^'\n]{1,256}+)'|`([^`\n]{1,256}+)`"
)
_PIECE = re.compile(r"[!-~]{2,256}")
_NAME = re.compile(r"[A-Za-z]?[a-z]{1,40}(?:[_-]?[A-Z]?[a-z]{1,40}){0,8}")  # of an argument
_WORD = re.compile(r"[a-z]{1,8}|[a-z]+/[a-z]+|[0-9.]{1,5}")
_LIKELY = re.compile(r"[0-9][A-Za-z]|[A-Za-z][0-9]|[A-Z]{3}")  # of which any credential has one
_RANDOM = re.compile(r"[A-Za-z][0-9]|[0-9][A-Za-z]|[A-Z]{4}|[a-z][A-Z][A-Z0-9]")


class Stitched:
    """A reading of a text of which some was left out, and the way back.

    Attributes:
        data: what is left.
        many: True where so much was put together that some fits together by chance.
    """

    __slots__ = ("_left", "_offset", "_read", "data", "many")

    def __init__(
        self,
        data: bytes,
        read: bytes,
        offset: int,
        left: Callable[[bytes], Iterator[Range]],
        *,
        many: bool = False,
    ) -> None:
        """Know what is left of a part of a text, and how to find the stretches of it that are."""
        self.data = data
        self.many = many
        self._read = read
        self._offset = offset
        self._left = left

    def at(self, start: int) -> Decoded:
        """The whole of it: it is one part (core.text.decoders.DecodedParts)."""
        low = self._offset
        return Decoded(self.data, "literals", low, low + len(self._read))

    def origin(self, start: int, end: int) -> Range:
        """Where a stretch begins and ends in the text."""
        first, at, offset = None, 0, self._offset
        for low, high in self._left(self._read):
            size = high - low
            if first is None and start < at + size:
                first = offset + low + start - at
            if first is not None and end <= at + size:
                return first, offset + low + end - at
            at += size
        return first or offset, offset + len(self._read)

    def as_written(self, start: int, end: int) -> bool:
        """True for a stretch that stands in the text as it is."""
        return self.data[start:end] in self._read


def literals(text: bytes, low: int, high: int) -> Iterator[Stitched]:
    """The text as if a program had put its literals together.

    Once with the operators between literals left out, once with all but literals left out, as for
    what is appended line by line.
    """
    data = text[low:high]
    glued = _GLUE.sub(b"", data)
    if len(glued) != len(data):
        yield Stitched(glued, data, low, _unglued)
    quoted = _LITERALS.findall(data)
    if len(quoted) > 1:
        many = len(quoted) > FEW_LITERALS
        yield Stitched(b"".join(map(b"".join, quoted)), data, low, _quoted, many=many)


def _unglued(data: bytes) -> Iterator[Range]:
    start = 0
    for glue in _GLUE.finditer(data):
        yield start, glue.start()
        start = glue.end()
    yield start, len(data)


def _quoted(data: bytes) -> Iterator[Range]:
    for literal in _LITERALS.finditer(data):
        yield literal.span(literal.lastindex or 0)


class JoinedRow:
    """Strings and keys of a value in one row, and whose they are.

    Attributes:
        data: the row.
    """

    __slots__ = ("_ends", "_paths", "_pieces", "data")

    def __init__(self, pieces: Sequence[str], paths: Callable[[int], Path]) -> None:
        """Put pieces in a row; `paths` tells the path of the nth."""
        self._pieces = pieces
        self._paths = paths
        self._ends: list[int] = []
        self.data = "".join(pieces).encode("utf-8")

    def locate(self, start: int, end: int) -> tuple[list[Path], bool]:
        """The pieces under a stretch; True where it is more than one (core.text.document.Text)."""
        if not self._ends:
            self._ends = list(accumulate(len(piece.encode("utf-8")) for piece in self._pieces))
        first = self._index(start)
        crossed = range(first, self._index(end - 1) + 1)
        paths = list(dict.fromkeys(self._paths(at) for at in crossed if self._pieces[at].strip()))
        return paths or [()], len(crossed) > 1

    def _index(self, at: int) -> int:
        return min(bisect_right(self._ends, at), len(self._ends) - 1)


class _Neighbours(JoinedRow):
    """Values of a result side by side; a match in one of them alone is none of the row's."""

    __slots__ = ()

    def locate(self, start: int, end: int) -> tuple[list[Path], bool]:
        paths, _ = super().locate(start, end)
        return paths, len(paths) > 1


def joints(text: MessageText) -> JoinedRow:
    """The values of a result with nothing between, of long ones only what stands at a joint."""
    pieces: list[str] = []
    numbers: list[int] = []
    for number, value in enumerate(text.values):
        if len(value) <= 2 * JOINT_CHARS:
            pieces.append(value)
        else:
            pieces += (value[:JOINT_CHARS], "\n" + value[-JOINT_CHARS:])
            numbers.append(number)
        numbers.append(number)
    return _Neighbours(pieces, lambda at: text.path_of_value(numbers[at]))


def spelt(text: MessageText) -> Iterator[JoinedRow]:
    """What a result says that has a letter, or a word, in each of many values in a row."""
    values = text.values
    at = 0
    for is_short, found in groupby(values, _is_bit):
        first, at = at, at + sum(1 for _ in found)
        if is_short and at - first >= MIN_BITS:
            yield _spelt(text, values[first:at], first)


def spelt_in(text: MessageText) -> Iterator[bytes]:
    """The same as bytes alone; nothing where the values go to a server."""
    return (row.data for row in (() if text.is_keyed else spelt(text)))


def _spelt(text: MessageText, bits: list[str], first: int) -> JoinedRow:
    own = sum(bit != bit.strip() or " " in bit for bit in bits)
    is_spaced = MIN_BITS * own >= len(bits) or sum(map(len, bits)) <= FEW_LETTERS * len(bits)
    pieces = bits if is_spaced else [f"{bit} " for bit in bits]
    return _Neighbours(pieces, lambda at: text.path_of_value(first + at))


def _is_bit(value: str) -> bool:
    return len(value) <= FEW_LETTERS or (
        len(value) <= BIT_CHARS and _BIT.fullmatch(value) is not None
    )


def rows(text: MessageText) -> Iterator[JoinedRow]:
    """What a text's strings and keys say in other orders than one string after the other."""
    pieces: list[str] = []
    has_torn_keys = False
    for key, value in text.members():
        if key is not None and _NAME.fullmatch(key):
            pieces.append("\n")  # beside random letters a name would be some of them
        elif key:
            has_torn_keys = True
            pieces.append(key)
        if len(value) <= 2 * PIECE_CHARS:
            pieces.append(value)
        else:
            pieces += (value[:PIECE_CHARS], "\n", value[-PIECE_CHARS:])
    if not _LIKELY.search(" ".join(pieces)):
        return
    if has_torn_keys:
        yield JoinedRow(pieces, lambda _: (MASKED_STEP,))  # a key may hold a part of a secret
    if found := _candidates(text):
        pieces = [piece for order in _orders(found) for piece in (*order, "\n")]
        places = {value: path for path, value, _ in text.strings()}
        yield JoinedRow(pieces, lambda at: places.get(pieces[at], ()))


def _candidates(text: MessageText) -> list[str]:
    """The values that could be pieces of one secret; mostly none."""
    found = [one for one in text.values if len(one) <= PIECE_CHARS and _PIECE.fullmatch(one)]
    if len(found) < 2 or sum(map(len, found)) < MIN_CHARS or not any(map(_RANDOM.search, found)):
        return []
    return list(dict.fromkeys(found))


def _orders(found: list[str]) -> Iterator[Sequence[str]]:
    """Few pieces in any order; of many, every two of the likeliest, and all from the last on."""
    likely = [one for one in found if not _WORD.fullmatch(one)]
    likely.sort(key=lambda one: _RANDOM.search(one) is None)
    few = likely[:MOST_IN_ANY_ORDER]
    while sum(map(len, few)) > MOST_CHARS:
        few.pop()
    yield from permutations(few)
    if len(few) < len(likely):
        yield from permutations(likely[:MOST_IN_PAIRS], 2)
    yield found[::-1]
