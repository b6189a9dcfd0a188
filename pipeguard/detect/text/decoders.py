"""The table of encodings, the decoding of a text by them, and the way back. Knows no rules.

Works on UTF-8 bytes. The cost is linear in the text for any input: Python calls are charged to a
budget, which says so if it is exceeded.
"""

from bisect import bisect_right
from collections.abc import Mapping
from functools import cached_property
from itertools import accumulate
from typing import AnyStr

from pipeguard.detect.text import base_encodings, characters, escapes, word_disguises
from pipeguard.detect.text.encoding import Decoded
from pipeguard.firewall.budgets import DecodingBudget
from pipeguard.unicode.folding import Range

COUNTED_BYTES = 8192  # of a part decoded as a whole in which copies are counted
PIECE_BYTES = 2048  # of a stretch, decoded at a time to find the way back

# A new encoding is an entry in one of these tables, or a module of its own with a line here.
ENCODINGS = {
    **escapes.ENCODINGS,
    **base_encodings.ENCODINGS,
    **characters.ENCODINGS,
    **word_disguises.ENCODINGS,
}


def decode(data: bytes, signs: Mapping[str, list[Range]], budget: DecodingBudget) -> list[Decoded]:
    """Decode each encoded stretch of a text, one level deep.

    Args:
        data: the text.
        signs: for each encoding the ranges of the text that contain its sign, in order.
        budget: limit of the decoding; shared by all levels of one message.
    """
    stretches: list[Decoded] = []
    for name, ranges in signs.items():
        encoding = ENCODINGS.get(name)
        if encoding is not None:
            for start, end in ranges:
                stretches += encoding.decode(data, start, end, budget)
    return [
        stretch
        if stretch.data.isascii() and b"\0" not in stretch.data
        # Valid UTF-8 without zero bytes, which UTF-16 has between letters.
        else stretch._replace(
            data=stretch.data.replace(b"\0", b"").decode("utf-8", "replace").encode()
        )
        for stretch in stretches
        if budget.admits(stretch.data)
    ]


def common_prefix(first: AnyStr, second: AnyStr) -> int:
    """Count the common leading bytes or letters of two texts."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


class DecodedParts:
    """All stretches decoded from one reading, and the way back to it.

    Attributes:
        data: the decoded texts, one on each line.
    """

    def __init__(self, parts: list[Decoded], source: bytes) -> None:
        self._parts = parts
        self._source = source
        self._piece_starts: dict[int, list[int]] = {}  # in `data`, by part
        self._edges: dict[int, Range] = {}  # by part, the bytes as written at its start and end
        self.data = b"\n".join(part.data for part in parts)

    def at(self, start: int) -> Decoded:
        """The part that contains a byte of `data`."""
        return self._parts[self._index(start)]

    def origin(self, start: int, end: int) -> Range:
        """The approximate source of a range of `data` in the text that it was decoded from."""
        index = self._index(start)
        part = self._parts[index]
        part_start = self._ends[index - 1] if index else 0
        if part.is_reversed:
            return max(part.start, part.end + part_start - end), part.end + part_start - start
        if part.reader is None:
            if index not in self._edges:
                source = self._source[part.start : part.end]
                before = common_prefix(source, part.data)
                after = common_prefix(source[before:][::-1], part.data[before:][::-1])
                self._edges[index] = before, after
            before, after = self._edges[index]
            low = part.start + min(before, start - part_start)
            return low, max(low + 1, part.end - min(after, part_start + len(part.data) - end))
        if index not in self._piece_starts:
            cuts = range(part.start, part.end, PIECE_BYTES)
            pieces = (self._source[cut : min(cut + PIECE_BYTES, part.end)] for cut in cuts)
            lengths = (len(part.reader(piece)) for piece in pieces)
            self._piece_starts[index] = list(accumulate(lengths, initial=part_start))
        starts = self._piece_starts[index]
        nth = min(bisect_right(starts, start), len(starts) - 1) - 1
        first = min(part.start + nth * PIECE_BYTES + start - starts[nth], part.end - 1)
        return first, min(max(first + end - start, first + 1), part.end)

    def sections(self) -> list[Range]:
        """The ranges of `data` that are read separately: no sentence continues beyond one.

        A stretch with escapes is read with the text around it, cut at any place; the text between
        it and the next one is missing here. Text that is encoded as a whole may be in pieces.
        """
        sections: list[Range] = []
        at = 0
        was_cut = False
        for part in self._parts:
            end = at + len(part.data)
            if sections and not (was_cut or part.reader is not None):
                sections[-1] = sections[-1][0], end
            else:
                sections.append((at, end))
            at = end + 1
            was_cut = part.reader is not None
        return sections

    def as_written(self, start: int, end: int) -> bool:
        """True if the source has a range of `data` unchanged, near its own place.

        A range of several parts is as written if each of its pieces is: only the text between the
        parts is missing. A part that is decoded as a whole has a range as it is if decoding added
        no copy of it.
        """
        while start < end:
            part = self.at(start)
            last = min(end, self._ends[self._index(start)] - 1)
            words = self.data[start:last]
            if part.reader is not None:
                low, high = self.origin(start, max(last, start + 1))
                near = max(0, low - PIECE_BYTES), high + PIECE_BYTES
                is_there = self._source.find(words, *near) >= 0
            else:
                is_short = max(part.end - part.start, len(part.data)) <= COUNTED_BYTES
                is_encoded = part.view in ENCODINGS  # not an argument's effect
                is_counted = is_short and is_encoded
                copies = self._source.count(words, part.start, part.end) if is_counted else 0
                is_there = copies > 0 and copies >= part.data.count(words)
            if not is_there:
                return False
            start = last + 1
        return True

    @cached_property
    def _ends(self) -> list[int]:
        """The end of each part in `data`."""
        return [*accumulate(len(part.data) + 1 for part in self._parts)]

    def _index(self, start: int) -> int:
        return min(bisect_right(self._ends, start), len(self._ends) - 1)
