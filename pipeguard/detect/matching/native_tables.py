"""The tables from which C finds signs (_signs.c), made when the rules are compiled."""

import re
from collections.abc import Iterable
from struct import pack

from pipeguard.firewall.lazy_regex import lazy_regex

WORDS = 4  # of 64 states; these three as in _signs.c
HASH_BITS, HASH_FACTOR = 16, 0x9E3779B97F4A7C15

_REPEATED = lazy_regex(r"\(\?:([^()]*)\)\{(\d+)\}")
_PART = lazy_regex(r"(\[(?:\\.|[^]\\])*\])(?:(\+)|\{(\d+)\})?|(\|)")


def make_rows(patterns: Iterable[str]) -> bytes:
    """The tables for patterns that are rows of classes, or several such rows.

    Each letter of a row is a state. None is repeated but by its count, or by `+`.
    """
    letters: list[tuple[int, tuple[frozenset[int], bool]]] = []  # each with its state
    first, ends, state = 0, list[int](), 0
    for pattern in patterns:
        ends.append(0)
        for row in _rows(pattern):
            if state % 64 + len(row) > 64:  # no row begins in one word and ends in another
                state += -state % 64
            first |= 1 << state
            letters += enumerate(row, state)
            state += len(row)
            ends[-1] |= 1 << state - 1
    if state > 64 * WORDS:
        raise ValueError("too many letters")
    tables = [
        sum(1 << at for at, (members, stays) in letters if byte in members and (stays or not kept))
        for kept in (False, True)
        for byte in range(256)
    ]
    each_word = (
        each >> 64 * n & 2**64 - 1 for each in (*tables, first, *ends) for n in range(WORDS)
    )
    return b"".join(pack("=Q", word) for word in each_word)


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
