"""Where a text holds words that orders are made of: all that a classifier has to read.

A classifier costs a microsecond a word, and almost no text holds an order. So each word that
speaks for one, and is rare elsewhere, has a weight; only where the weights of the words that
stand close to each other come to enough is a stretch read. The words stand in one Hyperscan
database, which finds them all in one pass.
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

NEAR_BYTES = 320  # between the first and the last of words that count together
AROUND_BYTES = 200  # before and after them, as far as the line or sentence goes
WORD_BYTES = 24  # that a word goes back from where it was found
SHORT_BYTES = 4096  # a text that is no longer is read for less: it costs no time
LONG_BYTES = 2**17  # in one that is longer, more words stand together by chance
# Stretches, and looks at sentences, from which on those are no longer told apart in what meets.
MANY, MANY_LOOKS = 64, 2048
MOST_BYTES = 2048  # of stretches that meet; what goes on is another one
# Of a word in another script, which is looked for inside of longer ones too; a shorter one stands
# between what no word of its script is made of.
_LETTERS_ALONE = 4
_NO_LETTER = r"[\x00-@\[-`{-\x7f]"


class Stretch(NamedTuple):
    """Bytes in which words stand together.

    Attributes:
        start: of the first byte that is to be read.
        end: after the last one.
        weight: of the words, in hundredths.
    """

    start: int
    end: int
    weight: int


def make(words: Iterable[tuple[str, int]]) -> tuple[bytes, bytes]:
    """Compile the words of a gate for this machine's processor.

    Args:
        words: each with its weight in hundredths, 1 to 255. `*` at the end of a word stands for
            any ending, a space for one between two words.

    Returns:
        The weights, one byte a word, and the words as a serialised database.

    Raises:
        EngineError: the engine is absent, or it does not take a word.
    """
    chosen = [(_pattern(word), weight) for word, weight in words]
    hyperscan = binding()
    database = hyperscan.Database()
    try:
        database.compile(
            expressions=[pattern.encode() for pattern, _ in chosen],
            ids=list(range(len(chosen))),
            flags=[hyperscan.HS_FLAG_CASELESS] * len(chosen),
        )
    except hyperscan.HyperscanError as error:
        raise EngineError(f"the scan engine does not take the words of a gate: {error}") from None
    weights = bytes(weight for _, weight in chosen)
    blob: bytes = hyperscan.dumpb(database)
    return weights, blob


def _pattern(word: str) -> str:
    """What is looked for."""
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
    """A word however it is capitalised: the engine ignores the case of ASCII letters only.

    The Turkish `\u0131` is not looked for as the `I` that it is capitalised to.
    """
    forms = dict.fromkeys((word, word.capitalize(), word.upper()))
    return "|".join(re.escape(form) for form in forms if not form.isascii())


def _ending(whole: bool, last: bool) -> str:  # noqa: FBT001  of one piece of a stem
    if whole:
        return r"\b"
    return "[a-z]" if last else "[a-z]{1,16}"


class Prefilter:
    """Words, ready to be looked for. One thread at a time may use it."""

    def __init__(self, weights: Callable[[], bytes], database: Database, least: int) -> None:
        """Know where what `make` made is read from, when the first text comes.

        Args:
            weights: gives them, one byte a word.
            database: of the words.
            least: the weight from which on a stretch is read.
        """
        self._read = weights
        self._database = database
        self._least = least
        self._weights = b""
        self._scratch: Any = None

    def load(self) -> None:
        """Load the words, where something is going to be looked for soon.

        Raises:
            EngineError: they are not whole, or made for another processor.
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
        """What is worth reading, from the start of a text on.

        Raises:
            EngineError: the engine failed.
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
        return [widened(data, *found) for found in self._heavy(ends, words, data, least)]

    def _heavy(
        self, ends: array[int], words: array[int], data: bytes, least: int
    ) -> list[tuple[int, int, int]]:
        """Where different words that stand near each other weigh enough, joined where they meet."""
        if any(map(ge, ends, islice(ends, 1, None))):
            ends, words = _in_order(ends, words)
        weights = self._weights
        found: list[tuple[int, int, int]] = []
        count: dict[int, int] = {}
        total = first = looks = 0
        sentences = _Sentences(data)
        for index, (end, word) in enumerate(zip(ends, words, strict=True)):
            before = count.get(word, 0)
            count[word] = before + 1
            if not before:
                total += weights[word]
            while ends[first] < end - NEAR_BYTES:
                gone = words[first]
                count[gone] -= 1
                if not count[gone]:
                    total -= weights[gone]
                first += 1
            if total < least:
                continue
            last = found[-1] if found else None
            is_dense = total >= 2 * least or len(found) > MANY or looks > MANY_LOOKS
            if last and is_dense and ends[first] <= last[1] and end - last[0] <= MOST_BYTES:
                found[-1] = (last[0], end, max(last[2], total))
                continue
            looks += 1
            start, weight = ends[first], total
            begin = sentences.begin(max(0, start - WORD_BYTES), end)
            if start <= begin:
                inside = bisect_right(ends, begin, first, index + 1)
                start = ends[inside]
                distinct = set(words[inside : index + 1])
                weight = sum([weights[word] for word in distinct])  # noqa: C419  a list is faster
            if weight >= least:
                if found and start <= found[-1][1] and end - found[-1][0] <= MOST_BYTES:
                    start, _, most = found.pop()
                    weight = max(most, weight)
                found.append((start, end, weight))
        return found


def _in_order(ends: array[int], words: array[int]) -> tuple[array[int], array[int]]:
    """Words by where they end; of those that end together, by their numbers."""
    hits = sorted([end << 32 | word for end, word in zip(ends, words, strict=True)])
    return array("I", [hit >> 32 for hit in hits]), array("I", [hit & 0xFFFFFFFF for hit in hits])


class _Sentences:
    """Where sentences begin, asked from the start of a text to its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._begins: list[int] = []
        self._read = 0

    def begin(self, low: int, high: int) -> int:
        """Where that begins which is read with what ends at `high`, but not before `low`."""
        begins = self._begins
        known = max(low, self._read - _END_BYTES, *begins[-1:])
        begins += [match.end() for match in _SENTENCE_END.finditer(self._data, known, high)]
        self._read = high
        return max(low, begins[-MAX_UNITS]) if len(begins) >= MAX_UNITS else low


def opened(compiled: tuple[bytes, bytes], least: int) -> Prefilter:
    """A gate of what `make` made, in memory."""
    weights, words = compiled
    return Prefilter(partial(bytes, weights), Database.of(words), least)


def widened(data: bytes, first: int, last: int, weight: int = 0) -> Stretch:
    """From the beginning of the sentence that it begins in to the end of that it ends in."""
    low, high = max(0, first - AROUND_BYTES), min(len(data), last + AROUND_BYTES)
    ends = [
        match.end() for match in _SENTENCE_END.finditer(data, low, max(low, first - WORD_BYTES))
    ]
    low = ends[-1] if ends else _begin(data, low)
    end = _SENTENCE_END.search(data, last, high)
    return Stretch(low, end.end() if end else _begin(data, high), weight)


_END_BYTES = 4  # that a sentence's end can reach over where was read to
_SENTENCE_END = re.compile(rb"[.!?]\s+|\n|\xe3\x80\x82|\xef\xbc[\x81\x9f]|\xe0\xa5\xa4\s*")


def _begin(data: bytes, at: int) -> int:
    """The same place, or a little later, where a letter begins."""
    while at < len(data) and data[at] & 0xC0 == 0x80:
        at += 1
    return at
