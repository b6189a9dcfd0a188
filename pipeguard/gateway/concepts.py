"""What a query asks for: its phrases and words, each with the terms that may stand for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from math import sqrt
from typing import NamedTuple

from pipeguard.gateway.everyday import Everyday, Term
from pipeguard.gateway.words import MAX_QUERY_WORDS, STOP_WORDS, spelled_out, synonyms

SYNONYM_WEIGHT = 0.6
EVERYDAY_WEIGHT = 0.75  # of what a phrase of everyday language stands for
PART_WEIGHT = 0.5  # of a single word of such a phrase

StemWeights = dict[
    str, list[tuple[int, float]]
]  # by stem: a concept's number, and the weight there


class Concept(NamedTuple):
    """A phrase or a word of a query.

    Attributes:
        words: as they were asked.
        terms: what may stand for them, each with its weight; those of greater weight first.
    """

    words: str
    terms: Mapping[Term, float]


def concepts_of(query: str, everyday: Everyday, stems: Mapping[str, str]) -> list[Concept]:
    """The concepts of a query; of all its words where none says anything."""
    words = list(islice(spelled_out(query), MAX_QUERY_WORDS))
    matches = everyday.matches(words, [stems[word] for word in words])
    starts = {match.places[0]: match for match in matches}
    taken = {place for match in matches for place in match.places}
    concepts: dict[str, Concept] = {}
    for place, word in enumerate(words):
        match = starts.get(place)
        if match:
            concept = _concept([words[at] for at in match.places], stems, match.terms)
        elif place not in taken and word not in STOP_WORDS:
            concept = _concept([word], stems)
        else:
            continue
        concepts.setdefault(concept.words, concept)
    return list(concepts.values()) or [_concept([word], stems) for word in dict.fromkeys(words)]


def weights_by_stem(concepts: Iterable[Concept]) -> StemWeights:
    """What each stem is worth to each concept."""
    found: StemWeights = {}
    for number, concept in enumerate(concepts):
        best: dict[str, float] = {}
        for term, weight in concept.terms.items():
            for stem in term:
                best[stem] = max(best.get(stem, 0.0), weight / sqrt(len(term)))
        for stem, weight in best.items():
            found.setdefault(stem, []).append((number, weight))
    return found


def _concept(words: Sequence[str], stems: Mapping[str, str], meant: Sequence[Term] = ()) -> Concept:
    """Words with the terms that may stand for them; `meant` are those of a phrase."""
    terms: dict[Term, float] = {}
    if len(words) == 1:
        terms[(stems[words[0]],)] = 1.0
    for term in meant:
        terms.setdefault(term, EVERYDAY_WEIGHT)
    if len(words) == 1:
        others, weight = synonyms(words[0]), SYNONYM_WEIGHT
    else:
        others, weight = tuple(word for word in words if word not in STOP_WORDS), PART_WEIGHT
    for other in others:
        terms.setdefault((stems[other],), weight)
    return Concept(" ".join(words), terms)
