"""Exact matches of an expression: RE2 finds where one could begin, and `re` matches there.

Python's engine tries every branch of an expression at every byte, RE2 reads each byte once: ten
times faster, and linear instead of quadratic time in a text that is made to be slow. RE2 searches
for a looser form of the expression, which matches wherever the expression does; the match itself is
that of `re` alone. Knows patterns, and no rules.
Source: R. Cox, "Regular Expression Matching in the Wild" (2010), the design of RE2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

from pipeguard.core.lazy_regex import lazy_regex

LOOSE = 8  # a repetition with a larger upper bound loses it in RE2, where it costs states
MEMORY_BYTES = 4 * 1024 * 1024  # for the automaton of one expression, which grows as it reads
MOST_IN_VAIN = 16  # offsets in a text at which the looser form matches and the expression does not

# Escapes, classes, repetitions with an upper bound, ends of lines: all that the two engines read
# differently is in one of these.
_TOKEN = lazy_regex(
    rb"(?P<escape>\\.)|(?P<group>\[\^?\]?(?:\\.|[^\]\\])*\])"
    rb"|\{(?P<least>\d+),(?P<most>\d+)\}\??|(?P<lazy>[*+?}]\?)|(?P<end>\$)",
    re.DOTALL,
)


class Finder:
    """Searches bytes for an expression. Threads may share it."""

    def __init__(self, pattern: str, *, ignore_case: bool) -> None:
        """Compile the looser form; the pattern itself is compiled when it is first needed."""
        self._pattern = pattern.encode()
        self._flags = re.ASCII | (re.IGNORECASE if ignore_case else 0)
        self._begins = _begins(self._pattern, ignore_case=ignore_case)

    @cached_property
    def expression(self) -> re.Pattern[bytes]:
        """The expression itself: many texts never need it, and it takes longest to compile."""
        return re.compile(self._pattern, self._flags)

    def finditer(self, data: bytes, low: int, high: int) -> Iterator[re.Match[bytes]]:
        """Find the same matches as `re.Pattern.finditer`."""
        stretch = data[low:high]
        at = vain = 0
        while self._begins is not None and at <= len(stretch) and vain < MOST_IN_VAIN:
            begins = self._begins(stretch, at)
            if begins is None:
                return
            start = begins.start()
            match = self.expression.match(data, low + start, high)
            if match is None:
                vain += 1
                at = start + 1
            else:
                yield match
                at = max(match.end() - low, start + 1)
        if at <= len(stretch):
            yield from self.expression.finditer(data, low + at, high)


def _begins(pattern: bytes, *, ignore_case: bool) -> Callable[[bytes, int], Any] | None:
    """RE2's search for the looser form of a pattern; None if RE2 rejects that."""
    import re2

    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # bytes are bytes
    options.case_sensitive = not ignore_case
    options.never_capture = True
    options.log_errors = False
    options.max_mem = MEMORY_BYTES
    try:
        search: Callable[[bytes, int], Any] = re2.compile(looser(pattern), options).search
    except re2.error:
        return None
    return search


def looser(pattern: bytes) -> bytes:
    """An expression for RE2 that matches from wherever the given one does, for an ASCII pattern.

    It is not greedy: only the start of a match is used.

    RE2 differs: another name for the end of a text, no vertical tab among spaces, no line end
    before `$`, and no repetition of more than a thousand.
    """
    return b"(?U)" + _TOKEN.sub(_looser, pattern)


def _looser(token: re.Match[bytes]) -> bytes:
    if token["least"]:
        most = b"" if int(token["most"]) > LOOSE else token["most"]
        return b"{%s,%s}" % (token["least"], most)
    if token["lazy"]:
        return token["lazy"][:1]
    if token["group"]:
        return token[0] if token[0].startswith(b"[^") else token[0].replace(rb"\s", rb"\s\v")
    if token["end"]:
        return b"(?:)"
    return {rb"\s": rb"[\s\v]", rb"\Z": rb"\z"}.get(token[0], token[0])
