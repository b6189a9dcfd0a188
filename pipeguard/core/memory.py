"""How much memory texts take that a peer chose the length of."""

from __future__ import annotations

from collections.abc import Iterable
from sys import getsizeof


def size_of(*texts: str | None) -> int:
    """Bytes of some texts: a single wide character makes each of its text four bytes wide."""
    return sum([getsizeof(text) for text in texts if text is not None])  # noqa: C419  faster


def size_of_all(texts: Iterable[str]) -> int:
    """Bytes of a set of texts, with what holds them."""
    return sum([getsizeof(text) + SLOT_BYTES for text in texts])  # noqa: C419  faster


SLOT_BYTES = 64  # of a set, in which up to two thirds are empty
