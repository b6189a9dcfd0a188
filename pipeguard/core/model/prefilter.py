"""Selects the stretches of a text that a classifier has to read.

A classifier takes a microsecond a word, and almost no text contains an order. So words that are
common in orders and rare elsewhere have weights; a stretch is selected only where different words
that are close together weigh enough. One Hyperscan database finds all words in one pass.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable
from copy import copy
from functools import partial
from itertools import islice
from operator import ge
from typing import Any, NamedTuple

from pipeguard.core.matching.pattern_set import Database, binding
from pipeguard.core.model.normal_form import IDEOGRAPH
from pipeguard.core.model.sentences import MAX_UNITS
from pipeguard.errors import EngineError

NEAR_BYTES = 320  # between the first and the last of the words that are weighed together
AROUND_BYTES = 200  # before and after them: how far a sentence is followed
WORD_BYTES = 24  # how far before its end a word may begin
SHORT_BYTES = 4096  # to this length a text is selected for less weight: it costs no time
LONG_BYTES = 2**17  # above this length more weight is required: more words meet by chance
# From so many stretches, or looks at sentences, on, stretches that meet are joined unseen.
MANY, MANY_LOOKS = 64, 2048
MOST_BYTES = 2048  # of joined stretches; what goes on begins another one
# A shorter word in another script is found only between characters that are not of its script;
# longer ones are found inside words, too.
_LETTERS_ALONE = 4
_NO_LETTER = r"[\x00-@\[-`{-\x7f]"


class Stretch(NamedTuple):
    """A part of a text that a classifier should read.

    Attributes:
        start: of the first byte.
        end: after the last byte.
        weight: of its words, in hundredths.
    """

    start: int
    end: int
    weight: int


def compile_words(words: Iterable[tuple[str, int]]) -> tuple[bytes, bytes]:
    """Compile the words of a prefilter for this machine's processor.

    Args:
        words: each with its weight in hundredths, 1 to 255. A `*` at the end of a word is any
            ending; a space is between two words.

    Returns:
        The weights, one byte a word, and the words as a serialised database.

    Raises:
        EngineError: Hyperscan is missing, or rejects a word.
    """
    patterns = [(_pattern(word), weight) for word, weight in words]
    hyperscan = binding()
    database = hyperscan.Database()
    try:
        database.compile(
            expressions=[pattern.encode() for pattern, _ in patterns],
            ids=list(range(len(patterns))),
            flags=[hyperscan.HS_FLAG_CASELESS] * len(patterns),
        )
    except hyperscan.HyperscanError as error:
        raise EngineError(
            f"the scan engine does not take the words of a prefilter: {error}"
        ) from None
    weights = bytes(weight for _, weight in patterns)
    blob: bytes = hyperscan.dumpb(database)
    return weights, blob


def _pattern(word: str) -> str:
    """The expression that finds a word, or two."""
    parts = word.split(" ")
    alone = len(parts) == 1
    if alone and not word.isascii() and len(word) < _LETTERS_ALONE and not IDEOGRAPH.match(word):
        return rf"(?:\A|{_NO_LETTER})(?:{_forms(word)})(?:{_NO_LETTER}|\z)"
    return r"[ \n]".join(
        [*(_part(part, last=False) for part in parts[:-1]), _part(parts[-1], last=True)]
    )


def _part(word: str, *, last: bool) -> str:
    letters = word.removesuffix("*")
    if IDEOGRAPH.match(word) or letters.isascii():
        plain = re.escape(letters)
        return plain if IDEOGRAPH.match(word) else rf"\b{plain}" + _ending(letters == word, last)
    ending = "" if letters == word or last else r"(?:[a-z]|[\x80-\xff]){0,32}"
    return f"(?:{_forms(letters)}){ending}"


def _forms(word: str) -> str:
    """A word however it is capitalised: Hyperscan ignores the case of ASCII letters only.

    The Turkish `\u0131` is not found as `I`, its capital.
    """
    forms = dict.fromkeys((word, word.capitalize(), word.upper()))
    return "|".join(re.escape(form) for form in forms if not form.isascii())


def _ending(whole: bool, last: bool) -> str:  # noqa: FBT001  of one piece of a stem
    if whole:
        return r"\b"
    return "[a-z]" if last else "[a-z]{1,16}"


class Prefilter:
    """Words that select stretches, with their weights. One thread at a time may use it."""

    def __init__(self, weights: Callable[[], bytes], database: Database, least: int) -> None:
        """Remember where the results of `compile_words` come from; the first text loads them.

        Args:
            weights: reads them, one byte a word.
            database: of the words.
            least: the weight from which a stretch is selected.
        """
        self._read = weights
        self._database = database
        self._least = least
        self._weights = b""
        self._scratch: Any = None

    @classmethod
    def of(cls, compiled: tuple[bytes, bytes], least: int) -> Prefilter:
        """The prefilter that `compile_words` compiled, in memory."""
        weights, words = compiled
        return cls(partial(bytes, weights), Database.of(words), least)

    def load(self) -> None:
        """Load the words before the first text.

        Raises:
            EngineError: they are damaged, or were compiled for another processor.
        """
        if self._scratch is None:
            self._weights = self._read()
            self._scratch = binding().Scratch(self._database.loaded())

    def share(self) -> Prefilter:
        """The same words for another thread."""
        other = copy(self)
        other._scratch = None
        return other

    def stretches(self, data: bytes) -> list[Stretch]:
        """The stretches of a text that are worth reading, in their order.

        Raises:
            EngineError: Hyperscan failed.
        """
        ends, words = array("I"), array("I")  # as many as the words of a large text
        add_end, add_word = ends.append, words.append

        def hit(word: int, _start: int, end: int, _flags: int, _context: object) -> None:
            add_end(end)
            add_word(word)

        self.load()
        try:
            self._database.loaded().scan(data, match_event_handler=hit, scratch=self._scratch)
        except Exception as error:  # the binding has a class for each of its errors
            raise EngineError(f"the scan engine failed: {type(error).__name__}") from error
        least = self._least
        if len(data) <= SHORT_BYTES:
            least = 2 * least // 5
        elif len(data) > LONG_BYTES:
            least = least * 5 // 4
        if sum(map(self._weights.__getitem__, words)) < least:
            return []
        return [widened(data, *heavy) for heavy in self._heavy(ends, words, data, least)]

    def _heavy(
        self, ends: array[int], words: array[int], data: bytes, least: int
    ) -> list[tuple[int, int, int]]:
        """Where different words that are near each other weigh enough: end, end, weight."""
        if any(map(ge, ends, islice(ends, 1, None))):
            ends, words = _in_order(ends, words)
        weights = self._weights
        heavy = _HeavyStretches(ends, words, weights, data, least)
        count: dict[int, int] = {}
        total = first = 0
        for index, (end, word) in enumerate(zip(ends, words, strict=True)):
            before = count.get(word, 0)
            count[word] = before + 1
            if not before:
                total += weights[word]
            while ends[first] < end - NEAR_BYTES:
                passed = words[first]
                count[passed] -= 1
                if not count[passed]:
                    total -= weights[passed]
                first += 1
            if total >= least:
                heavy.add(first, index, total)
        return heavy.stretches


def _in_order(ends: array[int], words: array[int]) -> tuple[array[int], array[int]]:
    """Words in the order of their ends; with one end, in the order of their numbers."""
    hits = sorted([end << 32 | word for end, word in zip(ends, words, strict=True)])
    return array("I", [hit >> 32 for hit in hits]), array("I", [hit & 0xFFFFFFFF for hit in hits])


class _HeavyStretches:
    """The heavy stretches of one text, joined where they meet.

    Attributes:
        stretches: end of the first word, end of the last word, weight.
    """

    __slots__ = ("_ends", "_least", "_looks", "_sentences", "_weights", "_words", "stretches")

    def __init__(
        self, ends: array[int], words: array[int], weights: bytes, data: bytes, least: int
    ) -> None:
        self._ends, self._words, self._weights = ends, words, weights
        self._least = least
        self._looks = 0
        self._sentences = _Sentences(data)
        self.stretches: list[tuple[int, int, int]] = []

    def add(self, first: int, last: int, total: int) -> None:
        """Add the words from the first to the last, which weigh so much.

        Only those count that are in sentences which are read together. In a dense text, words that
        meet the stretch before them are joined to it without a look at the sentences.
        """
        ends, stretches = self._ends, self.stretches
        start, end = ends[first], ends[last]
        if stretches:
            begin, before, most = stretches[-1]
            if start <= before and end - begin <= MOST_BYTES and self._is_dense(total):
                stretches[-1] = (begin, end, total if total > most else most)
                return
        self._looks += 1
        weight = total
        begin = self._sentences.begin(max(0, start - WORD_BYTES), end)
        if start <= begin:
            inside = bisect_right(ends, begin, first, last + 1)
            start = ends[inside]
            weight = self._weight(inside, last)
        if weight < self._least:
            return
        if stretches and start <= stretches[-1][1] and end - stretches[-1][0] <= MOST_BYTES:
            start, _, most = stretches.pop()
            weight = max(most, weight)
        stretches.append((start, end, weight))

    def _is_dense(self, total: int) -> bool:
        return total >= 2 * self._least or len(self.stretches) > MANY or self._looks > MANY_LOOKS

    def _weight(self, first: int, last: int) -> int:
        weights, distinct = self._weights, set(self._words[first : last + 1])
        return sum([weights[word] for word in distinct])  # noqa: C419  a list is faster


class _Sentences:
    """Finds where sentences begin; asked from the start of a text to its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._begins: list[int] = []
        self._read = 0

    def begin(self, low: int, high: int) -> int:
        """The beginning of the sentences that are read together up to `high`, at least `low`."""
        begins = self._begins
        known = max(low, self._read - _END_BYTES, *begins[-1:])
        begins += [match.end() for match in _SENTENCE_END.finditer(self._data, known, high)]
        self._read = high
        return max(low, begins[-MAX_UNITS]) if len(begins) >= MAX_UNITS else low


def widened(data: bytes, first: int, last: int, weight: int = 0) -> Stretch:
    """The stretch from the beginning of the first sentence to the end of the last."""
    low, high = max(0, first - AROUND_BYTES), min(len(data), last + AROUND_BYTES)
    ends = [
        match.end() for match in _SENTENCE_END.finditer(data, low, max(low, first - WORD_BYTES))
    ]
    low = ends[-1] if ends else _begin(data, low)
    end = _SENTENCE_END.search(data, last, high)
    return Stretch(low, end.end() if end else _begin(data, high), weight)


_END_BYTES = 4  # of a sentence's end: one may have begun before the byte that was read to
_SENTENCE_END = re.compile(rb"[.!?]\s+|\n|\xe3\x80\x82|\xef\xbc[\x81\x9f]|\xe0\xa5\xa4\s*")


def _begin(data: bytes, at: int) -> int:
    """The same place, or the next one where a character begins."""
    while at < len(data) and data[at] & 0xC0 == 0x80:
        at += 1
    return at
