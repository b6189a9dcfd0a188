"""The tables from which C finds signs (_signs.c), made when the rules are compiled."""

import re
from array import array
from collections.abc import Iterable

from pipeguard.firewall.lazy_regex import lazy_regex

HASH_BITS, HASH_FACTOR = 16, 0x9E3779B97F4A7C15  # as in _signs.c
LANE_BITS = 16

_REPEATED = lazy_regex(r"\(\?:([^()]*)\)\{(\d+)\}")
_PART = lazy_regex(r"(\[(?:\\.|[^]\\])*\])(?:(\+)|\{(\d+)\})?|(\|)")


def make_rows(patterns: Iterable[str]) -> bytes:
    """The tables for patterns that are rows of classes, or several such rows.

    Each letter of a row is a state. None is repeated but by its count, or by `+`. The letters of a
    row of one class are counted in a lane, which is full with the highest bit.

    Raises:
        OverflowError: there are more than 64 states, or than four lanes.
    """
    begun, kept, within = ([0] * 256 for _ in range(3))
    first = empty = state = lane = 0
    ends = list[int]()
    for pattern in patterns:
        last = full = 0
        for row in _rows(pattern):
            if len({*row}) == 1:
                _add(within, row[0][0], 0xFFFF << lane)
                lane += LANE_BITS
                full |= 1 << lane - 1
                empty += (1 << lane - 1) - (len(row) << lane - LANE_BITS)
                continue
            first |= 1 << state
            for members, stays in row:
                _add(begun, members, 1 << state)
                _add(kept, members, stays << state)
                state += 1
            last |= 1 << state - 1
        ends += last, full
    return array("Q", (*begun, *kept, *within, first, empty, *ends)).tobytes()


def _add(table: list[int], members: Iterable[int], bits: int) -> None:
    for byte in members:
        table[byte] |= bits


def _rows(pattern: str) -> list[list[tuple[frozenset[int], bool]]]:
    """The rows of a pattern: of each letter the bytes that it may be, and True if it repeats."""
    while group := _REPEATED.search(pattern):
        pattern = pattern[: group.start()] + group[1] * int(group[2]) + pattern[group.end() :]
    rows: list[list[tuple[frozenset[int], bool]]] = [[]]
    for letters, stays, count, ends in _PART.findall(pattern):
        if ends:
            rows.append([])
        else:
            members = (match[0][0] for match in re.finditer(letters.encode(), bytes(range(256))))
            rows[-1] += [(frozenset(members), bool(stays))] * int(count or 1)
    return rows


def make_words(words: Iterable[str]) -> bytes:
    """The table of the words of seed phrases, by hash."""
    table = bytearray(2**HASH_BITS // 8)
    for word in words:
        hashed = int.from_bytes(word.encode(), "big") * HASH_FACTOR % 2**64 >> 64 - HASH_BITS
        table[hashed // 8] |= 1 << hashed % 8
    return bytes(table)
