"""A text as models read it: its form, its words, and its sentences, singly or together.

Knows no models.
"""

import math
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import pairwise
from operator import attrgetter

from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.records import NamedTuple

# Vowel signs of Devanagari are letters of their words; `\w` does not know them.
LETTERS = r"[^\W\d_](?:[^\W\d_]|[\u0900-\u0903\u093a-\u094f\u0955-\u0957\u0962\u0963])*"
IDEOGRAPH = lazy_regex(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
FIRST_IDEOGRAPH = "\u3040"
LETTERS_READ = 256  # of a word; a longer one is not a real word, and would fill the memory
_TOKEN = lazy_regex(LETTERS + r"|\d+|[<>\[\]{}#:!?`\"|=*_-]")
_DROPPED = lazy_regex("[\u0300-\u036f\u0640\u064b-\u0652]")


def plain(text: str) -> str:
    """The text in lower case, without accents and without the marks of Arabic."""
    text = text.lower()
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _DROPPED.sub("", unicodedata.normalize("NFD", text)))


def words(text: str) -> list[str]:
    """The words, numbers and significant signs of a text; a word ends after LETTERS_READ."""
    tokens = _TOKEN.findall(text)
    return tokens if len(text) <= LETTERS_READ else [word[:LETTERS_READ] for word in tokens]


# --- sentences --------------------------------------------------------------------------
# Singly and up to three together, as a classifier reads them.

MAX_WORDS = 50  # of sentences that are read together
MAX_UNITS = 3  # sentences that are read together
LONG_WORDS = 60  # a longer sentence is read in overlapping parts
PART_WORDS, STEP_WORDS = 40, 25  # of a part, and from the beginning of one to that of the next
# For a sentence next to an order: how much less likely than `likely` it may be to belong to it, and
# how many characters, such as spaces and a mark of a list, may be between the two.
BESIDE_LOGITS, BESIDE_CHARS = 1.0, 8
ALMOST_LOGITS = 0.5  # below the best piece: a smaller piece inside it takes its place

_IDEOGRAPHS = lazy_regex(r"[\u3040-\u30ff\u3400-\u9fff]")
_WORD = lazy_regex(r"[^\W_]")
_SPACED = lazy_regex(r"\S+")
_PARAGRAPH_END = lazy_regex(r"\n[^\S\n]*\n")
_UNIT_END = lazy_regex(r"(?<=[.!?\u0964\u061f])\s+|\n+|(?<=[\u3002\uff01\uff1f])")


class Piece(NamedTuple):
    """Sentences that are read together.

    Attributes:
        score: how sure it is that they are an order to the model, in logits.
        start: of the first character.
        end: after the last character.
        words: their number.
    """

    score: float
    start: int
    end: int
    words: int


Unit = tuple[int, int, int]  # the first and the last place, or index; the number of words


def units(text: str) -> list[Unit]:
    """The sentences, lines, and parts of long sentences of a text: start, end, number of words."""
    sentences: list[Unit] = []
    bounds = [0, *(at for match in _UNIT_END.finditer(text) for at in match.span()), len(text)]
    for start, end in zip(bounds[::2], bounds[1::2], strict=True):
        _add_unit(text, start, end, sentences)
    return sentences


def read_together(sentences: Sequence[Unit]) -> Iterator[Unit]:
    """Each sentence by itself, then with the next ones: first and last index, number of words."""
    for first, (_, _, count) in enumerate(sentences):
        yield first, first, count
        together = count
        for last in range(first + 1, min(first + MAX_UNITS, len(sentences))):
            together += sentences[last][2]
            if together > MAX_WORDS:
                break
            yield first, last, together


def _add_unit(text: str, start: int, end: int, sentences: list[Unit]) -> None:
    unit = text[start:end]
    letters = () if unit.isascii() else _IDEOGRAPHS.findall(unit)
    count = max(len(unit.split()), len(letters) // 2)
    if not _WORD.search(unit):
        return
    if count <= LONG_WORDS:
        sentences.append((start, end, count))
        return
    each = _IDEOGRAPHS if len(letters) // 2 >= count else _SPACED
    words = [match.start() for match in each.finditer(unit)]
    words = words[::2] if each is _IDEOGRAPHS else words
    for first in range(0, len(words), STEP_WORDS):
        after = words[first + PART_WORDS] if first + PART_WORDS < len(words) else len(unit)
        # This many words are not read together with the next sentence.
        begin = words[first] if first else 0
        sentences.append((start + begin, start + after, MAX_WORDS))
        if after == len(unit):
            break


def find_best(pieces: Sequence[Piece]) -> Piece:
    """The piece with the highest score, reduced to its smallest part with almost that score."""
    best = max(pieces, default=Piece(-math.inf, 0, 0, 0))
    cores = (
        piece
        for piece in pieces
        if best.start <= piece.start and piece.end <= best.end
        if piece.score >= best.score - ALMOST_LOGITS
    )
    core = min(cores, key=attrgetter("words"), default=best)
    return best._replace(start=core.start, end=core.end)


def find_reach(pieces: Sequence[Piece], likely: float, text: str = "") -> tuple[int, int]:
    """The first and the last character of the best piece and of all that belongs to it.

    Pieces that score almost as high belong to it, sentences that are nearly likely to be an order
    by themselves, and pieces that are one only together, as far as they follow each other. Another
    paragraph is included only if it is needed: an order is the same without its neighbours.

    Args:
        pieces: of one text, in their order; at least one.
        likely: the score from which sentences may be an order.
        text: the text of the pieces.
    """
    pieces = [piece for piece in pieces if not _has_spare_paragraph(piece, pieces, text)]
    best = max(pieces)
    start, end = best.start, best.end
    alone = [pieces[0], *(b for a, b in pairwise(pieces) if a.start != b.start)]
    near = [piece for piece in alone if piece.score >= likely - BESIDE_LOGITS]
    near += [piece for piece in pieces if piece.score >= best.score - ALMOST_LOGITS]
    near += _only_together(pieces, likely)
    is_longer = True
    while is_longer:
        is_longer = False
        for piece in near:
            touches = piece.start <= end + BESIDE_CHARS and start <= piece.end + BESIDE_CHARS
            if touches and not (start <= piece.start and piece.end <= end):
                start, end, is_longer = min(start, piece.start), max(end, piece.end), True
    return start, end


def _has_spare_paragraph(piece: Piece, pieces: Sequence[Piece], text: str) -> bool:
    """True if a piece has two paragraphs, and a smaller one in it scores almost as high."""
    if not _PARAGRAPH_END.search(text, piece.start, piece.end):
        return False
    return any(
        (piece.start, piece.end) != (part.start, part.end)
        and piece.start <= part.start
        and part.end <= piece.end
        and part.score >= piece.score - ALMOST_LOGITS
        for part in pieces
    )


def _only_together(pieces: Sequence[Piece], likely: float) -> Iterator[Piece]:
    """The pieces that are likely to be an order, and less so without their first or last sentence.

    So a step that means little by itself goes with the one that it continues.
    """
    by_start: dict[int, list[Piece]] = {}
    by_end: dict[int, list[Piece]] = {}
    for piece in pieces:
        by_start.setdefault(piece.start, []).append(piece)
        by_end.setdefault(piece.end, []).append(piece)
    for piece in pieces:
        if piece.score >= likely:
            parts = [p for p in by_start[piece.start] if p.end < piece.end]
            parts += [p for p in by_end[piece.end] if p.start > piece.start]
            if all(part.score < piece.score for part in parts):
                yield piece
