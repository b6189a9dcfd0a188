"""The distance of a rule's samples from its border: those that match after a mutation.

For authors of rules, and not a test: whether a mutated sample should match, only they know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.detect.scanning.rule_groups import choose_engine
from pipeguard.rulebook.proof import confidences, is_match
from pipeguard.rulebook.samples import texts

if TYPE_CHECKING:
    from pipeguard.detect.rules.rule import Rule
    from pipeguard.detect.scanning.engine import Engine
    from pipeguard.firewall.finding import Confidence
    from pipeguard.firewall.protocol.places import Surface


import re
from enum import Enum
from itertools import islice

MOST_CLOSE = 3  # close misses of one rule that are reported


class NearMisses(NamedTuple):
    """Samples that should match, after one mutation.

    Attributes:
        tried: how many it changes.
        matched: how many of these still match.
        confidence: the highest of those matches; None if there is none.
    """

    tried: int
    matched: int
    confidence: Confidence | None


class CloseMiss(NamedTuple):
    """A sample that should pass, and is one mutation away from a match.

    Attributes:
        sample: as the rule has it.
        mutation: what is changed.
        text: the mutated sample, which matches.
    """

    sample: str
    mutation: Mutation
    text: str


class Nearness(NamedTuple):
    """The distance of one rule's samples from its border.

    Attributes:
        rule: the rule's id.
        mutated: its matches, by mutation.
        close_misses: the first few.
    """

    rule: str
    mutated: dict[Mutation, NearMisses]
    close_misses: tuple[CloseMiss, ...]


def near_all(rules: Iterable[Rule], engines: Iterable[Engine]) -> Iterator[Nearness]:
    """Try the mutated samples of some rules, each on the first of its surfaces."""
    homes = {engine.surface: engine for engine in engines}
    for rule in rules:
        surface = min(rule.surfaces, key=lambda surface: surface.value)
        yield near(rule, homes[choose_engine(rule, surface)], surface)


def near(rule: Rule, engine: Engine, surface: Surface) -> Nearness:
    """Try the mutated samples of a rule.

    Args:
        rule: one of the engine's.
        engine: it runs the rule (detect.scanning.first_look).
        surface: the samples are judged as texts of it.
    """
    mutated: dict[Mutation, NearMisses] = {}
    for sample in rule.matches:
        for text in texts(sample):
            for mutant in mutate_span(text, *_span(rule, engine, text)):
                tried, matched, best = mutated.get(mutant.mutation, NearMisses(0, 0, None))
                sure = confidences(rule, engine, surface, mutant.text)
                best = max(sure if best is None else [*sure, best], default=None)
                mutated[mutant.mutation] = NearMisses(tried + 1, matched + bool(sure), best)
    return Nearness(rule.id, mutated, tuple(_close(rule, engine, surface)))


def _close(rule: Rule, engine: Engine, surface: Surface) -> Iterator[CloseMiss]:
    count = 0
    for sample in rule.passes:
        text = texts(sample)[0]
        for mutant in mutate_words(text):
            if is_match(rule, engine, surface, mutant.text):
                yield CloseMiss(text, mutant.mutation, mutant.text)
                count += 1
                break
        if count == MOST_CLOSE:
            return


def _span(rule: Rule, engine: Engine, text: str) -> tuple[int, int]:
    """Find a pattern's match in a sample; the whole sample if it matches in another view."""
    data = text.encode("utf-8")
    finder = engine.finder(rule, squeezed=False) if rule.pattern else None
    match = next(finder.finditer(data, 0, len(data)), None) if finder else None
    if match is None:
        return 0, len(text)
    start, end = match.span
    return len(data[:start].decode("utf-8", "ignore")), len(data[:end].decode("utf-8", "ignore"))


# --- mutations --------------------------------------------------------------------------
# Mutations of a text: each changes one thing at one place.

MOST_MUTANTS = 64  # of one text
LONGEST = 2000  # characters at the start of a text that are mutated

_WORD = re.compile(r"\S+")
_LETTER = re.compile(r"[^\W\d_]")
_DIGIT = re.compile(r"[0-9]")


class Mutation(Enum):
    """The kind of change."""

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
        changed = _change(mutation, stretch)
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


def _change(mutation: Mutation, stretch: str) -> str:
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
