"""Rows in columns, for people. Not a command itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from pipeguard.unicode.display import visible

_CHUNK = 500  # rows whose widths are known before the first is shown
_MOST_CHARS = 40  # of a column; a longer cell moves its row's others


def in_columns(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A line for the titles and one for each row, as they come; nothing where there is no row."""
    widths = [len(title) for title in titles]
    rest = iter(rows)
    is_first = True
    while chunk := [[visible(cell) for cell in row] for row in islice(rest, _CHUNK)]:
        for column, cells in enumerate(zip(*chunk, strict=True)):
            longest = max(map(len, cells))
            widths[column] = max(widths[column], min(longest, _MOST_CHARS))
        for row in ([list(titles)] if is_first else []) + chunk:
            padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            yield "  ".join(padded).rstrip()
        is_first = False
