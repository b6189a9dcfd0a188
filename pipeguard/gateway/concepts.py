"""A parsed query: its phrases and words, each with its synonyms.

What people say for what tools do are the phrases of `everyday.yaml`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from itertools import islice
from math import sqrt
from typing import Any, NamedTuple

import tantivy
import yaml

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


class _Everyday:
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
    rows: dict[str, str] = read_data("everyday.yaml")
    return {
        tuple(_split_list(terms)): tuple(_split_list(phrases)) for terms, phrases in rows.items()
    }


def _split_list(text: str) -> Iterator[str]:
    return (part.strip() for part in text.split(","))


def _places(
    parts: Sequence[Sequence[str]], words: Sequence[str], stems: Sequence[str], start: int
) -> tuple[int, ...]:
    """Positions of a phrase that begins at `start`; empty if it does not."""
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
    """Positions of the words of a part, in order but for determiners."""
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
        self._everyday = _Everyday(stems)
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


# --- stems ------------------------------------------------------------------------------
# The stems of words, as the index has them (Snowball's, for English), and those of a tool.

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

    def find_field(self, concept: Concept) -> str:
        """The field that matches a concept best, the word before its synonyms; or empty."""
        for term in concept.terms:
            if self.everything.issuperset(term):
                return next(field for field, stems in self.fields.items() if term[0] in stems)
        return ""

    @cached_property
    def everything(self) -> frozenset[str]:
        """The stems of all fields."""
        return frozenset().union(*self.fields.values())

    def names_tool(self, stems: Set[str]) -> bool:
        """True where a query is the name of this tool, of its server, or of both."""
        server, name = self.fields["server"], self.fields["name"]
        return (server <= stems or name <= stems) and server | name >= stems

    def names_server(self, stems: Set[str]) -> bool:
        """True where a query is the name of its server, which no tool chooses, or of both."""
        server, name = self.fields["server"], self.fields["name"]
        return server <= stems and server | name >= stems

    def is_clone(self, other: ToolStems) -> bool:
        """True where both say nearly the same of themselves."""
        return len(self.all & other.all) >= CLONE_SHARE * len(self.all | other.all)


Scored = tuple[float, int, ToolStems]  # score, key, and the stems


def without_clones(rows: Iterable[Scored], limit: int) -> list[Scored]:
    """The first of them, those last of which there are enough already."""
    first, last = list[Scored](), list[Scored]()
    for row in rows:
        alike = sum(row[2].is_clone(other) for _, _, other in first)
        (last if alike >= MOST_CLONES else first).append(row)
        if len(first) == limit:
            break
    return (first + last)[:limit]


def coverage(stems: Set[str], concepts: Iterable[Concept]) -> float:
    """The number of concepts that a tool matches; a synonym counts less than one."""
    covered = 0.0
    for concept in concepts:
        for weight, of_weight in concept.meaning:
            if not stems.isdisjoint(of_weight):
                covered += weight
                break
    return covered


def explain(concepts: Iterable[Concept]) -> dict[str, float]:
    """The weight of each stem of a query in a name."""
    best: dict[str, float] = {}
    for concept in concepts:
        for weight, of_weight in concept.meaning:
            for stem in of_weight:
                best[stem] = max(best.get(stem, 0.0), min(1.0, NAME_BONUS + weight))
    return best


def blend(weight: float, share: float) -> float:
    """A factor of a score: 1 for a share of 1, and `1 - weight` for none."""
    return 1 - weight + weight * share


# --- words ------------------------------------------------------------------------------
# Words of names, descriptions and queries, in the form in which they are compared.

MAX_WORD_CHARS = 40  # the longest in a dictionary of English has 45; what is longer is no word
MAX_QUERY_WORDS = 48  # of a query; whoever pastes a document asks with its beginning
_WORD = re.compile(r"[^\W_]+")
# The parts of a name: where a small letter is before a capital, where the last of several
# capitals begins a word (`HTTPServer`), and where letters and digits meet.
_PARTS = re.compile(
    r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=\d)(?=[^\W\d])|(?<=[^\W\d])(?=\d)"
)


def read_data(name: str) -> Any:
    """The contents of a YAML file beside this module."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = resources.files("pipeguard.gateway").joinpath(name).read_text("utf-8")
    return yaml.load(text, loader)  # noqa: S506  both loaders are safe


def _by_word(groups: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {}
    for group in groups.splitlines():
        words = group.split()
        for word in words:
            found.setdefault(word, {}).update((other, None) for other in words if other != word)
    return {word: tuple(others) for word, others in found.items()}


_THESAURUS: dict[str, Any] = read_data("thesaurus.yaml")
STOP_WORDS = frozenset(_THESAURUS["stop-words"].split())
SYNONYMS = _by_word(_THESAURUS["synonyms"])
ABBREVIATIONS: dict[str, str] = _THESAURUS["abbreviations"]


def split_words(text: str) -> Iterator[str]:
    """Each word of a text in lower case, names in their parts: `listPullRequests2` has four."""
    for match in _WORD.finditer(unicodedata.normalize("NFKC", text)):
        for part in _PARTS.split(match[0]):
            if len(part) <= MAX_WORD_CHARS:
                yield part.casefold()


def spelled_out(text: str) -> Iterator[str]:
    """Each word of a request, abbreviations in full: `PR` has two."""
    for word in split_words(text):
        yield from ABBREVIATIONS.get(word, word).split()


def synonyms(word: str) -> tuple[str, ...]:
    """Synonyms of a thing or an action; empty if none are known."""
    return SYNONYMS.get(word, ())
