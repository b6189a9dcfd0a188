"""How near a rule's samples are to its border: which of them match after a mutation.

For authors of rules, and not a test: whether a mutated sample should match, only they know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.detect.scanning.rule_partition import engine_for
from pipeguard.rulebook.mutations import Mutation, mutate_span, mutate_words
from pipeguard.rulebook.proof import confidences, texts

if TYPE_CHECKING:
    from pipeguard.detect.rules.rule import Rule
    from pipeguard.detect.scanning.engine import Engine
    from pipeguard.firewall.finding import Confidence
    from pipeguard.firewall.protocol.places import Surface

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
    """How near one rule's samples are to its border.

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
        yield near(rule, homes[engine_for(rule, surface)], surface)


def near(rule: Rule, engine: Engine, surface: Surface) -> Nearness:
    """Try the mutated samples of a rule.

    Args:
        rule: one of the engine's.
        engine: it runs the rule (detect.scanning.rule_partition).
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
            if confidences(rule, engine, surface, mutant.text):
                yield CloseMiss(text, mutant.mutation, mutant.text)
                count += 1
                break
        if count == MOST_CLOSE:
            return


def _span(rule: Rule, engine: Engine, text: str) -> tuple[int, int]:
    """Where a rule's pattern matches in a sample; all of it if it matches in another view."""
    data = text.encode("utf-8")
    finder = engine.lookup.finder(rule, squeezed=False) if rule.pattern else None
    match = next(finder.finditer(data, 0, len(data)), None) if finder else None
    if match is None:
        return 0, len(text)
    start, end = match.span
    return len(data[:start].decode("utf-8", "ignore")), len(data[:end].decode("utf-8", "ignore"))
