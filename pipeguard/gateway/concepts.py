"""What a query asks for: its phrases and words, each with the terms that may stand for it.

What people say for what tools do are the phrases of `everyday.yaml`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import islice
from math import sqrt
from typing import NamedTuple

import yaml

from pipeguard.gateway.words import MAX_QUERY_WORDS, STOP_WORDS, spelled_out, synonyms

SYNONYM_WEIGHT = 0.6
EVERYDAY_WEIGHT = 0.75  # of what a phrase of everyday language stands for
PART_WEIGHT = 0.5  # of a single word of such a phrase
MOST_KNOWN = 10_000  # concepts that are remembered
# What stems are worth to a concept: the greatest weight first, each with the stems that have it.
Meaning = list[tuple[float, frozenset[str]]]
GAP = "~"
MOST_BETWEEN = 4  # words where a phrase has a gap
# May stand anywhere within a phrase: "hit that enter" is "hit enter".
DETERMINERS = frozenset(
    ("a", "an", "the", "my", "our", "your", "his", "her", "their", "this", "that", "these", "those")
)

Term = tuple[str, ...]  # the stems of a term's words
Terms = tuple[Term, ...]


class _Phrase(NamedTuple):
    """A phrase of the table.

    Attributes:
        parts: its stems, split at its gaps.
        terms: for which it may stand.
        stems: of all parts.
    """

    parts: tuple[tuple[str, ...], ...]
    terms: Terms
    stems: frozenset[str]


class _PhraseMatch(NamedTuple):
    """A phrase in a request.

    Attributes:
        places: of its words in the request.
        terms: for which it may stand.
    """

    places: tuple[int, ...]
    terms: Terms


class Everyday:
    """The phrases of the table, by their first stem."""

    def __init__(self, stems: Mapping[str, str]) -> None:
        self._phrases: dict[str, list[_Phrase]] = {}
        merged: dict[tuple[tuple[str, ...], ...], dict[Term, None]] = {}
        for terms, phrases in table().items():
            meant = [tuple(stems[word] for word in spelled_out(term)) for term in terms]
            for phrase in phrases:
                parts = tuple(
                    tuple(stems[word] for word in spelled_out(part)) for part in phrase.split(GAP)
                )
                merged.setdefault(parts, {}).update(dict.fromkeys(meant))
        for parts, found in merged.items():
            entry = _Phrase(parts, tuple(found), frozenset().union(*parts))
            self._phrases.setdefault(parts[0][0], []).append(entry)

    def matches(self, words: Sequence[str], stems: Sequence[str]) -> list[_PhraseMatch]:
        """The phrases of a request, none of which overlap.

        Of those that would, the one with more words is taken, then the one with fewer gaps.
        """
        found = []
        everything = frozenset(stems)
        for start, stem in enumerate(stems):
            for phrase in self._phrases.get(stem, ()):
                if not phrase.stems <= everything:
                    continue
                places = _places(phrase.parts, words, stems, start)
                if places:
                    found.append((-len(places), len(phrase.parts), start, places, phrase.terms))
        found.sort(key=lambda row: row[:3])
        taken: set[int] = set()
        chosen = []
        for _, _, _, places, terms in found:
            if taken.isdisjoint(places):
                taken.update(places)
                chosen.append(_PhraseMatch(places, terms))
        return sorted(chosen)


def table() -> dict[tuple[str, ...], tuple[str, ...]]:
    """The table as it is written: phrases by the terms for which they may stand."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    rows: dict[str, str] = yaml.load(source(), loader)  # noqa: S506  both loaders are safe
    return {tuple(_listed(terms)): tuple(_listed(phrases)) for terms, phrases in rows.items()}


def source() -> str:
    """The text of the table."""
    return resources.files("pipeguard.gateway").joinpath("everyday.yaml").read_text("utf-8")


def _listed(text: str) -> Iterator[str]:
    return (part.strip() for part in text.split(","))


def _places(
    parts: Sequence[Sequence[str]], words: Sequence[str], stems: Sequence[str], start: int
) -> tuple[int, ...]:
    """Where a phrase is that begins at `start`; empty where it is not."""
    places: list[int] = []
    for part in parts:
        if not places:
            found = _run(part, words, stems, start)
        else:
            after = places[-1] + 1
            runs = (
                _run(part, words, stems, at)
                for at in range(after, min(after + MOST_BETWEEN + 1, len(stems)))
            )
            found = next((run for run in runs if run), ())
        if not found:
            return ()
        places += found
    return tuple(places)


def _run(
    part: Sequence[str], words: Sequence[str], stems: Sequence[str], start: int
) -> tuple[int, ...]:
    """Where the words of a part are, one after the other but for determiners."""
    places: list[int] = []
    at = start
    for stem in part:
        while places and at < len(stems) and stems[at] != stem and words[at] in DETERMINERS:
            at += 1
        if at >= len(stems) or stems[at] != stem:
            return ()
        places.append(at)
        at += 1
    return tuple(places)


@dataclass(frozen=True, slots=True, eq=False)
class Concept:
    """A phrase or a word of a query. One object for each, so that more can be stored for it.

    Attributes:
        words: as they were asked.
        terms: what may stand for them, each with its weight; those of greater weight first.
        meaning: what each stem is worth alone.
    """

    words: str
    terms: Mapping[Term, float]
    meaning: Meaning


class Concepts:
    """The concepts of queries.

    Args:
        stems: of words.
    """

    def __init__(self, stems: Mapping[str, str]) -> None:
        self._stems = stems
        self._everyday = Everyday(stems)
        self._stored: dict[tuple[tuple[str, ...], Terms], Concept] = {}

    def of(self, query: str) -> list[Concept]:
        """The concepts of a query; of all its words where none says anything."""
        words = list(islice(spelled_out(query), MAX_QUERY_WORDS))
        matches = self._everyday.matches(words, [self._stems[word] for word in words])
        starts = {match.places[0]: match for match in matches}
        taken = {place for match in matches for place in match.places}
        concepts: dict[str, Concept] = {}
        for place, word in enumerate(words):
            match = starts.get(place)
            if match:
                concept = self._concept(tuple(words[at] for at in match.places), match.terms)
            elif place not in taken and word not in STOP_WORDS:
                concept = self._concept((word,), ())
            else:
                continue
            concepts.setdefault(concept.words, concept)
        return list(concepts.values()) or [
            self._concept((word,), ()) for word in dict.fromkeys(words)
        ]

    def _concept(self, words: tuple[str, ...], meant: Terms) -> Concept:
        """Words with the terms that may stand for them; `meant` are those of a phrase."""
        concept = self._stored.get((words, meant))
        if concept is None:
            terms = self._terms(words, meant)
            concept = Concept(" ".join(words), terms, _meaning(terms))
            if len(self._stored) >= MOST_KNOWN:
                self._stored.clear()
            self._stored[words, meant] = concept
        return concept

    def _terms(self, words: tuple[str, ...], meant: Terms) -> dict[Term, float]:
        terms: dict[Term, float] = {}
        if len(words) == 1:
            terms[(self._stems[words[0]],)] = 1.0
        for term in meant:
            terms.setdefault(term, EVERYDAY_WEIGHT)
        if len(words) == 1:
            others, weight = synonyms(words[0]), SYNONYM_WEIGHT
        else:
            others, weight = tuple(word for word in words if word not in STOP_WORDS), PART_WEIGHT
        for other in others:
            terms.setdefault((self._stems[other],), weight)
        return terms


def _meaning(terms: Mapping[Term, float]) -> Meaning:
    best: dict[str, float] = {}
    for term, weight in terms.items():
        for stem in term:
            best[stem] = max(best.get(stem, 0.0), weight / sqrt(len(term)))
    by_weight: dict[float, set[str]] = {}
    for stem, weight in best.items():
        by_weight.setdefault(weight, set()).add(stem)
    return [(weight, frozenset(by_weight[weight])) for weight in sorted(by_weight, reverse=True)]
