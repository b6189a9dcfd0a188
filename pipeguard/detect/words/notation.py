"""The notation of a table: as one text with blanks between the words."""

from __future__ import annotations


def word_set(text: str) -> frozenset[str]:
    """The words of a text, to ask whether a word is one of them."""
    return frozenset(text.split())


def word_list(text: str) -> tuple[str, ...]:
    """The words of a text in their order, to join them into an expression."""
    return tuple(text.split())
