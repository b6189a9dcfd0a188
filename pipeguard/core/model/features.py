"""What counts in a sentence, as the numbers of weights: words, families of words, parts of words.

Words count by themselves, in pairs, and by family; families count in their order, inside quotes,
and at the beginning. Source of the form: J. Langford, L. Li, A. Strehl, "Vowpal Wabbit", hashed
linear models (2007).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import combinations, pairwise
from typing import NamedTuple
from zlib import crc32

from pipeguard.core.model.lexicon import REMEMBERED, Lexicon, all_families
from pipeguard.core.model.normal_form import FIRST_IDEOGRAPH, IDEOGRAPH, plain, words

REACH = 6  # words between two families that count in their order
STEM = 5  # letters of a word that count without its ending
BUCKETS = 2**19  # weights that words share
MAX_FAMILIES = 64
GRAM = 4  # letters of a part of a word, with a mark for where it begins and ends
IDEOGRAM = (1, 3)  # ideographs of a part; two that stand together are a word already
GRAM_BUCKETS = 2**17  # weights that parts of words share
GRAMS = BUCKETS + (5 + 2 * MAX_FAMILIES) * MAX_FAMILIES  # where they begin
WEIGHTS = GRAMS + GRAM_BUCKETS
BEGINNING = 3  # words
ADDRESS_WORDS = 8

# Addresses and paths are no words of any language: each kind is one word.
_MASKED = re.compile(
    r"(?P<urlx>https?://\S+|www\.\S+|\b[\w-]+\.(?:example|test|invalid)\b\S*)"
    r"|(?P<mailx>[\w.+-]+@[\w-]+\.[\w.-]+)|(?P<pathx>(?:~|/|\./)[\w./-]{4,})"
)
_META_SCHEMA = re.compile(r"https?://json-schema\.org/\S*")  # names a standard, and no place
_MARK = re.compile(r"[@/]|www\.|\.(?:example|test|invalid)\b")
_QUOTE = re.compile("[\"'`\u201c\u201e\u00ab\u300c]")
_QUOTED = re.compile(
    r"\"[^\"\n]{3,200}\"|\u201c[^\u201d\n]{3,200}\u201d|\u00ab[^\u00bb\n]{3,200}\u00bb"
    r"|`[^`\n]{3,200}`|\u300c[^\u300d\n]{2,100}\u300d|\u201e[^\u201c\n]{3,200}\u201c"
    r"|'[^'\n]{8,200}'"
)
_ADDRESS = re.compile(
    r"(?:^|[.!?\u3002\uff01\uff1f>*#/\n\"'(\[:;|-]\s*)"
    r"([^\s.!?\u3002:\uff1a,\uff0c][^.!?\u3002:\uff1a,\uff0c\n]{1,60}?)\s?[:\uff1a,\uff0c\u2014]"
)


class Features(NamedTuple):
    """What counts in a text: the numbers of weights, of words, of families, of parts of words."""

    words: frozenset[int]
    families: frozenset[int]
    grams: frozenset[int]

    def __or__(self, other: Features) -> Features:
        """What counts in both texts together."""
        return Features(
            self.words | other.words, self.families | other.families, self.grams | other.grams
        )


def features(text: str, lexicon: Lexicon) -> Features:
    """What counts in one sentence, of any length."""
    text = plain(text)
    if _MARK.search(text):
        text = _META_SCHEMA.sub(" ", text)
        text = _MASKED.sub(lambda match: f" {match.lastgroup} ", text)
    read = words(text)
    return Features(
        frozenset(_of_words(tokens(read))),
        frozenset(_of_families(text, read, lexicon)),
        frozenset().union(*map(_grams, read)),
    )


def _of_words(read: Iterable[str]) -> Iterator[int]:
    """Each word and its stem, two that stand together or with one between, and the beginning."""
    before = further = 0
    for place, token in enumerate(read):
        letters, stem, word = _hashes(token)
        yield stem % BUCKETS
        if word:
            yield word % BUCKETS
        if place > 1:
            yield crc32(letters, before ^ _PAIR) % BUCKETS
            yield crc32(letters, further ^ _APART) % BUCKETS
        elif place:
            yield crc32(letters, before ^ _PAIR) % BUCKETS
            yield crc32(letters, before ^ _BEGIN) % BUCKETS
        if place < BEGINNING:
            yield crc32(letters, _BEGIN + place) % BUCKETS
        before, further = stem, before


# What a hash begins with, so that a word counts in each way for itself.
_STEM, _WORD_ITSELF, _PAIR, _APART, _BEGIN, _GRAM = (
    crc32(name) for name in (b"s", b"w", b"p", b"a", b"b", b"g")
)


def _of_families(text: str, read: Sequence[str], lexicon: Lexicon) -> list[int]:
    found = lexicon.in_order_of(read)
    if not found:
        return []
    seen = all_families(found)
    counts = [_ANY + number for number in seen]
    counts += [_TOGETHER + MAX_FAMILIES * a + b for a, b in combinations(sorted(seen), 2)]
    counts += [_IN_ORDER + MAX_FAMILIES * a + b for a, b in _near(found)]
    if found[0][0] < BEGINNING - 1:
        counts += [_FIRST + number for number in found[0][1]]
    if _QUOTE.search(text):
        unquoted = _QUOTED.sub(" ", text)
        if unquoted != text:
            counts += [_SAID + number for number in seen - all_families(lexicon.in_order(unquoted))]
    counts += _of_address(text, seen, lexicon)
    return counts


def _near(found: Sequence[tuple[float, frozenset[int]]]) -> set[tuple[int, int]]:
    """Each two families that stand close together, in their order."""
    near: set[tuple[int, int]] = set()
    for index, (at, numbers) in enumerate(found):
        for position, others in found[index + 1 :]:
            if position - at > REACH:
                break
            near.update((a, b) for a in numbers for b in others if a != b)
    return near


def _of_address(text: str, seen: frozenset[int], lexicon: Lexicon) -> Iterator[int]:
    """What stands before a comma or colon at the beginning, where somebody is spoken to."""
    for match in _ADDRESS.finditer(text):
        if match[1].count(" ") >= ADDRESS_WORDS:
            continue
        called = lexicon.among(match[1])
        yield from (_CALLED + number for number in called)
        if lexicon.model in called:
            yield from (_CALLED_MODEL + number for number in seen)


# Where the weights of families begin: of one of them, in each way that it counts, and of two.
_ANY, _FIRST, _SAID, _CALLED, _CALLED_MODEL, _TOGETHER = (
    BUCKETS + MAX_FAMILIES * row for row in range(6)
)
_IN_ORDER = _TOGETHER + MAX_FAMILIES * MAX_FAMILIES


@lru_cache(REMEMBERED)
def _hashes(token: str) -> tuple[bytes, int, int]:
    """A word's stem, and the hashes of it and of the word where that is longer."""
    letters = token.encode("utf-8", "surrogatepass")
    stem = token[:STEM].encode("utf-8", "surrogatepass")
    return stem, crc32(stem, _STEM), crc32(letters, _WORD_ITSELF) if len(token) > STEM else 0


@lru_cache(REMEMBERED)
def _grams(token: str) -> tuple[int, ...]:
    """The parts of a word, which endings, compounds and misspellings leave alike."""
    if IDEOGRAPH.match(token):
        parts = [token[i : i + n] for n in IDEOGRAM for i in range(len(token) - n + 1)]
    elif len(token) > 1:
        marked = f"<{token}>"
        parts = [marked[i : i + GRAM] for i in range(len(marked) - GRAM + 1)]
    else:
        parts = []
    hashes = (crc32(part.encode("utf-8", "surrogatepass"), _GRAM) for part in parts)
    return tuple(GRAMS + number % GRAM_BUCKETS for number in hashes)


def tokens(read: Sequence[str]) -> Sequence[str]:
    """What of words counts: of numbers that there is one, of ideographs each two together."""
    found: list[str] = []
    for word in read:
        if word.isdecimal():
            found.append("0")
        elif word > FIRST_IDEOGRAPH and len(word) > 1 and IDEOGRAPH.match(word):
            found += [one + other for one, other in pairwise(word)]
        else:
            found.append(word)
    return found
