"""How near a rule's samples are to its border: which still match when a little is changed.

A help for authors, and no test: whether a changed sample should match, only they know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.core.scanning.rule_partition import home
from pipeguard.rulebook.mutations import Mutation, everywhere, once
from pipeguard.rulebook.proof import found, texts

if TYPE_CHECKING:
    from pipeguard.core.finding import Confidence
    from pipeguard.core.protocol.places import Surface
    from pipeguard.core.rules.rule import Rule
    from pipeguard.core.scanning.engine import Engine

MOST_CLOSE = 3  # near misses of one rule that are told


class NearMisses(NamedTuple):
    """What became of the samples with one mutation.

    Attributes:
        tried: how many could have it.
        matched: how many of them still match.
        confidence: of the surest of those; None where there is none.
    """

    tried: int
    matched: int
    confidence: Confidence | None


class Close(NamedTuple):
    """A near miss that is one mutation away from a match.

    Attributes:
        sample: as the rule has it.
        mutation: what is changed.
        text: the sample after that, which matches.
    """

    sample: str
    mutation: Mutation
    text: str


class Nearness(NamedTuple):
    """How near one rule's samples are to its border.

    Attributes:
        rule: the rule's id.
        held: of its matches, by mutation.
        close: of its near misses.
    """

    rule: str
    held: dict[Mutation, NearMisses]
    close: tuple[Close, ...]


def near_all(rules: Iterable[Rule], engines: Iterable[Engine]) -> Iterator[Nearness]:
    """Try the mutated samples of some rules, each on the first of its surfaces."""
    homes = {engine.surface: engine for engine in engines}
    for rule in rules:
        surface = min(rule.surfaces, key=lambda one: one.value)
        yield near(rule, homes[home(rule, surface)], surface)


def near(rule: Rule, engine: Engine, surface: Surface) -> Nearness:
    """Try the mutated samples of a rule.

    Args:
        rule: one of the engine's.
        engine: the rule's home (core.scanning.engine).
        surface: as what the samples are judged.
    """
    held: dict[Mutation, NearMisses] = {}
    for sample in rule.matches:
        for text in texts(sample):
            for mutant in once(text, *_span(rule, engine, text)):
                tried, matched, best = held.get(mutant.mutation, NearMisses(0, 0, None))
                sure = found(rule, engine, surface, mutant.text)
                best = max(sure if best is None else [*sure, best], default=None)
                held[mutant.mutation] = NearMisses(tried + 1, matched + bool(sure), best)
    return Nearness(rule.id, held, tuple(_close(rule, engine, surface)))


def _close(rule: Rule, engine: Engine, surface: Surface) -> Iterator[Close]:
    count = 0
    for sample in rule.passes:
        text = texts(sample)[0]
        for mutant in everywhere(text):
            if found(rule, engine, surface, mutant.text):
                yield Close(text, mutant.mutation, mutant.text)
                count += 1
                break
        if count == MOST_CLOSE:
            return


def _span(rule: Rule, engine: Engine, text: str) -> tuple[int, int]:
    """Where the rule's pattern matches in a sample; all of it where it has none, or in a view."""
    data = text.encode("utf-8")
    match = (
        engine.lookup.finder(rule, squeezed=False).expression.search(data) if rule.pattern else None
    )
    if match is None or match.start() == match.end():
        return 0, len(text)
    start, end = match.span()
    return len(data[:start].decode("utf-8", "ignore")), len(data[:end].decode("utf-8", "ignore"))
