"""Places of a value in a text, in any spelling: in groups, with marks, in other letters.

Knows letters and positions, and neither calls nor orders.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import accumulate, chain, islice

from pipeguard.detect.flows.overlap import letters
from pipeguard.detect.matching.confirm import occurs
from pipeguard.firewall.lazy_regex import lazy_regex

MOST_PLACES = 32  # of a value in one text: half of them the first ones, half the last
MOST_TRIES = 256  # to find it outside of larger words
BLOCK_CHARS = 256  # whose letters are counted at once
_AT = lazy_regex(r"%40|\\u0040|&(?:#0{0,4}64|#x0{0,4}40|commat);", re.IGNORECASE)
_GAP = lazy_regex(r"[\W_]{4,}")  # wider than any sign between the parts of a value

Place = tuple[int, int]


def plain(text: str) -> str:
    """A text with `@` for all its spellings in mail, HTML and JSON."""
    may_have = any(sign in text for sign in "%\\&") and occurs(_AT, text)
    return _AT.sub("@", text) if may_have else text


class SearchedText:
    """A text to look values up in.

    Args:
        text: as it came.

    Attributes:
        text: after replacements by `plain`.
    """

    def __init__(self, text: str) -> None:
        self.text = plain(text)

    def find_spelt(self, wanted: str) -> Iterator[Place]:
        """Find a value by its letters and digits, with anything between them."""
        half = MOST_PLACES // 2
        first = list(islice(self._tries(self._letters.find, wanted), half))
        if len(first) < half:
            return iter(first)
        last = islice(self._tries(self._letters.rfind, wanted), half)
        return chain(first, (place for place in last if place not in first))

    def find_word(self, word: str) -> Iterator[Place]:
        """Find a word given in small letters."""
        places = 0
        start = self._small.find(word)
        for _ in range(MOST_TRIES):
            if start < 0 or places == MOST_PLACES:
                return
            place = start, start + len(word)
            if self._is_word(*place):
                places += 1
                yield place
            start = self._small.find(word, place[1])

    def _tries(self, find: Callable[..., int], wanted: str) -> Iterator[Place]:
        is_last = find == self._letters.rfind
        at = find(wanted)
        for _ in range(MOST_TRIES):
            if at < 0:
                return
            place = self._offset(at), self._offset(at + len(wanted) - 1) + 1
            if self._is_word(*place) and not _GAP.search(self.text, *place):
                yield place
            at = find(wanted, 0, at + len(wanted) - 1) if is_last else find(wanted, at + 1)

    def _is_word(self, start: int, end: int) -> bool:
        before, after = self.text[start - 1 : start], self.text[end : end + 1]
        return not (before.isalnum() or after.isalnum())

    def _offset(self, index: int) -> int:
        """The offset of a letter, by its number among only the letters and digits."""
        block = bisect_right(self._counts, index) - 1
        start, left = block * BLOCK_CHARS, index - self._counts[block]
        for at in range(start, min(len(self.text), start + BLOCK_CHARS)):
            sign = self.text[at]
            size = int(sign.isalnum()) if sign.isascii() else len(letters(sign))
            if left < size:
                return at
            left -= size
        return len(self.text)

    @cached_property
    def _blocks(self) -> list[str]:
        """The letters and digits of each block."""
        starts = range(0, len(self.text), BLOCK_CHARS)
        return [letters(self.text[start : start + BLOCK_CHARS]) for start in starts]

    @cached_property
    def _letters(self) -> str:
        return "".join(self._blocks)

    @cached_property
    def _counts(self) -> list[int]:
        """The number of letters before each block."""
        return list(accumulate(map(len, self._blocks), initial=0))

    @cached_property
    def _small(self) -> str:
        """The text in small letters, of the same length."""
        small = self.text.lower()
        if len(small) == len(self.text):
            return small
        return "".join(low if len(low := c.lower()) == 1 else c for c in self.text)
