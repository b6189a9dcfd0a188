"""The blocks in which a text is scanned. Knows lengths, and no texts."""

from __future__ import annotations

from collections.abc import Iterator

from pipeguard.unicode.folding import Range

BLOCK_BYTES = 8192  # one pass of Hyperscan, which reports each rule at most once
OVERLAP_BYTES = 1024  # longest match without an open end
TAIL_BYTES = 4096  # beyond a block, for a match with an open end


def blocks(length: int, ranges: list[Range] | None = None) -> Iterator[Range]:
    """Cut a text into blocks that overlap by the longest match.

    Args:
        length: of the text, in bytes.
        ranges: of the text that are to be scanned; None for all of it.
    """
    if ranges is None:
        if length <= BLOCK_BYTES + OVERLAP_BYTES:
            yield 0, length
            return
        ranges = [(0, length)]
    for low, high in ranges:
        start, stop = max(0, low - OVERLAP_BYTES), min(length, high + OVERLAP_BYTES)
        for begin in range(start, stop, BLOCK_BYTES):
            yield max(start, begin - OVERLAP_BYTES), min(stop, begin + BLOCK_BYTES)
