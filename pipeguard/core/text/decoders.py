"""The table of encodings, what of a text they decode, and the way back. Knows no rules.

Works on UTF-8 bytes. The cost is linear in the text for any input: Python calls are counted against
a budget, and whoever exceeds it is told.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate

from pipeguard.core.text import base_encodings, characters, escapes, word_disguises
from pipeguard.core.text.budgets import DecodingBudget
from pipeguard.core.text.encoding import Decoded, Encoding
from pipeguard.core.unicode.folding import Range

PIECE_BYTES = 2048  # decoded at a time for the way back

# A further encoding is an entry in one of these, or a module of its own with one line here.
ENCODINGS: dict[str, Encoding] = {
    **escapes.ENCODINGS,
    **base_encodings.ENCODINGS,
    **characters.ENCODINGS,
    **word_disguises.ENCODINGS,
}


def decode(data: bytes, signs: Mapping[str, list[Range]], budget: DecodingBudget) -> list[Decoded]:
    """Each stretch of a text that decodes to something readable, one level deep.

    Args:
        data: the text.
        signs: by the name of an encoding, the ranges of bytes in which its sign was seen, in order.
        budget: what decoding may cost; shared by all levels of one message.
    """
    found: list[Decoded] = []
    for name, ranges in signs.items():
        encoding = ENCODINGS.get(name)
        if encoding is not None:
            for start, end in ranges:
                found += encoding.decode(data, start, end, budget)
    return [
        item
        if item.data.isascii() and b"\0" not in item.data
        else item._replace(data=_valid(item.data))
        for item in found
        if budget.admits(item.data)
    ]


def _valid(data: bytes) -> bytes:
    """As UTF-8, without zeros: those of UTF-16 stand between letters."""
    return data.replace(b"\0", b"").decode("utf-8", "replace").encode("utf-8")


class DecodedParts:
    """All that was decoded from one reading, and the way back to it.

    Attributes:
        data: the decoded texts, one a line.
    """

    __slots__ = ("_ends", "_parts", "_pieces", "_source", "data")

    def __init__(self, parts: list[Decoded], source: bytes) -> None:
        self._parts = parts
        self._source = source
        self._ends: list[int] = []  # of each part in `data`; computed when first asked for
        self._pieces: dict[int, list[int]] = {}
        self.data = b"\n".join(part.data for part in parts)

    def at(self, start: int) -> Decoded:
        """The part that contains a byte of `data`."""
        return self._parts[self._index(start)]

    def origin(self, start: int, end: int) -> Range:
        """About where a stretch of `data` stands in the text that it was decoded from."""
        index = self._index(start)
        part, begins = self._parts[index], self._ends[index - 1] if index else 0
        if part.view == "reversed":
            return max(part.start, part.end + begins - end), part.end + begins - start
        if part.reader is None:
            return part.start, part.end
        if index not in self._pieces:
            cuts = range(part.start, part.end, PIECE_BYTES)
            texts = (self._source[cut : min(cut + PIECE_BYTES, part.end)] for cut in cuts)
            lengths = (len(part.reader(text)) for text in texts)
            self._pieces[index] = list(accumulate(lengths, initial=begins))
        pieces = self._pieces[index]
        nth = min(bisect_right(pieces, start), len(pieces) - 1) - 1
        first = min(part.start + nth * PIECE_BYTES + start - pieces[nth], part.end - 1)
        return first, min(max(first + end - start, first + 1), part.end)

    def as_written(self, start: int, end: int) -> bool:
        """True where a stretch of `data` stands in the source as it is."""
        part = self.at(start)
        return (
            part.reader is not None
            and self._source.find(self.data[start:end], part.start, part.end) >= 0
        )

    def _index(self, start: int) -> int:
        if not self._ends:
            self._ends.extend(accumulate(len(part.data) + 1 for part in self._parts))
        return min(bisect_right(self._ends, start), len(self._ends) - 1)
