"""The overlap of two texts: passages, in any spelling. Knows texts, and no tool.

One text came from a tool, the other goes to one. Passages are compared by their letters and digits
alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple
from unicodedata import normalize

from pipeguard.firewall.lazy_regex import lazy_regex

PASSAGE_CHARS = 14  # letters and digits in a row, in both: shorter rows are shared by chance
PASSAGE_STEP = 3  # letters between two places where a passage is tried to begin,
MOST_PLACES = 128  # and at most so many of these places
ENOUGH_CHARS = 512  # that both texts have: more are not counted
FEW_WORDS = 4  # of a row, where one text tells a model what to do
PIECE_CHARS = 8  # of a value that is divided

_NO_ASCII_LETTER = lazy_regex(r"[^A-Za-z0-9]+")
_NO_LETTER = lazy_regex(r"[\W_]+")
_SMALL = bytes(range(256)).lower()
_SIGNS = bytes(code for code in range(128) if not chr(code).isalnum())


class Overlap(NamedTuple):
    """The overlap of two texts.

    Attributes:
        chars: letters and digits in passages that both have, up to ENOUGH_CHARS or a passage more.
        longest: of these, in one passage.
    """

    chars: int
    longest: int


def squeeze(text: str) -> str:
    """ASCII letters and digits alone, in small letters."""
    return _NO_ASCII_LETTER.sub("", text).lower()


def letters(text: str) -> str:
    """Letters and digits of any script alone, in small letters and compatibility form."""
    if text.isascii():  # in a hundredth of the time
        return text.encode().translate(_SMALL, _SIGNS).decode()
    return _NO_LETTER.sub("", normalize("NFKC", text)).lower()


def find_shared(sent: str, source: str, excluded: str) -> Overlap:
    """Find the passages of a text that are in another one.

    Args:
        sent: the text, by its letters alone, as both others.
        source: where it may come from.
        excluded: a text whose passages do not count: they were there before.
    """
    step = _step(sent)
    chars = longest = at = behind = 0
    while at + PASSAGE_CHARS <= len(sent) and chars < ENOUGH_CHARS:
        place = source.find(sent[at : at + PASSAGE_CHARS])
        if place < 0:
            at += step
            continue
        before = source[max(0, place - at + behind) : place]
        start = at - common_prefix(sent[behind:at][::-1], before[::-1])
        most = slice(ENOUGH_CHARS)
        end = at + common_prefix(sent[at:][most], source[place:][most])
        if sent[start:end] not in excluded:
            chars, longest = chars + end - start, max(longest, end - start)
        at = behind = end
    return Overlap(chars, longest)


def places(sent: str) -> int:
    """Count the places of a text that `shared` looks up."""
    return max(0, len(sent) - PASSAGE_CHARS + 1) // _step(sent) + 1


def _step(sent: str) -> int:
    return max(PASSAGE_STEP, len(sent) // MOST_PLACES)


def common_prefix(first: str, second: str) -> int:
    """Count the letters that two texts begin with alike."""
    pairs = enumerate(zip(first, second, strict=False))
    differing = (index for index, (left, right) in pairs if left != right)
    return next(differing, min(len(first), len(second)))


def in_pieces(bare: str, whole: str) -> bool:
    """True where most of a value is in a text, in pieces of some letters each."""
    if len(bare) < 2 * PIECE_CHARS:
        return False
    pieces = _pieces(bare)
    count = sum(piece in whole for piece in pieces)
    return count >= 2 and 5 * count >= 3 * len(pieces)


def has_piece(bare: str, whole: str) -> bool:
    """True where a piece of a value is in a text."""
    return any(piece in whole for piece in _pieces(bare))


def _pieces(bare: str) -> list[str]:
    starts = [*range(0, len(bare) - PIECE_CHARS, PIECE_CHARS), len(bare) - PIECE_CHARS]
    return [bare[at : at + PIECE_CHARS] for at in starts]


def shingles(text: str) -> Iterator[str]:
    """Rows of a few words, a row for every second word."""
    words = text.split()
    return (
        " ".join(words[at : at + FEW_WORDS])
        for at in range(0, len(words) - FEW_WORDS + 1, FEW_WORDS // 2)
    )
