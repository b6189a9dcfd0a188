"""Where an expression matches: RE2 finds where it could begin, `re` tells what it is there.

Python's engine tries every branch of an expression at every byte, RE2 reads each byte once: an
order of magnitude, and the difference between linear and quadratic time in a text that was made to
be slow. RE2 looks for a looser form of the expression, which matches wherever the expression does;
what a match is, is told by `re` alone. Knows patterns, and no rules.
Source: R. Cox, "Regular Expression Matching in the Wild" (2010), the design of RE2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

LOOSE = 40  # of a repetition that may be longer, the upper bound is left out: it costs states
MEMORY_BYTES = 4 * 1024 * 1024  # of one expression's automaton, which grows with what it has read
MOST_IN_VAIN = 16  # places in one stretch where the looser form begins and the expression does not

# An escape, a class, a repetition with an upper bound, the end of a line: whatever is not the same
# in both engines stands in one of them.
_TOKEN = re.compile(
    rb"(?P<escape>\\.)|(?P<group>\[\^?\]?(?:\\.|[^\]\\])*\])"
    rb"|\{(?P<least>\d+),(?P<most>\d+)\}\??|(?P<lazy>[*+?}]\?)|(?P<end>\$)",
    re.DOTALL,
)


class Finder:
    """An expression over bytes, ready to be looked for. Threads may share it."""

    def __init__(self, pattern: str, *, ignore_case: bool) -> None:
        """Prepare to find what `re` makes of a pattern, with or without the case of letters."""
        self._pattern = pattern.encode()
        self._flags = re.ASCII | (re.IGNORECASE if ignore_case else 0)
        self._begins = _begins(self._pattern, ignore_case=ignore_case)

    @cached_property
    def expression(self) -> re.Pattern[bytes]:
        """The expression itself, which a text may never need: to compile it takes longest."""
        return re.compile(self._pattern, self._flags)

    def finditer(self, data: bytes, low: int, high: int) -> Iterator[re.Match[bytes]]:
        """What `re.Pattern.finditer` tells of the same bytes."""
        stretch = data[low:high]
        at = vain = 0
        while self._begins is not None and at <= len(stretch) and vain < MOST_IN_VAIN:
            begins = self._begins(stretch, at)
            if begins is None:
                return
            start = begins.start()
            found = self.expression.match(data, low + start, high)
            if found is None:
                vain += 1
                at = start + 1
            else:
                yield found
                at = max(found.end() - low, start + 1)
        if at <= len(stretch):
            yield from self.expression.finditer(data, low + at, high)


def _begins(pattern: bytes, *, ignore_case: bool) -> Callable[[bytes, int], Any] | None:
    """RE2's search for where a looser form of a pattern matches; None where it takes none."""
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
    """An expression for RE2 that matches from wherever the given one does, of bytes in ASCII.

    It takes as little as it can: where a match begins is the same, and what follows is not read.

    What differs: RE2 has another name for the end of a text, no vertical tab among spaces, no line
    end before a dollar sign, and no repetition of more than a thousand.
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
