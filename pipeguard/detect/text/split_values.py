"""Rows of the values of a message, read as one text: for what is split over several values.

Each row knows the path of each of its pieces. Knows how something may be cut, spelled out or
reordered; rules know what the row says.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, groupby, permutations
from string import ascii_lowercase, ascii_uppercase, digits

from pipeguard.detect.text.document import MessageText
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import Path
from pipeguard.firewall.protocol.places import MASKED_STEP

MAX_PIECE_CHARS = 256  # of a value that could be a piece: a longer one is found by itself
MIN_SECRET_CHARS = 16  # of all pieces: no secret is shorter
MAX_IN_ANY_ORDER = 5  # pieces that are read in every order: 120 orders
MAX_CHARS_IN_ANY_ORDER = 400  # of these pieces together
MAX_IN_PAIRS = 12  # pieces of which every ordered pair is read

EDGE_CHARS = 512  # at the start and at the end of a long value, which are read joined to others
MIN_SPELLED_VALUES = 12  # short values in a row in which something may be spelled out
MAX_SPELLED_CHARS = 24  # of such a value
FEW_LETTERS = 3  # of such values on average: they are parts of words

_DIGITS, _CAPITALS, _SMALL = (
    letters.encode() for letters in (digits, ascii_uppercase, ascii_lowercase)
)
_SPELLED = lazy_regex(r"(?:[^\W\d_]+|[\s'’.,;:!?-])*+")
_PIECE = lazy_regex(r"[!-~]{2,256}")
# Possessive, and each further word with a sign of its own: a key of many letters is read once.
_ARGUMENT_NAME = lazy_regex(r"[A-Za-z]?+[a-z]{1,40}+(?:(?:[_-][A-Z]?+|[A-Z])[a-z]{1,40}+){0,8}+")
_WORD = lazy_regex(r"[a-z]{1,8}|[a-z]+/[a-z]+|[0-9.]{1,5}")
# A digit beside a letter, or three capitals in a row, in a text by the kinds of its letters:
# each digit is a 0, each small letter an a, each capital an A, all else a space.
_KINDS = bytes.maketrans(
    bytes(range(256)),
    b"".join(
        b"0" if code in _DIGITS else b"A" if code in _CAPITALS else b"a" if code in _SMALL else b" "
        for code in range(256)
    ),
)
_IN_ANY_CREDENTIAL = b"0a", b"0A", b"a0", b"A0", b"AAA"
_RANDOM = lazy_regex(r"[A-Za-z][0-9]|[0-9][A-Za-z]|[A-Z]{4}|[a-z][A-Z][A-Z0-9]")


class ValueRow:
    """Strings and keys of a value with nothing between, and their paths.

    Attributes:
        data: the row in UTF-8.
    """

    __slots__ = ("_ends", "_path_of", "_pieces", "data")

    def __init__(self, pieces: Sequence[str], path_of: Callable[[int], Path]) -> None:
        """Join pieces; `path_of` gives the path of the nth."""
        self._pieces = pieces
        self._path_of = path_of
        self._ends: list[int] = []  # of each piece in `data`; computed when first needed
        self.data = "".join(pieces).encode("utf-8")

    def locate(self, start: int, end: int) -> tuple[list[Path], bool]:
        """The paths of the pieces in a range of `data`; True if there are several pieces."""
        if not self._ends:
            self._ends = list(accumulate(len(piece.encode("utf-8")) for piece in self._pieces))
        first = self._index(start)
        crossed = range(first, self._index(end - 1) + 1)
        paths = list(dict.fromkeys(self._path_of(at) for at in crossed if self._pieces[at].strip()))
        return paths or [()], len(crossed) > 1

    def _index(self, at: int) -> int:
        return min(bisect_right(self._ends, at), len(self._ends) - 1)


class _ResultRow(ValueRow):
    """Values of a result: a match in one value alone was already found in that value."""

    __slots__ = ()

    def locate(self, start: int, end: int) -> tuple[list[Path], bool]:
        paths, _ = super().locate(start, end)
        return paths, len(paths) > 1


class _ReorderedRow(ValueRow):
    """Values of a text in another order; their paths are computed when something is found."""

    __slots__ = ("_paths", "_text")

    def __init__(self, pieces: Sequence[str], text: MessageText) -> None:
        super().__init__(pieces, self._path_of_piece)
        self._text = text
        self._paths: dict[str, Path] = {}

    def _path_of_piece(self, at: int) -> Path:
        self._paths = self._paths or {value: path for path, value, _ in self._text.strings()}
        return self._paths.get(self._pieces[at], ())


def row_of_edges(text: MessageText) -> ValueRow:
    """The values of a result, joined; of long values only the edges.

    Something that is cut in two by the end of a value is whole in this row.
    """
    pieces: list[str] = []
    numbers: list[int] = []
    for number, value in enumerate(text.values):
        if len(value) <= 2 * EDGE_CHARS:
            pieces.append(value)
        else:
            pieces += (value[:EDGE_CHARS], "\n" + value[-EDGE_CHARS:])
            numbers.append(number)
        numbers.append(number)
    return _ResultRow(pieces, lambda at: text.path_of_value(numbers[at]))


def spelled_rows(text: MessageText) -> Iterator[ValueRow]:
    """Each run of values of a result that have a letter, or a word, each."""
    values = text.values
    at = 0
    for may_be_spelled, run in groupby(values, _may_be_spelled):
        first, at = at, at + sum(1 for _ in run)
        if may_be_spelled and at - first >= MIN_SPELLED_VALUES:
            yield _spelled_row(text, values[first:at], first)


def _may_be_spelled(value: str) -> bool:
    return len(value) <= FEW_LETTERS or (
        len(value) <= MAX_SPELLED_CHARS and _SPELLED.fullmatch(value) is not None
    )


def _spelled_row(text: MessageText, values: list[str], first: int) -> ValueRow:
    """Join values; words without spaces of their own are separated by one."""
    with_space = sum(value != value.strip() or " " in value for value in values)
    is_spaced = MIN_SPELLED_VALUES * with_space >= len(values)
    is_of_letters = sum(map(len, values)) <= FEW_LETTERS * len(values)
    pieces = values if is_spaced or is_of_letters else [f"{value} " for value in values]
    return _ResultRow(pieces, lambda at: text.path_of_value(first + at))


def spelled_texts(text: MessageText) -> Iterator[bytes]:
    """The bytes of `spelled_rows`; none if the text is keyed."""
    return (row.data for row in (() if text.is_keyed else spelled_rows(text)))


def reordered_rows(text: MessageText) -> Iterator[ValueRow]:
    """The strings and keys of a keyed text in orders other than their own."""
    if not _may_hold_credential(text.data):  # before anything is made: most have none
        return
    pieces: list[str] = []
    has_unusual_key = False
    for key, value in text.members():
        if key is not None and _ARGUMENT_NAME.fullmatch(key):
            pieces.append("\n")  # next to random letters a name would be taken for more of them
        elif key:
            has_unusual_key = True
            pieces.append(key)
        if len(value) <= 2 * MAX_PIECE_CHARS:
            pieces.append(value)
        else:
            pieces += (value[:MAX_PIECE_CHARS], "\n", value[-MAX_PIECE_CHARS:])
    if not _may_hold_credential(" ".join(pieces).encode("utf-8", "replace")):
        return
    if has_unusual_key:
        yield ValueRow(pieces, lambda _: (MASKED_STEP,))  # a key may contain part of a secret
    if candidates := _candidates(text):
        pieces = [piece for order in _orders(candidates) for piece in (*order, "\n")]
        yield _ReorderedRow(pieces, text)


def _may_hold_credential(text: bytes) -> bool:
    """False where no part of a text is written as credentials are."""
    kinds = text.translate(_KINDS)
    return any(map(kinds.__contains__, _IN_ANY_CREDENTIAL))


def _candidates(text: MessageText) -> list[str]:
    """The values that could be pieces of one secret, each once; mostly none."""
    values = text.values
    pieces = [
        value for value in values if len(value) <= MAX_PIECE_CHARS and _PIECE.fullmatch(value)
    ]
    if len(pieces) < 2 or sum(map(len, pieces)) < MIN_SECRET_CHARS:
        return []
    return list(dict.fromkeys(pieces)) if any(map(_RANDOM.search, pieces)) else []


def _orders(pieces: list[str]) -> Iterator[Sequence[str]]:
    """Few pieces in every order; of many, each pair of the likeliest; then all reversed."""
    likely = [piece for piece in pieces if not _WORD.fullmatch(piece)]
    likely.sort(key=lambda piece: _RANDOM.search(piece) is None)
    few = likely[:MAX_IN_ANY_ORDER]
    while sum(map(len, few)) > MAX_CHARS_IN_ANY_ORDER:
        few.pop()
    yield from permutations(few)
    if len(few) < len(likely):
        yield from permutations(likely[:MAX_IN_PAIRS], 2)
    yield pieces[::-1]
