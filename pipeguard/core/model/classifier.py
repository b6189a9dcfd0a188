"""What a text asks of the model that reads it: a linear classifier over words and their families.

It reads only where the gate (core.model.prefilter) has found words that orders are made of, and
tells how sure it is that a few sentences are an order to the model rather than to a person. Words
count by themselves, in pairs, and by family (a lexicon of stems in fifteen languages: `assistant`,
`ignore`, `secret`, `send`); families count in their order, inside quotes, and at the beginning.
The weights are made by training/train.py, and stand in a file of the pack that names them.

Shapes: a text is a `str`; a score is in logits, 0 is even odds. Knows no rules and no policy.
Source of the form: J. Langford, L. Li, A. Strehl, "Vowpal Wabbit", hashed linear models (2007).
"""

from __future__ import annotations

import base64
import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, reduce
from heapq import nlargest
from itertools import combinations, pairwise
from operator import attrgetter, or_
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

if TYPE_CHECKING:
    from pipeguard.core.model.network import Network

MAX_WORDS = 50  # of sentences that are read together
MAX_UNITS = 3  # sentences that are read together
LONG_WORDS = 60  # a sentence that is longer is read in pieces
PIECE, STEP = 40, 25  # words
REACH = 6  # words between two families that count in their order
STEM = 5  # letters of a word that count without its ending
REMEMBERED = 16_384  # words
LETTERS_READ = 256  # of a word; a longer one is no word, and would fill the memory
BUCKETS = 2**19  # weights that words share
MAX_FAMILIES = 64
GRAM = 4  # letters of a part of a word, with a mark for where it begins and ends
IDEOGRAM = (1, 3)  # ideographs of a part; two that stand together are a word already
GRAM_BUCKETS = 2**17  # weights that parts of words share
GRAMS = BUCKETS + (5 + 2 * MAX_FAMILIES) * MAX_FAMILIES  # where they begin
WEIGHTS = GRAMS + GRAM_BUCKETS
BEGINNING = 3  # words
ADDRESS_WORDS = 8
ALMOST = 0.5  # logits below the best, of sentences that are told in its place
LEAST_FEATURES = 8  # features; fewer count no more each

# What stands for itself in no language: addresses and paths are one word each.
_MASKED = re.compile(
    r"(?P<urlx>https?://\S+|www\.\S+|\b[\w-]+\.(?:example|test|invalid)\b\S*)"
    r"|(?P<mailx>[\w.+-]+@[\w-]+\.[\w.-]+)|(?P<pathx>(?:~|/|\./)[\w./-]{4,})"
)
_META_SCHEMA = re.compile(r"https?://json-schema\.org/\S*")  # names a standard, and no place
_MARK = re.compile(r"[@/]|www\.|\.(?:example|test|invalid)\b")
# Vowel signs of Devanagari are letters of their words; `\w` does not know them.
LETTERS = r"[^\W\d_](?:[^\W\d_]|[\u0900-\u0903\u093a-\u094f\u0955-\u0957\u0962\u0963])*"
_TOKEN = re.compile(LETTERS + r"|\d+|[<>\[\]{}#:!?`\"|=*_-]")
IDEOGRAPH = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_FIRST_IDEOGRAPH = "\u3040"
_IDEOGRAPHS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
_WORD = re.compile(r"[^\W_]")
_DIGITS = re.compile(r"\d+")
_SPACED = re.compile(r"\S+")
_UNIT_END = re.compile(r"(?<=[.!?\u0964\u061f])\s+|\n+|(?<=[\u3002\uff01\uff1f])")
_DROPPED = re.compile("[\u0300-\u036f\u0640\u064b-\u0652]")
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


class Second(NamedTuple):
    """What reads a second time.

    Attributes:
        network: the name of its file.
        sha256: of that file, in hexadecimal.
        output: which of the things that it says of a text counts.
        share: of what it says, in logits, that is added to a score.
        again: logits below what is likely from which on sentences are read a second time.
        most: sentences of one text that are.
    """

    network: str
    sha256: str
    output: str
    share: float
    again: float
    most: int


class Lexicon:
    """Stems and the families that they belong to, of all languages together."""

    def __init__(self, families: Iterable[str], stems: dict[str, list[int]]) -> None:
        """Take the families' names, and for each stem the numbers of its families.

        Stems stand as `plain` writes them. One that ends in a space is a whole word; one that holds
        a space, several; ideographs are looked for anywhere, any other at the beginning of a word.
        """
        self.families = tuple(families)
        self.model = self.families.index("ai") if "ai" in self.families else -1
        self._whole: dict[str, frozenset[int]] = {}
        self._begin: dict[str, frozenset[int]] = {}
        self._anywhere: dict[str, list[tuple[str, frozenset[int]]]] = {}
        self._several: dict[str, list[tuple[str, frozenset[int]]]] = {}
        for stem, numbers in stems.items():
            self._add(stem.strip(), stem.endswith(" "), frozenset(numbers))
        self._longest = max(map(len, self._begin), default=0)
        self._most = max((stem.count(" ") + 1 for stem in stems), default=1)
        self._known: dict[str, frozenset[int]] = {}
        self._called: dict[str, frozenset[int]] = {}

    def _add(self, stem: str, whole: bool, numbers: frozenset[int]) -> None:  # noqa: FBT001  of one stem
        if " " in stem:
            self._several.setdefault(stem.partition(" ")[0], []).append((stem, numbers))
        elif IDEOGRAPH.match(stem):
            self._anywhere.setdefault(stem[0], []).append((stem, numbers))
        else:
            table = self._whole if whole else self._begin
            table[stem] = table.get(stem, frozenset()) | numbers

    def of(self, word: str) -> frozenset[int]:
        """The families of one word."""
        found = self._known.get(word)
        if found is None:
            found = self._whole.get(word, frozenset())
            for end in range(2, min(len(word), self._longest) + 1):
                found |= self._begin.get(word[:end], frozenset())
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[word] = found
        return found

    def in_order(self, text: str) -> list[tuple[float, frozenset[int]]]:
        """Where families stand in a text, in words from its beginning."""
        return self.in_order_of(words(text))

    def in_order_of(self, read: Sequence[str]) -> list[tuple[float, frozenset[int]]]:
        """The same, of a text's words."""
        found: list[tuple[float, frozenset[int]]] = []
        at = 0.0
        several = self._several
        for index, word in enumerate(read):
            if word > _FIRST_IDEOGRAPH and IDEOGRAPH.match(word):
                for place, letter in enumerate(word):
                    if letter in self._anywhere:
                        rest = word[place:] + "".join(read[index + 1 : index + 2])
                        numbers = _starting(self._anywhere[letter], rest)
                        if numbers:
                            found.append((at + place / 2.5, numbers))
                at += len(word) / 2.5
                continue
            numbers = self.of(word)
            if word in several:
                numbers |= _starting(several[word], " ".join(read[index : index + self._most]))
            if numbers:
                found.append((at, numbers))
            at += 1
        return found

    def among(self, text: str) -> frozenset[int]:
        """All families of a few words, which may come again as keys of objects do."""
        found = self._called.get(text)
        if found is None:
            if len(self._called) >= REMEMBERED:
                self._called.clear()
            found = self._called[text] = _all(self.in_order(text))
        return found


def _starting(stems: Iterable[tuple[str, frozenset[int]]], text: str) -> frozenset[int]:
    """The families of those stems that a text begins with."""
    return frozenset().union(*(numbers for stem, numbers in stems if text.startswith(stem)))


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


def plain(text: str) -> str:
    """Small letters without accents, and without what Arabic writes above and between them."""
    text = text.lower()
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _DROPPED.sub("", unicodedata.normalize("NFD", text)))


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


def words(text: str) -> list[str]:
    """The words of a text, each as far as it is read, and what stands for itself between them."""
    found = _TOKEN.findall(text)
    if len(text) > LETTERS_READ:
        return [word[:LETTERS_READ] for word in found]
    return found


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
    seen = _all(found)
    counts = [_ANY + number for number in seen]
    counts += [_TOGETHER + MAX_FAMILIES * a + b for a, b in combinations(sorted(seen), 2)]
    counts += [_IN_ORDER + MAX_FAMILIES * a + b for a, b in _near(found)]
    if found[0][0] < BEGINNING - 1:
        counts += [_FIRST + number for number in found[0][1]]
    if _QUOTE.search(text):
        unquoted = _QUOTED.sub(" ", text)
        if unquoted != text:
            counts += [_SAID + number for number in seen - _all(lexicon.in_order(unquoted))]
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
    """What stands before a comma or colon at the beginning, where one is spoken to."""
    for match in _ADDRESS.finditer(text):
        if match[1].count(" ") < ADDRESS_WORDS:
            called = lexicon.among(match[1])
            for number in called:
                yield _CALLED + number
            if lexicon.model in called:
                for number in seen:
                    yield _CALLED_MODEL + number


def _all(found: Iterable[tuple[float, frozenset[int]]]) -> frozenset[int]:
    return frozenset().union(*(numbers for _, numbers in found))


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
        elif word > _FIRST_IDEOGRAPH and len(word) > 1 and IDEOGRAPH.match(word):
            found += [one + other for one, other in pairwise(word)]
        else:
            found.append(word)
    return found


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


# Weights of -128 to 127, plus 128.
_ABOVE_ZERO = bytes((number + 128) % 256 for number in range(256))


class Classifier:
    """Weights, and the lexicon that goes with them.

    Attributes:
        likely: the score from which on sentences may be an order.
        sure: the one from which on they are one.
        opening: the words that make a text worth reading, each with its weight in hundredths.
    """

    def __init__(
        self, document: dict[str, Any], network: Callable[[Second], Network] | None = None
    ) -> None:
        """Take what training/train.py wrote.

        Args:
            document: the weights, and what else stands in their file.
            network: gives the second reader that is named; None where there is none.
        """
        weights = base64.b64decode(document["weights"], validate=True)
        self._weights = weights.translate(_ABOVE_ZERO)
        if len(self._weights) != WEIGHTS or len(document["families"]) > MAX_FAMILIES:
            raise ValueError("weights of another form")
        numbers = [number for listed in document["stems"].values() for number in listed]
        if max(numbers, default=0) >= len(document["families"]) or min(numbers, default=0) < 0:
            raise ValueError("a stem of no family")
        self._scale: float = document["scale"]
        self._bias: float = document["bias"]
        self.opening = [(str(word), int(weight)) for word, weight in document["anchors"]]
        self.likely: float = document["likely"]
        self.sure: float = document["sure"]
        self._lexicon = Lexicon(document["families"], document["stems"])
        self._second = Second(**document["second"]) if "second" in document else None
        self._again = self._second.again if self._second else 0.0
        self._load = network
        self._network: Network | None = None

    def surest(self, text: str, less: float = 0.0) -> Piece:
        """The sentences that are most an order, of those that may be one.

        Its place is that of the fewest among them that are almost as much an order alone.

        Args:
            text: what is read.
            less: logits below `likely` from which on sentences together are read.
        """
        found = list(self.pieces(text, less))
        chosen = self.unclear(found, less, single=False)
        said = self.again([text[found[at].start : found[at].end] for at in chosen])
        for at, more in zip(chosen, said, strict=True):
            found[at] = found[at]._replace(score=found[at].score + more)
        return best_of(found)

    def unclear(self, found: Sequence[Piece], less: float, *, single: bool = True) -> list[int]:
        """Which pieces of a text a second reader is asked of, where there is one.

        Args:
            found: sentences alone and together, as `pieces` tells them.
            less: logits below `likely` from which on sentences together are read.
            single: of sentences alone all of which it is not clear that they are none: so that
                those together with others, which stand around them, are not read in their place.
        """
        if self._second is None or self._load is None:
            return []
        least = self.likely - less - self._again
        unclear = [place for place, piece in enumerate(found) if piece.score >= least]
        chosen = nlargest(self._second.most, unclear, key=lambda place: found[place].score)
        if single and len(unclear) > len(chosen):
            alone = (at for at in unclear if not at or found[at - 1].start != found[at].start)
            chosen = list(dict.fromkeys([*chosen, *alone]))
        return chosen

    def again(self, texts: Sequence[str]) -> list[float]:
        """What a second reader adds to the score of each text.

        Raises:
            EngineError: its file is not the one that is named, or none.
        """
        if not texts or self._second is None or self._load is None:
            return []
        if self._network is None:
            self._network = self._load(self._second)
        said = self._network.scores(texts, self._second.output)
        return [self._second.share * score for score in said]

    @property
    def name(self) -> str:
        """Tells it from others whose second reader says something else."""
        return f"{self._second.sha256} {self._second.output}" if self._second else ""

    def pieces(self, text: str, less: float = 0.0) -> Iterator[Piece]:
        """Read each sentence, and each few that stand together and may be an order.

        What is repeated is read once. Numbers are all one word, so that rows of a table that
        differ in them alone are repeated.
        """
        found = units(text)
        said = [_DIGITS.sub("0", text[start:end]) for start, end, _ in found]
        read = {unit: self._read(unit) for unit in dict.fromkeys(said)}
        scores: dict[tuple[str, ...], float | None] = {}
        for first, last, count in read_together(found):
            key = tuple(said[first : last + 1])
            if key not in scores:
                scores[key] = self._score_together([read[unit] for unit in key], less)
            score = scores[key]
            if score is not None:
                yield Piece(score, found[first][0], found[last][1], count)

    def score(self, seen: Features) -> float:
        """How sure it is, in logits."""
        return self._bias + self._scale * sum(map(self._mean, seen))

    def _read(self, unit: str) -> _Unit:
        seen = features(unit, self._lexicon)
        weighed = [(group, self._weight(group)) for group in seen]
        most = tuple(_most(*one) for one in weighed)
        return _Unit(seen, sum(_mean(*one) for one in weighed), most)

    def _score_together(self, read: Sequence[_Unit], less: float) -> float | None:
        """How sure it is of sentences together; None where that cannot be likely.

        However features are spread over sentences, those of all together weigh no more than the
        root of the sum of the squares of each (Cauchy and Schwarz), but for what they share.
        """
        if len(read) == 1:
            return self._bias + self._scale * read[0].mean
        most = sum(math.sqrt(sum(kind)) for kind in zip(*(unit.most for unit in read), strict=True))
        if self._bias + self._scale * most < self.likely - less - self._again:
            return None
        return self.score(reduce(or_, (unit.seen for unit in read)))

    def _mean(self, group: frozenset[int]) -> float:
        return _mean(group, self._weight(group))

    def _weight(self, group: frozenset[int]) -> int:
        above: int = sum(map(self._weights.__getitem__, group))
        return above - 128 * len(group)


class _Unit(NamedTuple):
    """A sentence that was read.

    Attributes:
        seen: what counts in it.
        mean: what that weighs.
        most: of each kind, the square of what it can add to the mean of several sentences.
    """

    seen: Features
    mean: float
    most: tuple[float, ...]


def _mean(group: frozenset[int], weight: int) -> float:
    return weight / math.sqrt(max(len(group), LEAST_FEATURES))


def _most(group: frozenset[int], weight: int) -> float:
    return max(0, weight) ** 2 / max(1, len(group))


def load(content: bytes, network: Callable[[Second], Network] | None = None) -> Classifier:
    """Read a model's file.

    Raises:
        ValueError, KeyError: it is none.
    """
    return Classifier(json.loads(content), network)
