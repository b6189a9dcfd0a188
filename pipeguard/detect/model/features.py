"""The features of sentences, as indices of weights: words, their families and their parts.

Words are features by themselves and in pairs; families of words by themselves, in pairs, in their
order, inside quotes, at the beginning, and in an address. Source of the form: J. Langford, L. Li,
A. Strehl, "Vowpal Wabbit", hashed linear models (2007).

`_classifier.c` does the same some twenty times as fast; if it was not built, this runs.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, reduce
from itertools import combinations, pairwise
from operator import or_
from typing import TypeAlias
from zlib import crc32

from pipeguard.detect.model.sentences import (
    FIRST_IDEOGRAPH,
    IDEOGRAPH,
    plain,
    read_together,
    units,
    words,
)
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.native import find_native
from pipeguard.records import NamedTuple

# --- lexicon ----------------------------------------------------------------------------
# Stems of words in fifteen languages, and the families that they belong to.

CACHED_WORDS = 16_384
IDEOGRAPHS_A_WORD = 2.5  # on average
LEAST_LETTERS = 2  # of the beginning of a word

Families = frozenset[int]  # by their numbers
Stem = tuple[str, Families]
Place = tuple[float, Families]  # in words from the beginning, and the families there

_NONE: Families = frozenset()


class Lexicon:
    """Stems and their families, of all languages together.

    Attributes:
        model_family: the family of names for the model; -1 without one.
    """

    def __init__(self, families: Sequence[str], stems: dict[str, list[int]]) -> None:
        """Store the names of the families, and the families of each stem.

        Stems are written as `plain` writes words. A stem that ends in a space is a whole word; one
        that contains a space is several words. Ideographs are found anywhere, other stems at the
        beginning of a word.
        """
        self.model_family = families.index("ai") if "ai" in families else -1
        self._whole: dict[str, Families] = {}
        self._begin: dict[str, Families] = {}
        self._anywhere: dict[str, list[Stem]] = {}
        self._several: dict[str, list[Stem]] = {}
        sets: dict[Families, Families] = {}  # stems of the same families share one
        for stem, numbers in stems.items():
            families_of_stem = frozenset(numbers)
            families_of_stem = sets.setdefault(families_of_stem, families_of_stem)
            self._add(stem.strip(), stem.endswith(" "), families_of_stem)
        self._longest = max(map(len, self._begin), default=0)
        self._most_words = max((stem.count(" ") + 1 for stem in stems), default=1)
        self._families_of = lru_cache(CACHED_WORDS)(self._word_families)

    def _add(self, stem: str, whole: bool, families: Families) -> None:  # noqa: FBT001  of one stem
        if " " in stem:
            self._several.setdefault(stem.partition(" ")[0], []).append((stem, families))
        elif IDEOGRAPH.match(stem):
            self._anywhere.setdefault(stem[0], []).append((stem, families))
        else:
            table = self._whole if whole else self._begin
            table[stem] = table[stem] | families if stem in table else families

    def _word_families(self, word: str) -> Families:
        """The families of one word."""
        families = self._whole.get(word, _NONE)
        for end in range(LEAST_LETTERS, min(len(word), self._longest) + 1):
            found = self._begin.get(word[:end])
            if found is not None:  # a set of its own takes 216 bytes
                families = families | found if families else found
        return families

    def places(self, read: Sequence[str]) -> list[Place]:
        """Find the families among the words of a text."""
        places: list[Place] = []
        at = 0.0
        several = self._several
        for index, word in enumerate(read):
            if word > FIRST_IDEOGRAPH and IDEOGRAPH.match(word):
                places += self._in_ideographs(word, "".join(read[index + 1 : index + 2]), at)
                at += len(word) / IDEOGRAPHS_A_WORD
                continue
            families = self._families_of(word)
            if word in several:
                following = " ".join(read[index : index + self._most_words])
                families |= _starting(several[word], following)
            if families:
                places.append((at, families))
            at += 1
        return places

    def _in_ideographs(self, word: str, following: str, at: float) -> Iterator[Place]:
        """Find families in a row of ideographs; a stem may reach into the following row."""
        for place, letter in enumerate(word):
            if letter in self._anywhere:
                families = _starting(self._anywhere[letter], word[place:] + following)
                if families:
                    yield at + place / IDEOGRAPHS_A_WORD, families

    def text_families(self, text: str) -> Families:
        """All families of a few words."""
        return all_families(self.places(words(text)))

    def means(self, text: str, scoring: Scoring) -> list[Mean]:
        """The means of the sentences of a text, in Python."""
        return [*_means(text, self, scoring)]


class StemTable(NamedTuple):
    """The stems of a classifier's file, sorted.

    Attributes:
        words: each with a zero behind it; a line end follows a whole word.
        families: of each, the bits of its families, in eight bytes, the lowest first.
    """

    words: bytes | memoryview
    families: bytes | memoryview


class CompiledLexicon:
    """A Lexicon in C, which reads texts there."""

    def __init__(self, families: Sequence[str], stems: StemTable) -> None:
        """Use the stems of a classifier's file.

        Raises:
            ImportError: the form in C was not built.
        """
        from pipeguard.detect.model import _classifier

        self._form = _classifier
        model = families.index("ai") if "ai" in families else -1
        self._lexicon = _classifier.lexicon(stems.words, stems.families, model)

    def text_families(self, text: str) -> Families:
        """All families of a few words."""
        bits = self._form.families(text, self._lexicon)
        return frozenset(_list_bits(bits))

    def means(self, text: str, scoring: Scoring) -> list[Mean]:
        """The means of the sentences of a text, in C."""
        return self._form.means(text, clean, self._lexicon, scoring)


@lru_cache(1)
def shared_lexicon(families: tuple[str, ...], stems: StemTable) -> Lexicon | CompiledLexicon:
    """The lexicon of these stems: that of the last call if the stems are the same.

    Classifiers have theirs in their own files. It takes a megabyte, and they are the same.
    """
    form = native()
    return form(families, stems) if form else Lexicon(families, list_stems(stems))


def list_stems(stems: StemTable) -> dict[str, list[int]]:
    """The families of each stem, as `Lexicon` takes them."""
    words = bytes(stems.words).decode("utf-8", "surrogatepass").split("\0")
    bits = struct.unpack(f"<{len(words) - 1}Q", stems.families)
    by_word = zip(words, map(_list_bits, bits), strict=False)  # the last word is empty
    return {word.replace("\n", " "): numbers for word, numbers in by_word}


def _list_bits(bits: int) -> list[int]:
    return [number for number in range(bits.bit_length()) if bits >> number & 1]


def native() -> type[CompiledLexicon] | None:
    """The form in C; None if it was not built."""
    return CompiledLexicon if find_native("detect.model._classifier") is not None else None


def _starting(stems: Iterable[Stem], text: str) -> Families:
    """The families of the stems at the beginning of a text."""
    return frozenset().union(*(families for stem, families in stems if text.startswith(stem)))


def all_families(places: Iterable[Place]) -> Families:
    """The families of all places together."""
    return frozenset().union(*(families for _, families in places))


# --- features ---------------------------------------------------------------------------

REACH = 6  # words between two families whose order is a feature
STEM_LETTERS = 5  # of a word, without its ending
WORD_BUCKETS = 2**19  # weights that words share by hash
MAX_FAMILIES = 64
GRAM_LETTERS = 4  # of a part of a word, with marks for its beginning and end
IDEOGRAPH_GRAMS = 1, 3  # ideographs of a part; two of them are a word already
GRAM_BUCKETS = 2**17  # weights that parts of words share by hash
FIRST_GRAM = WORD_BUCKETS + (5 + 2 * MAX_FAMILIES) * MAX_FAMILIES  # weight of parts of words
WEIGHTS = FIRST_GRAM + GRAM_BUCKETS
LEAST_FEATURES = 8  # with fewer features, none counts for more
BEGINNING_WORDS = 3
ADDRESS_WORDS = 8  # fewer than these address somebody

# URLs, mail addresses and paths have no language: each kind is one word.
_MASKED = lazy_regex(
    r"(?P<urlx>https?://\S+|www\.\S+|\b[\w-]+\.(?:example|test|invalid)\b\S*)"
    r"|(?P<mailx>[\w.+-]+@[\w-]+\.[\w.-]+)|(?P<pathx>(?:~|/|\./)[\w./-]{4,})"
)
_META_SCHEMA = lazy_regex(r"https?://json-schema\.org/\S*")  # names a standard, not a place
_MARK = lazy_regex(r"[@/]|www\.|\.(?:example|test|invalid)\b")
_NUMBER = lazy_regex(r"\d+")
_QUOTED = lazy_regex(
    r"\"[^\"\n]{3,200}\"|\u201c[^\u201d\n]{3,200}\u201d|\u00ab[^\u00bb\n]{3,200}\u00bb"
    r"|`[^`\n]{3,200}`|\u300c[^\u300d\n]{2,100}\u300d|\u201e[^\u201c\n]{3,200}\u201c"
    r"|'[^'\n]{8,200}'"
)
_ADDRESS = lazy_regex(
    r"(?:^|[.!?\u3002\uff01\uff1f>*#/\n\"'(\[:;|-]\s*)"
    r"([^\s.!?\u3002:\uff1a,\uff0c][^.!?\u3002:\uff1a,\uff0c\n]{1,60}?)\s?[:\uff1a,\uff0c\u2014]"
)


class Features(NamedTuple):
    """The indices of a text's weights.

    Attributes:
        words: of words and pairs of words.
        families: of families of words.
        grams: of parts of words.
    """

    words: frozenset[int]
    families: Families
    grams: frozenset[int]

    def __or__(self, other: Features) -> Features:
        """The features of both texts together."""
        return Features(
            self.words | other.words, self.families | other.families, self.grams | other.grams
        )


# The scoring of sentences: weights, one unsigned byte each, greater by 128; a scale of their means
# and a bias; the score that sentences must be able to reach, to be scored together.
Scoring: TypeAlias = tuple[bytes | memoryview, float, float, float]
# The mean of adjacent sentences; their first character, the end, and the number of their words.
Mean: TypeAlias = tuple[float, int, int, int]


def clean(text: str) -> str:
    """A sentence as it is read: plain, with each number as 0, and each address as a word."""
    text = plain(_NUMBER.sub("0", text))
    if _MARK.search(text):
        text = _META_SCHEMA.sub(" ", text)
        text = _MASKED.sub(lambda match: f" {match.lastgroup} ", text)
    return text


def features(text: str, lexicon: Lexicon) -> Features:
    """The features of one sentence of any length, after `clean`."""
    found = words(text)
    return Features(
        frozenset(_word_features(tokens(found))),
        frozenset(_family_features(text, found, lexicon)),
        frozenset().union(*map(_grams, found)),
    )


def _means(text: str, lexicon: Lexicon, scoring: Scoring) -> Iterator[Mean]:
    """The means of sentences in Python. A repeated sentence is read once, ignoring its numbers."""
    weights, scale, bias, least = scoring
    sentences = units(text)
    cleaned = [clean(text[start:end]) for start, end, _ in sentences]
    seen = {sentence: features(sentence, lexicon) for sentence in dict.fromkeys(cleaned)}
    weighed = {
        sentence: [(kind, _weight(kind, weights)) for kind in each]
        for sentence, each in seen.items()
    }
    for first, last, count in read_together(sentences):
        group = cleaned[first : last + 1]
        kinds = weighed[group[0]]
        if len(group) > 1:
            # However features are spread over sentences, those of all together weigh no more than
            # the root of the sum of these squares (Cauchy and Schwarz), apart from shared features.
            squares = (
                [max(0, weight) ** 2 / max(1, len(kind)) for kind, weight in weighed[each]]
                for each in group
            )
            bounds = zip(*squares, strict=True)
            if bias + scale * sum(math.sqrt(sum(bound)) for bound in bounds) < least:
                continue
            union = reduce(or_, (seen[each] for each in group))
            kinds = [(kind, _weight(kind, weights)) for kind in union]
        mean = sum(weight / math.sqrt(max(len(kind), LEAST_FEATURES)) for kind, weight in kinds)
        yield mean, sentences[first][0], sentences[last][1], count


def _weight(kind: frozenset[int], weights: bytes | memoryview) -> int:
    above: int = sum(map(weights.__getitem__, kind))
    return above - 128 * len(kind)


def _word_features(read: Iterable[str]) -> Iterator[int]:
    """Features: each word's stem, pairs that are adjacent or one apart, and the first words."""
    before = further = 0
    for place, token in enumerate(read):
        letters, stem, word = _hashes(token)
        yield stem % WORD_BUCKETS
        if word:
            yield word % WORD_BUCKETS
        if place:
            yield crc32(letters, before ^ _PAIR) % WORD_BUCKETS
            second = further ^ _APART if place > 1 else before ^ _BEGIN
            yield crc32(letters, second) % WORD_BUCKETS
        if place < BEGINNING_WORDS:
            yield crc32(letters, _BEGIN + place) % WORD_BUCKETS
        before, further = stem, before


# The first bytes of hashes, so that each kind of feature has hashes of its own.
_STEM, _WHOLE_WORD, _PAIR, _APART, _BEGIN, _GRAM = (
    crc32(name) for name in (b"s", b"w", b"p", b"a", b"b", b"g")
)


def _family_features(text: str, read: Sequence[str], lexicon: Lexicon) -> list[int]:
    places = lexicon.places(read)
    if not places:
        return []
    seen = all_families(places)
    indices = [_ANYWHERE + family for family in seen]
    indices += [_TOGETHER + MAX_FAMILIES * a + b for a, b in combinations(sorted(seen), 2)]
    near: set[tuple[int, int]] = set()  # pairs of families that are close together, in their order
    for index, (at, families) in enumerate(places):
        for position, others in places[index + 1 :]:
            if position - at > REACH:
                break
            near.update((a, b) for a in families for b in others if a != b)
    indices += [_IN_ORDER + MAX_FAMILIES * a + b for a, b in near]
    if places[0][0] < BEGINNING_WORDS - 1:
        indices += [_FIRST + family for family in places[0][1]]
    unquoted = _QUOTED.sub(" ", text)
    if unquoted != text:
        quoted = seen - all_families(lexicon.places(words(unquoted)))
        indices += [_QUOTED_ONLY + family for family in quoted]
    indices += _address_features(text, seen, lexicon)
    return indices


def _address_features(text: str, seen: Families, lexicon: Lexicon) -> Iterator[int]:
    """The families before a comma or colon at the beginning, as in a form of address."""
    for match in _ADDRESS.finditer(text):
        if match[1].count(" ") >= ADDRESS_WORDS:
            continue
        addressed = lexicon.text_families(match[1])
        yield from (_ADDRESSED + family for family in addressed)
        if lexicon.model_family in addressed:
            yield from (_TO_MODEL + family for family in seen)


# The first weights of families: of one family in each of six roles, and of pairs.
_ANYWHERE, _FIRST, _QUOTED_ONLY, _ADDRESSED, _TO_MODEL, _TOGETHER = (
    WORD_BUCKETS + MAX_FAMILIES * row for row in range(6)
)
_IN_ORDER = _TOGETHER + MAX_FAMILIES * MAX_FAMILIES


@lru_cache(CACHED_WORDS)
def _hashes(token: str) -> tuple[bytes, int, int]:
    """A word's stem, the stem's hash, and the word's hash; 0 for a word equal to its stem."""
    letters = token.encode("utf-8", "surrogatepass")
    stem = token[:STEM_LETTERS].encode("utf-8", "surrogatepass")
    return stem, crc32(stem, _STEM), crc32(letters, _WHOLE_WORD) if len(token) > STEM_LETTERS else 0


@lru_cache(CACHED_WORDS)
def _grams(token: str) -> tuple[int, ...]:
    """The features of a word's parts, most of which survive endings, compounds and misspellings."""
    if IDEOGRAPH.match(token):
        parts = [token[i : i + n] for n in IDEOGRAPH_GRAMS for i in range(len(token) - n + 1)]
    elif len(token) > 1:
        marked = f"<{token}>"
        parts = [marked[i : i + GRAM_LETTERS] for i in range(len(marked) - GRAM_LETTERS + 1)]
    else:
        parts = []
    hashes = (crc32(part.encode("utf-8", "surrogatepass"), _GRAM) for part in parts)
    return tuple(FIRST_GRAM + number % GRAM_BUCKETS for number in hashes)


def tokens(read: Sequence[str]) -> Sequence[str]:
    """The words that form pairs: all numbers are one word, two adjacent ideographs one."""
    counted = []
    for word in read:
        if word.isdecimal():
            counted.append("0")
        elif word > FIRST_IDEOGRAPH and len(word) > 1 and IDEOGRAPH.match(word):
            counted += [first + second for first, second in pairwise(word)]
        else:
            counted.append(word)
    return counted
