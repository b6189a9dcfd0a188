"""Mutations of a text: each changes one thing at one place. Knows letters and words, no rules."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from itertools import islice
from typing import NamedTuple

MOST_MUTANTS = 64  # of one text
LONGEST = 2000  # characters at the start of a text that are mutated

_WORD = re.compile(r"\S+")
_LETTER = re.compile(r"[^\W\d_]")
_DIGIT = re.compile(r"[0-9]")


class Mutation(Enum):
    """What is changed."""

    DIGIT = "digit"  # replaces the last digit, so that a checksum fails
    LETTER = "letter"  # replaces the first letter
    CASE = "case"  # swaps capitals and small letters
    CUT = "cut"  # removes the last word, or the last character of a single word
    SPACE = "space"  # doubles each space, or inserts one if there is none


class Mutant(NamedTuple):
    """A text after a mutation."""

    mutation: Mutation
    text: str


def mutate_span(text: str, start: int, end: int) -> Iterator[Mutant]:
    """Apply to a span of a text each mutation that changes it, once."""
    before, stretch, after = text[:start], text[start:end], text[end:]
    for mutation in Mutation:
        changed = _changed(mutation, stretch)
        if changed != stretch:
            yield Mutant(mutation, before + changed + after)


def mutate_words(text: str) -> Iterator[Mutant]:
    """Apply each mutation to each word of a text; if it is long, of its start."""
    return islice(_mutate_words(text), MOST_MUTANTS)


def _mutate_words(text: str) -> Iterator[Mutant]:
    start_of_text = text[:LONGEST]
    for changed in (start_of_text.lower(), start_of_text.upper()):
        yield Mutant(Mutation.CASE, changed)
    for word in _WORD.finditer(start_of_text):
        start, end = word.span()
        for mutant in mutate_span(text, start, end):
            if mutant.mutation is not Mutation.CUT:
                yield mutant
        yield Mutant(Mutation.CUT, text[:start] + text[end:].lstrip())
        if end < len(text):
            yield Mutant(Mutation.SPACE, text[:end] + text[end:].lstrip())


def _changed(mutation: Mutation, stretch: str) -> str:
    if mutation is Mutation.CASE:
        return stretch.swapcase()
    if mutation is Mutation.CUT:
        words = stretch.split()
        return stretch[: stretch.rindex(words[-1])].rstrip() if len(words) > 1 else stretch[:-1]
    if mutation is Mutation.SPACE:
        middle = len(stretch) // 2
        spaced = stretch.replace(" ", "  ")
        return spaced if spaced != stretch else f"{stretch[:middle]} {stretch[middle:]}"
    match = _LETTER.search(stretch) if mutation is Mutation.LETTER else _last_digit(stretch)
    if match is None:
        return stretch
    return stretch[: match.start()] + _other(match[0]) + stretch[match.end() :]


def _last_digit(stretch: str) -> re.Match[str] | None:
    last = None
    for last in _DIGIT.finditer(stretch):  # noqa: B007  the last is wanted
        pass
    return last


def _other(character: str) -> str:
    """Another digit for a digit, another letter of the same case for a letter."""
    if character.isdecimal():
        return str((int(character) + 1) % 10)
    another = "k" if character.lower() == "q" else "q"
    return another.upper() if character.isupper() else another
