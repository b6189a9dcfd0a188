"""The overlap of two texts: passages, in any spelling. Knows texts, and no tool.

One text came from a tool, the other goes to one. Passages are compared by their letters and digits
alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from types import ModuleType
from typing import NamedTuple
from unicodedata import normalize

PASSAGE_CHARS = 14  # letters and digits in a row, in both: shorter rows are shared by chance
PASSAGE_STEP = 3  # letters between two places where a passage is tried to begin,
MOST_PLACES = 128  # and at most so many of these places
SEARCHED_BYTES = 64 * 2**20  # for one call, without C or where texts repeat themselves: 30 ms
ENOUGH_CHARS = 512  # that both texts have: more are not counted
FEW_WORDS = 4  # of a row, where one text tells a model what to do
PIECE_CHARS = 8  # of a value that is divided
LEAST_NEEDLE = 4  # characters of what is looked up in many texts at once

_SMALL = bytes(range(256)).lower()
_SIGNS = bytes(code for code in range(128) if not chr(code).isalnum())
_WIDE = bytes(range(128, 256))  # all of each character beyond ASCII, in UTF-8
_ASCII = bytes(range(128))


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
    return text.encode("utf-8", "replace").translate(_SMALL, _SIGNS + _WIDE).decode()


def letters(text: str) -> str:
    """Letters and digits of any script alone, in small letters and compatibility form."""
    plain = text if text.isascii() else normalize("NFKC", text)
    data = plain.encode("utf-8", "surrogatepass").translate(_SMALL, _SIGNS)
    bare = data.decode("utf-8", "surrogatepass")
    if bare.isascii():
        return bare
    wide = data.translate(None, _ASCII).decode("utf-8", "surrogatepass")
    for sign in set(wide):
        if not sign.isalnum():
            bare = bare.replace(sign, "")
    return bare.lower()


class SearchBudget:
    """The bytes that texts of one call are looked up in, where that is done in Python."""

    def __init__(self, limit_bytes: int = SEARCHED_BYTES) -> None:
        self._left = limit_bytes

    def take(self, needles: int, text: str) -> bool:
        """Take a text for each needle that it is searched for; False if too little is left."""
        self._left -= needles * len(text)
        return self._left >= 0


def find_shared(
    sent: str, source: str, excluded: str, budget: SearchBudget | None = None
) -> Overlap:
    """Find the passages of a text that are in another one.

    Args:
        sent: the text, by its letters alone, as both others.
        source: where it may come from.
        excluded: a text whose passages do not count: they were there before.
        budget: of the call; without it nothing is bounded.
    """
    form = native()
    limits = _step(sent), PASSAGE_CHARS, ENOUGH_CHARS
    found = form.find_shared(sent, source, excluded, limits) if form is not None else None
    if found is not None:
        return Overlap(*found)
    if budget is not None and not budget.take(_places(sent), source):
        return Overlap(0, 0)
    return _walk(sent, source, excluded)


def _walk(sent: str, source: str, excluded: str) -> Overlap:
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


def _places(sent: str) -> int:
    return max(0, len(sent) - PASSAGE_CHARS + 1) // _step(sent) + 1


def find_holders(needles: Iterable[str], texts: list[str], budget: SearchBudget) -> list[int]:
    """Find the texts that have any of some needles, the newest first where the budget ends.

    Args:
        needles: if one has fewer than LEAST_NEEDLE characters, all texts are named.
        texts: the oldest first.
        budget: of the call.

    Returns:
        The numbers of the texts; seldom also of one that has none.
    """
    wanted = [*dict.fromkeys(needles)]
    if not wanted or not texts:
        return []
    if min(map(len, wanted)) < LEAST_NEEDLE:
        return [*range(len(texts))]
    form = native()
    if form is not None:
        holders: list[int] = form.holders(wanted, texts)
        return holders
    found = list[int]()
    for at in range(len(texts) - 1, -1, -1):
        if not budget.take(len(wanted), texts[at]):
            break
        if any(each in texts[at] for each in wanted):
            found.append(at)
    return found[::-1]


def list_probes(sent: str) -> list[str]:
    """List the parts of a text of which a source has one if `find_shared` finds anything."""
    starts = range(0, len(sent) - PASSAGE_CHARS + 1, _step(sent))
    return [sent[at : at + PASSAGE_CHARS] for at in starts]


@cache
def native() -> ModuleType | None:
    """The form in C; None where it was not built."""
    try:
        from pipeguard.detect.model import _overlap
    except ImportError:
        return None
    return _overlap


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
    parts = pieces(bare)
    count = sum(piece in whole for piece in parts)
    return count >= 2 and 5 * count >= 3 * len(parts)


def has_piece(bare: str, whole: str) -> bool:
    """True where a piece of a value is in a text."""
    return any(piece in whole for piece in pieces(bare))


def pieces(bare: str) -> list[str]:
    """Divide a value, up to its end."""
    starts = [*range(0, len(bare) - PIECE_CHARS, PIECE_CHARS), len(bare) - PIECE_CHARS]
    return [bare[at : at + PIECE_CHARS] for at in starts]


def shingles(text: str) -> Iterator[str]:
    """Rows of a few words, a row for every second word."""
    words = text.split()
    return (
        " ".join(words[at : at + FEW_WORDS])
        for at in range(0, len(words) - FEW_WORDS + 1, FEW_WORDS // 2)
    )
