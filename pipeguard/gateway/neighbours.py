"""English words, each with those nearest in meaning: a table that a language model made once.

training/neighbours.py writes it; no model is needed to read it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from importlib import resources
from struct import Struct

MOST_NEIGHBOURS = 12  # of a stem, in neighbours.bin
NEIGHBOUR_ROW = Struct(f"<{MOST_NEIGHBOURS}H{MOST_NEIGHBOURS}B")  # their numbers and likenesses


class Neighbours:
    """The stems of English words, each with those nearest in meaning."""

    def __init__(self) -> None:
        packed = resources.files("pipeguard.gateway").joinpath("neighbours.bin").read_bytes()
        stems, _, self._rows = zlib.decompress(packed).partition(b"\n")
        self._stems = stems.decode().split()
        self._places = {stem: place for place, stem in enumerate(self._stems)}

    def __contains__(self, stem: str) -> bool:
        return stem in self._places

    def of(self, stem: str) -> Iterator[tuple[str, float]]:
        """The nearest stems, each with its likeness from 0 to 1."""
        place = self._places.get(stem)
        if place is not None:
            row = NEIGHBOUR_ROW.unpack_from(self._rows, place * NEIGHBOUR_ROW.size)
            for number, likeness in zip(row[:MOST_NEIGHBOURS], row[MOST_NEIGHBOURS:], strict=True):
                if likeness:
                    yield self._stems[number], likeness / 255
