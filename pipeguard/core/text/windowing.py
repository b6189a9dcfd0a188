"""Pieces of a text that are looked through at a time. Knows lengths, and no texts."""

from __future__ import annotations

from collections.abc import Iterator

from pipeguard.core.unicode.folding import Range

BLOCK_BYTES = 8192  # scanned at a time: each rule reports at most once for a block
OVERLAP_BYTES = 1024  # longest match before an open tail


def blocks(length: int, ranges: list[Range] | None = None) -> Iterator[Range]:
    """Where to look, in pieces that overlap by the longest match."""
    if ranges is None:
        if length <= BLOCK_BYTES + OVERLAP_BYTES:
            yield 0, length
            return
        ranges = [(0, length)]
    for low, high in ranges:
        start, stop = max(0, low - OVERLAP_BYTES), min(length, high + OVERLAP_BYTES)
        for begin in range(start, stop, BLOCK_BYTES):
            yield max(start, begin - OVERLAP_BYTES), min(stop, begin + BLOCK_BYTES)
