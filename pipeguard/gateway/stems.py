"""The stems of words, as the index has them (Snowball's, for English), and those of a tool.

How much of a query a tool's stems answer is what a search ranks its hits by.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from functools import cached_property

import tantivy

from pipeguard.gateway.concepts import Concept

NAME_BONUS = 0.4  # so that a synonym explains a name about as well as the word itself
CLONE_SHARE = 0.8  # of all words of two tools
MOST_CLONES = 2
MOST_STEMS = 100_000  # that are remembered


class Stems(dict[str, str]):
    """The stem of each word that was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self._analyzer = stemmer()

    def __missing__(self, word: str) -> str:
        stem: str = (self._analyzer.analyze(word) or [word])[0]
        if len(self) < MOST_STEMS:
            self[word] = stem
        return stem


def stemmer() -> tantivy.TextAnalyzer:
    """Stems of words that are split and in lower case already."""
    split = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace())
    plain = split.filter(tantivy.Filter.ascii_fold())
    return plain.filter(tantivy.Filter.stemmer("english")).build()


class ToolStems:
    """The stems of a tool, by field."""

    def __init__(self, words: Mapping[str, Iterable[str]], stems: Mapping[str, str]) -> None:
        self.fields = {
            field: frozenset(stems[word] for word in of_field) for field, of_field in words.items()
        }

    @cached_property
    def all(self) -> frozenset[str]:
        """The stems of what it says of itself; numbers tell no clones apart."""
        words = self.fields["name"] | self.fields["title"] | self.fields["description"]
        return frozenset(word for word in words if not word.isdigit())

    def field_of(self, concept: Concept) -> str:
        """The field that matches a concept best, the word before its synonyms; or empty."""
        for term in concept.terms:
            if self.everything.issuperset(term):
                return next(field for field, stems in self.fields.items() if term[0] in stems)
        return ""

    @cached_property
    def everything(self) -> frozenset[str]:
        """The stems of all fields."""
        return frozenset().union(*self.fields.values())

    def is_named_by(self, stems: Set[str]) -> bool:
        """True where a query is the name of this tool, of its server, or of both."""
        server, name = self.fields["server"], self.fields["name"]
        return (server <= stems or name <= stems) and server | name >= stems

    def is_server_named_by(self, stems: Set[str]) -> bool:
        """True where a query is the name of its server, which no tool chooses, or of both."""
        server, name = self.fields["server"], self.fields["name"]
        return server <= stems and server | name >= stems

    def is_clone_of(self, other: ToolStems) -> bool:
        """True where both say nearly the same of themselves."""
        return len(self.all & other.all) >= CLONE_SHARE * len(self.all | other.all)


Scored = tuple[float, int, ToolStems]  # score, key, and the stems


def without_clones(rows: Iterable[Scored], limit: int) -> list[Scored]:
    """The first of them, those last of which there are enough already."""
    first, last = list[Scored](), list[Scored]()
    for row in rows:
        alike = sum(row[2].is_clone_of(other) for _, _, other in first)
        (last if alike >= MOST_CLONES else first).append(row)
        if len(first) == limit:
            break
    return (first + last)[:limit]


def coverage(stems: Set[str], concepts: Iterable[Concept]) -> float:
    """How many concepts a tool matches at all; by less than one where a synonym does."""
    covered = 0.0
    for concept in concepts:
        for weight, of_weight in concept.meaning:
            if not stems.isdisjoint(of_weight):
                covered += weight
                break
    return covered


def explained_by(concepts: Iterable[Concept]) -> dict[str, float]:
    """How well each stem of a query explains the same stem in a name."""
    best: dict[str, float] = {}
    for concept in concepts:
        for weight, of_weight in concept.meaning:
            for stem in of_weight:
                best[stem] = max(best.get(stem, 0.0), min(1.0, NAME_BONUS + weight))
    return best


def blend(weight: float, share: float) -> float:
    """A factor of a score: 1 for a share of 1, and `1 - weight` for none."""
    return 1 - weight + weight * share
