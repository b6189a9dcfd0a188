"""The sentences of a text, each alone and few together, as a classifier reads them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

MAX_WORDS = 50  # of sentences that are read together
MAX_UNITS = 3  # sentences that are read together
LONG_WORDS = 60  # a sentence that is longer is read in pieces
PIECE, STEP = 40, 25  # words
ALMOST = 0.5  # logits below the best piece, of a smaller one that is reported in its place

_IDEOGRAPHS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
_WORD = re.compile(r"[^\W_]")
_SPACED = re.compile(r"\S+")
_UNIT_END = re.compile(r"(?<=[.!?\u0964\u061f])\s+|\n+|(?<=[\u3002\uff01\uff1f])")


class Piece(NamedTuple):
    """Sentences that were read together.

    Attributes:
        score: how sure it is that they are an order to the model, in logits.
        start: of the first letter, in characters.
        end: after the last one.
        words: how many there are.
    """

    score: float
    start: int
    end: int
    words: int


def units(text: str) -> list[tuple[int, int, int]]:
    """Where each sentence or line begins and ends, and how many words it has."""
    found: list[tuple[int, int, int]] = []
    start = 0
    for match in _UNIT_END.finditer(text):
        _add_unit(text, start, match.start(), found)
        start = match.end()
    _add_unit(text, start, len(text), found)
    return found


def read_together(found: Sequence[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
    """Each sentence alone, then with the next ones: the first, the last, and how many words."""
    for first, (_, _, count) in enumerate(found):
        yield first, first, count
        together = count
        for last in range(first + 1, min(first + MAX_UNITS, len(found))):
            together += found[last][2]
            if together > MAX_WORDS:
                break
            yield first, last, together


def _add_unit(text: str, start: int, end: int, found: list[tuple[int, int, int]]) -> None:
    unit = text[start:end]
    count = len(unit.split())
    letters = () if unit.isascii() else _IDEOGRAPHS.findall(unit)
    if len(letters) // 2 > count:
        count = len(letters) // 2
    if not _WORD.search(unit):
        return
    if count <= LONG_WORDS:
        found.append((start, end, count))
        return
    each = _IDEOGRAPHS if len(letters) // 2 >= count else _SPACED
    words = [match.start() for match in each.finditer(unit)]
    words = words[::2] if each is _IDEOGRAPHS else words
    for first in range(0, len(words), STEP):
        after = words[first + PIECE] if first + PIECE < len(words) else len(unit)
        # Pieces overlap, and are not read together with what follows.
        begin = words[first] if first else 0
        found.append((start + begin, start + after, MAX_WORDS))
        if after == len(unit):
            break


def best_of(found: Sequence[Piece]) -> Piece:
    """The piece that is most an order, in the place of the fewest words that are almost as much."""
    best = max(found, default=Piece(-math.inf, 0, 0, 0))
    core = min((one for one in found if _is_core(one, best)), key=attrgetter("words"), default=best)
    return best._replace(start=core.start, end=core.end)


def _is_core(one: Piece, best: Piece) -> bool:
    inside = best.start <= one.start and one.end <= best.end
    return inside and one.score >= best.score - ALMOST
