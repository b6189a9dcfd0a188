"""Readings of JSON by its strings: what an order or a match is in, without its neighbours.

Knows readings and the strings of JSON in their text; what is in these is judged by others.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise

from pipeguard.detect.model.cascade import Named, Selection
from pipeguard.detect.model.opener import Stretch
from pipeguard.detect.scanning.origin import Origin
from pipeguard.detect.text.document import MessageText
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.unicode.folding import Range


class JsonValues:
    """The strings of JSON in the readings of one text."""

    def __init__(self, text: MessageText) -> None:
        """Remember the text; the first question reads it."""
        self._strings = JsonStrings(text)

    def select(self, data: bytes, stretches: Sequence[Stretch], origin: Origin) -> Selection:
        """The stretches of a reading; of JSON, the parts of its strings that are in each."""
        if not _is_plain(origin) or not self._strings.are_there:
            return Selection(data, stretches)
        parts: dict[Stretch, None] = {}
        wholes: list[Named] = []
        for stretch in stretches:
            _, low, high, _ = origin.trace(stretch.start, stretch.end)
            within = self._strings.within(low, high)
            spans = (_in_reading(span, origin) for span in within)
            parts |= dict.fromkeys(Stretch(*span, stretch.score) for span in spans)
            names = self._strings.names(low, high)
            if within and not may_continue(within, names):
                wholes.append(Named(stretch, b" ".join(names).decode("utf-8", "ignore")))
            else:
                parts[stretch] = None
        return Selection(data, [*parts], wholes)

    def around(self, start: int, end: int, origin: Origin) -> Range | None:
        """The string of JSON that contains a range of a reading, and says much more.

        None if there is none. One that says little more is a label, as of a button.
        """
        if not _is_plain(origin) or not self._strings.are_there:
            return None
        _, low, high, _ = origin.trace(start, end)
        span = self._strings.around(low, high)
        if span is None or 2 * (high - low) >= span[1] - span[0]:
            return None
        return _in_reading(span, origin)


def _is_plain(origin: Origin) -> bool:
    """True for a reading of the text itself, folded or not."""
    return origin.chain in ("text", "folded") and origin.outer is None


def _in_reading(span: Range, origin: Origin) -> Range:
    """The place of a range of the text in a reading of it."""
    unfolding = origin.unfolding
    return span if unfolding is None else (unfolding.place(span[0]), unfolding.place(span[1]))


# --- json strings -----------------------------------------------------------------------
# Where the strings of JSON are, in a string of a message that is itself JSON.

MOST_BYTES = 2**20  # of a text; in a longer one nothing is looked for
LEAST_BYTES = 12  # of a string that may say something
FRAGMENT_BYTES = 48  # of a string: a shorter one may be a piece of a sentence
EDGE_BYTES = 2  # of a match beyond its string
BLANK_CHARS = 64  # before and after JSON
_JSON = lazy_regex(
    rb"(?:[\s{}\[\],:0-9.eE+-]++|true|false|null|\"(?:[^\"\\\n]++|\\.)*+\")*+", re.DOTALL
)
_STRING = lazy_regex(rb"\"((?:[^\"\\]++|\\.)*+)\"(\s*+:)?+", re.DOTALL)
_NEXT_ITEM = lazy_regex(rb"\"\s*+,\s*+\"")
_BRACKETS = {"{": "}", "[": "]"}


class JsonStrings:
    """The strings of JSON in a text, without their quotes: those that may say something.

    What is not all JSON has none. JSON that is escaped within such a string is a part of it. A key
    of one word is a name, and so is a short value.
    """

    def __init__(self, text: MessageText) -> None:
        """Remember the text; the first question reads it."""
        self._text = text
        self._found: tuple[list[int], list[int]] | None = None

    @property
    def are_there(self) -> bool:
        """False for most texts: there is none."""
        return bool(self._spans()[0])

    def within(self, low: int, high: int) -> list[Range]:
        """The parts of strings that are in a range of the text, in their order."""
        starts, ends = self._spans()
        first, last = bisect_right(ends, low), bisect_left(starts, high)
        return [
            (max(low, start), min(high, end))
            for start, end in zip(starts[first:last], ends[first:last], strict=True)
        ]

    def names(self, low: int, high: int) -> list[bytes]:
        """The surroundings of the strings in a range: names, short values and marks."""
        bounds = [low, *(at for part in self.within(low, high) for at in part), high]
        return [self._text.data[start:end] for start, end in [*pairwise(bounds)][::2]]

    def around(self, low: int, high: int) -> Range | None:
        """The string that contains a range of the text, perhaps with a quote; None without one."""
        starts, ends = self._spans()
        at = bisect_right(starts, low + EDGE_BYTES) - 1
        is_in = at >= 0 and starts[at] < high and low < ends[at] and high <= ends[at] + EDGE_BYTES
        return (starts[at], ends[at]) if is_in else None

    def _spans(self) -> tuple[list[int], list[int]]:
        if self._found is None:
            self._found = _spans(self._text)
        return self._found


def may_continue(strings: Sequence[Range], names: Sequence[bytes]) -> bool:
    """True if one of some strings may continue another: items of a list, or all are short.

    Args:
        strings: of JSON.
        names: what is around and between them.
    """
    is_short = all(end - start < FRAGMENT_BYTES for start, end in strings)
    return is_short or any(map(_NEXT_ITEM.fullmatch, names[1:-1]))


def _spans(text: MessageText) -> tuple[list[int], list[int]]:
    """The beginnings and ends of the strings."""
    found = [string for low, high in _json(text) for string in _strings(text.data, low, high)]
    return [start for start, _ in found], [end for _, end in found]


def _json(text: MessageText) -> Iterator[Range]:
    """The places of values that are JSON."""
    if text.is_keyed or len(text.data) > MOST_BYTES:
        return
    for number, value in enumerate(text.values):
        closing = _BRACKETS.get(value[:BLANK_CHARS].lstrip()[:1])
        if closing is not None and closing == value[-BLANK_CHARS:].rstrip()[-1:]:
            low, high = text.stretch(number)
            if _JSON.fullmatch(text.data, low, high):
                yield low, high


def _strings(data: bytes, low: int, high: int) -> Iterator[Range]:
    """The strings in a range that is JSON."""
    for string in _STRING.finditer(data, low, high):
        start, end = string.span(1)
        is_name = string[2] is not None and b" " not in string[1]
        if end - start >= LEAST_BYTES and not is_name:
            yield start, end
