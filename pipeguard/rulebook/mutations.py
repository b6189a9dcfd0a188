"""Texts that are almost a given one: what a rule's author asks how near its samples are to others.

Each mutation changes one thing at one place. Knows letters, digits and words, and no rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from itertools import islice
from typing import NamedTuple

MOST_MUTANTS = 64  # of one text
LONGEST = 2000  # characters of a text that are mutated

_WORD = re.compile(r"\S+")
_LETTER = re.compile(r"[^\W\d_]")
_DIGIT = re.compile(r"[0-9]")


class Mutation(Enum):
    """What is changed."""

    DIGIT = "digit"  # one digit is another: a check over all of them fails
    LETTER = "letter"  # the first letter is another
    CASE = "case"  # capitals are small, and small letters capitals
    CUT = "cut"  # the last word is missing; of a single word, its last character
    SPACE = "space"  # a space is two; where there is none, there is one


class Mutant(NamedTuple):
    """A text in which one thing was changed."""

    mutation: Mutation
    text: str


def once(text: str, start: int, end: int) -> Iterator[Mutant]:
    """A stretch of a text with each mutation that it can have, once."""
    before, stretch, after = text[:start], text[start:end], text[end:]
    for mutation in Mutation:
        changed = _changed(mutation, stretch)
        if changed != stretch:
            yield Mutant(mutation, before + changed + after)


def everywhere(text: str) -> Iterator[Mutant]:
    """A text with each mutation in each of its words; only its beginning, if it is long."""
    return islice(_everywhere(text), MOST_MUTANTS)


def _everywhere(text: str) -> Iterator[Mutant]:
    shown = text[:LONGEST]
    yield from (Mutant(Mutation.CASE, changed) for changed in (shown.lower(), shown.upper()))
    for word in _WORD.finditer(shown):
        start, end = word.span()
        yield from (one for one in once(text, start, end) if one.mutation is not Mutation.CUT)
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
    found = _LETTER.search(stretch) if mutation is Mutation.LETTER else _last_digit(stretch)
    if found is None:
        return stretch
    return stretch[: found.start()] + _next(found[0]) + stretch[found.end() :]


def _last_digit(stretch: str) -> re.Match[str] | None:
    last = None
    for last in _DIGIT.finditer(stretch):  # noqa: B007  the last is wanted
        pass
    return last


def _next(character: str) -> str:
    """Another of its kind."""
    if character.isdecimal():
        return str((int(character) + 1) % 10)
    another = "k" if character.lower() == "q" else "q"
    return another.upper() if character.isupper() else another
