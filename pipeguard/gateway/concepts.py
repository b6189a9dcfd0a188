"""What a query asks for: its phrases and words, each with the terms that may stand for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from math import sqrt

from pipeguard.gateway.everyday import Everyday, Term, Terms
from pipeguard.gateway.words import MAX_QUERY_WORDS, STOP_WORDS, spelled_out, synonyms

SYNONYM_WEIGHT = 0.6
EVERYDAY_WEIGHT = 0.75  # of what a phrase of everyday language stands for
PART_WEIGHT = 0.5  # of a single word of such a phrase
MOST_KNOWN = 10_000  # concepts that are remembered

# What stems are worth to a concept: the greatest weight first, each with the stems that have it.
Meaning = list[tuple[float, frozenset[str]]]


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
