"""A program's string literals, read as the program would join them.

`"AKIA" + "Z7QX"` contains a key that the text does not. Knows how programs write literals next to
each other, and no programming language; rules know what the joined text says.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

from pipeguard.detect.text.encoding import Decoded
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.unicode.folding import Range

FEW_LITERALS = 64  # with more, some fit together by chance
SHORTEST_MENTION = 3  # characters of a beginning that a text names before it shows a whole
SHORTEST_WHOLE = 16

# A literal that may be a piece of a secret, for Hyperscan: with a digit beside a letter, the small
# and capital letters of no name, or a long number; or of hardly any letters.
_OF_SECRETS = "[A-Za-z0-9+/=_.:$~%-]*"
SIGN = (
    rf"[\x22'`](?:{_OF_SECRETS}(?:[0-9][A-Za-z]|[A-Za-z][0-9]|[0-9]{{9}}"
    rf"|(?:[a-z][A-Z]{{1,2}}){{2}}[a-z]{{1,2}}[A-Z]){_OF_SECRETS}|[A-Za-z0-9]{{1,2}})[\x22'`]"
)
# The end of a literal, an operator of any language or brackets, and the start of the next literal
# with its prefix.
_GLUE = lazy_regex(
    rb"[\"'`](?:\s{0,40}[^\w\s\"'`]{1,8}\s{0,40}|\s{1,40})(?:[bBfFrRuU]{1,2}(?=[\"'`]))?[\"'`]"
)
# The sign before a quote is asked for after it, so that `re` looks for quotes alone.
_LITERALS = lazy_regex(
    rb"\"([^\"\n]{1,256}+)\"|'(?<![A-Za-z0-9]')([^'\n]{1,256}+)'|`([^`\n]{1,256}+)`"
)


class JoinedLiterals:
    """A part of a text without what is between its literals, and the way back.

    Has the methods of detect.text.decoders.DecodedParts.

    Attributes:
        data: the bytes that remain.
        may_fit_by_chance: True if there are so many literals that some fit together by chance.
    """

    __slots__ = (
        *("_ends", "_offset", "_ranges", "_remaining", "_source"),
        *("data", "may_fit_by_chance"),
    )

    def __init__(
        self,
        data: bytes,
        source: bytes,
        offset: int,
        remaining: Callable[[bytes], Iterable[Range]],
        *,
        may_fit_by_chance: bool = False,
    ) -> None:
        """Store a reading.

        Args:
            data: the bytes that remain.
            source: the part of the text.
            offset: where the part begins in the text.
            remaining: gives the ranges of `source` that remain.
            may_fit_by_chance: see the attribute.
        """
        self.data = data
        self.may_fit_by_chance = may_fit_by_chance
        self._source = source
        self._offset = offset
        self._remaining = remaining
        self._ranges: list[Range] = []  # computed when first needed
        self._ends: list[int] = []  # of these in `data`

    def at(self, start: int) -> Decoded:
        """The only part, whatever byte of `data` is asked for."""
        low = self._offset
        return Decoded(self.data, "literals", low, low + len(self._source))

    def origin(self, start: int, end: int) -> Range:
        """The span in the text of a range of `data`."""
        if not self._ranges:
            self._ranges = [*self._remaining(self._source)]
            self._ends = [*accumulate(high - low for low, high in self._ranges)]
        first = min(bisect_right(self._ends, start), len(self._ends) - 1)
        last = min(max(first, bisect_left(self._ends, end)), len(self._ends) - 1)
        moved = (self._offset + self._ranges[n][1] - self._ends[n] for n in (first, last))
        return next(moved) + start, next(moved) + end

    def as_written(self, start: int, end: int) -> bool:
        """True if a range of `data` is from one piece of the text."""
        low, high = self.origin(start, end)
        return high - low == end - start


def joined_literals(text: bytes, low: int, high: int) -> Iterator[JoinedLiterals]:
    """Read a part of a text as if a program had joined its literals.

    Yields:
        First without the operators between literals; then without anything but literals, for
        those that a program appends line by line.
    """
    source = text[low:high]
    without_glue = _GLUE.sub(b"", source)
    if len(without_glue) != len(source):
        yield JoinedLiterals(without_glue, source, low, _between_glue)
    contents = _inside_literals(source)
    if len(contents) > 1:
        data = b"".join(source[start:end] for start, end in contents)
        is_many = len(contents) > FEW_LITERALS
        yield JoinedLiterals(data, source, low, _inside_literals, may_fit_by_chance=is_many)


def _between_glue(source: bytes) -> Iterator[Range]:
    start = 0
    for glue in _GLUE.finditer(source):
        yield start, glue.start()
        start = glue.end()
    yield start, len(source)


def _inside_literals(source: bytes) -> list[Range]:
    """The literals, but for a beginning that the next one has, as "`AKIA`, e.g. `AKIA…`"."""
    spans = [literal.span(literal.lastindex or 0) for literal in _LITERALS.finditer(source)]
    return [
        (start, end)
        for (start, end), (first, last) in zip(spans, [*spans[1:], (0, 0)], strict=False)
        if end - start < SHORTEST_MENTION
        or last - first < SHORTEST_WHOLE
        or not source.startswith(source[start:end], first, last)
    ]
