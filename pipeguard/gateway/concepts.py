"""A parsed query: its phrases and words, each with its synonyms.

`everyday.yaml` has the phrases that people use for what tools do; `neighbours.bin` has the English
words nearest in meaning to each other.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property, lru_cache
from heapq import nlargest
from itertools import chain
from math import sqrt
from sys import intern
from typing import NamedTuple

from tantivy import Filter, TextAnalyzer, TextAnalyzerBuilder, Tokenizer

from pipeguard.gateway.neighbours import (
    ACTIONS,
    MAX_QUERY_WORDS,
    STOP_WORDS,
    Neighbours,
    first_words,
    is_slip,
    read_data,
    spelled_out,
    synonyms,
)

SYNONYM_WEIGHT = 0.4
EVERYDAY_WEIGHT = 0.5  # of the terms of an everyday phrase
NEIGHBOUR_WEIGHT = 0.4  # of a word nearest in meaning, times its likeness
PART_WEIGHT = 0.4  # of a single word of such a phrase
TOLD_WEIGHTS = (1.0, EVERYDAY_WEIGHT, SYNONYM_WEIGHT, PART_WEIGHT)  # by a table of words
MOST_KNOWN = 10_000  # concepts that are remembered
MOST_CLAUSES = 12  # of a request
LEAST_CLAUSE_WORDS = 3
_CLAUSE_END = re.compile(r"[.!?;:,]+(?=\s|$)|[。！？]|\n|,?\s+(?:and\s+)?(?:then|also)\b", re.I)
GAP = "~"
BESIDE = "+"
MOST_BETWEEN = 4  # words in a gap of a phrase
# May stand anywhere within a phrase: "hit that enter" is "hit enter".
DETERMINERS = frozenset(
    ("a", "an", "the", "my", "our", "your", "his", "her", "their", "this", "that", "these", "those")
)


Term = tuple[str, ...]  # the stems of a term's words
Terms = tuple[Term, ...]
Match = tuple[tuple[int, ...], Terms]  # places of a phrase in a request, and its possible terms


class _Phrase(NamedTuple):
    """A phrase of the table.

    Attributes:
        parts: its stems, split at its gaps.
        terms: the terms that it may stand for.
        stems: of all parts.
        beside: its last word if that is only next to the phrase, or an empty string.
    """

    parts: tuple[tuple[str, ...], ...]
    terms: Terms
    stems: frozenset[str]
    beside: str


class _Everyday:
    """The phrases of the table, by their first stem and their last."""

    def __init__(self, stems: Mapping[str, str]) -> None:
        self._phrases: dict[str, dict[str, list[_Phrase]]] = {}
        merged: dict[tuple[tuple[tuple[str, ...], ...], str], dict[Term, None]] = {}
        for terms, phrases in table().items():
            meant = [tuple(stems[word] for word in spelled_out(term)) for term in terms]
            for phrase in phrases:
                parts = tuple(
                    tuple(stems[word] for word in spelled_out(part)) for part in phrase.split(GAP)
                )
                beside = phrase.partition(BESIDE)[2]
                merged.setdefault((parts, beside), {}).update(dict.fromkeys(meant))
        for (parts, beside), found in merged.items():
            entry = _Phrase(parts, tuple(found), frozenset().union(*parts), beside)
            by_last = self._phrases.setdefault(parts[0][0], {})
            by_last.setdefault(parts[-1][-1], []).append(entry)

    def matches(self, words: Sequence[str], stems: Sequence[str]) -> list[Match]:
        """The phrases of a request, without overlaps.

        Of overlapping ones, the one with more words is taken, then the one with fewer gaps.
        """
        found = []
        everything = frozenset(stems)
        for start, stem in enumerate(stems):
            by_last = self._phrases.get(stem)
            if by_last is None:
                continue
            lasts = sorted(by_last.keys() & everything)
            for phrase in chain.from_iterable(by_last[last] for last in lasts):
                is_short = len(phrase.parts) == len(phrase.parts[0]) == 1
                if not phrase.stems <= everything or (is_short and words[start] in STOP_WORDS):
                    continue  # `can` is not `canned`
                places = _places(phrase.parts, words, stems, start)
                if not places or (phrase.beside and words[places[-1]] != phrase.beside):
                    continue
                own = places[:-1] if phrase.beside else places
                found.append((-len(places), len(phrase.parts), start, own, phrase.terms))
        found.sort(key=lambda row: row[:3])
        taken: set[int] = set()
        chosen = []
        for _, _, _, places, terms in found:
            if taken.isdisjoint(places):
                taken.update(places)
                chosen.append((places, terms))
        return sorted(chosen)


def table() -> dict[tuple[str, ...], tuple[str, ...]]:
    """The table as written: phrases by the terms for which they may stand."""
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
    """Positions of the words of a part, in order except for determiners."""
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
        words: as in the query.
        terms: terms that may stand for them, with weights; heavier ones first.
        worths: of each single stem, the greatest first.
        near: those terms that are only near in meaning.
        double: terms left out because they are words of the query themselves.
        is_known: True for words of English or of the tables; False for a name or a number.
    """

    words: str
    terms: Mapping[Term, float]
    worths: Mapping[str, float]
    near: frozenset[Term]
    double: frozenset[Term]
    is_known: bool

    @property
    def is_plural(self) -> bool:
        """True for a plural word."""
        return self.words.endswith("s") and (self.words,) not in self.terms


class Concepts:
    """The concepts of queries.

    Args:
        stems: of words.
    """

    def __init__(self, stems: Mapping[str, str]) -> None:
        self._stems = stems
        self._everyday = _Everyday(stems)
        self._neighbours = Neighbours()
        self._terms = lru_cache(MOST_KNOWN)(self._find_terms)
        self._make = lru_cache(MOST_KNOWN)(self._make_concept)

    def of(self, query: str) -> list[Concept]:
        """The concepts of a query; of all its words if it has only stop words."""
        return self._of_words(first_words(query))

    def of_clauses(self, query: str) -> list[list[Concept]]:
        """The concepts of each clause of a request; empty for a single clause.

        Short clauses join the next one; a short last clause joins the previous one.
        """
        clauses: list[list[str]] = [[]]
        for clause in _CLAUSE_END.split(query):
            is_last_full = len(clauses[-1]) >= LEAST_CLAUSE_WORDS and len(clauses) < MOST_CLAUSES
            words = first_words(clause)
            if is_last_full:
                clauses.append([*words])
            else:
                clauses[-1] += words
        if len(clauses) > 1 and len(clauses[-1]) < LEAST_CLAUSE_WORDS:
            last = clauses.pop()
            clauses[-1] += last
        clauses = clauses if len(clauses) > 1 else []
        return [self._of_words(words[:MAX_QUERY_WORDS]) for words in clauses]

    def _of_words(self, words: list[str]) -> list[Concept]:
        """The concepts of words; no two share a term that is a word of the query."""
        matches = self._everyday.matches(words, [self._stems[word] for word in words])
        starts = {places[0]: (places, meant) for places, meant in matches}
        taken = {place for places, _ in matches for place in places}
        parts: dict[tuple[str, ...], Terms] = {}
        for place, word in enumerate(words):
            match = starts.get(place)
            if match:
                parts.setdefault(tuple(words[at] for at in match[0]), match[1])
            elif place not in taken and word not in STOP_WORDS:
                parts.setdefault((word,), ())
        parts = parts or {(word,): () for word in words}
        own = frozenset(self._stems[part[0]] for part in parts if len(part) == 1)
        return [self._concept(part, meant, own) for part, meant in parts.items()]

    def _concept(self, words: tuple[str, ...], meant: Terms, own: frozenset[str]) -> Concept:
        """Words with the terms that may stand for them; `meant` are those of a phrase.

        In "commit history", `history` may mean `commit` but adds nothing: `own` has the stems of
        all single words.
        """
        terms, others = self._terms(words, meant)
        double: frozenset[Term] = frozenset()
        if not own.isdisjoint(others):
            double = frozenset(
                term for term, weight in terms.items() if weight < 1 and own.issuperset(term)
            )
        return self._make(words, meant, double)

    def _make_concept(
        self, words: tuple[str, ...], meant: Terms, double: frozenset[Term]
    ) -> Concept:
        terms, _ = self._terms(words, meant)
        left = {term: weight for term, weight in terms.items() if term not in double}
        is_known = bool(meant) or self._stems[words[0]] in self._neighbours
        near = frozenset(term for term, weight in left.items() if weight not in TOLD_WEIGHTS)
        return Concept(" ".join(words), left, _find_worths(left), near, double, is_known)

    def _find_terms(
        self, words: tuple[str, ...], meant: Terms
    ) -> tuple[dict[Term, float], frozenset[str]]:
        """The terms that may stand for words, and the stems of terms other than the words."""
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
        if len(words) == 1:
            for stem, likeness in self._neighbours.of(self._stems[words[0]]):
                terms.setdefault((stem,), NEIGHBOUR_WEIGHT * likeness)
        terms = dict(sorted(terms.items(), key=lambda item: -item[1]))
        others_of = chain.from_iterable(term for term, weight in terms.items() if weight < 1)
        return terms, frozenset(others_of)


def _find_worths(terms: Mapping[Term, float]) -> dict[str, float]:
    """The worth of each single stem: that of the best term that has it."""
    best: dict[str, float] = {}
    for term, weight in terms.items():
        worth = weight / sqrt(len(term))
        for stem in term:
            if worth > best.get(stem, 0.0):
                best[stem] = worth
    return dict(sorted(best.items(), key=lambda item: -item[1]))


MOST_BEST = 10  # of these, the possible matches of the clause
CLAUSE_WEIGHT = 0.5  # of the clause that fits a tool best, next to their sum


def fuse(clauses: Sequence[Sequence[tuple[float, int]]], limit: int) -> list[tuple[float, int]]:
    """Scores of a request from those of its clauses: their sum, and the best share of one."""
    sums: dict[int, float] = {}
    best: dict[int, float] = {}
    for scored in clauses:
        for place, (score, key) in enumerate(scored):
            sums[key] = sums.get(key, 0.0) + score
            if place < MOST_BEST:
                best[key] = max(best.get(key, 0.0), score / scored[0][0])
    greatest = max(sums.values(), default=1.0)
    fused = (
        ((1 - CLAUSE_WEIGHT) * total / greatest + CLAUSE_WEIGHT * best.get(key, 0.0), key)
        for key, total in sums.items()
    )
    return nlargest(limit, fused)


# --- stems ------------------------------------------------------------------------------
# The stems of words, as the index has them (Snowball's, for English), and those of a tool.

# Of different actions in a text: five of 927 real tools have more.
MOST_ACTIONS, WORDS_PER_ACTION = 6.5, 20  # in any text; in long ones another for so many words
NAME_BONUS = 0.4  # so that a synonym explains a name about as well as the word itself
LIKE_FIELDS = ("name", "title", "server")  # in which a name may be short or slipped
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

    @cached_property
    def actions(self) -> dict[str, int]:
        """The numbers of actions, by the stems of their words."""
        return {self[word]: number for word, number in ACTIONS.items()}


def stemmer() -> TextAnalyzer:
    """A stemmer for words that are already split and in lower case."""
    split = TextAnalyzerBuilder(Tokenizer.whitespace())
    plain = split.filter(Filter.ascii_fold())
    return plain.filter(Filter.stemmer("english")).build()


class ToolStems:
    """The stems of a tool, by field, each with the first word that has it."""

    def __init__(self, words: Mapping[str, Iterable[str]], stems: Stems) -> None:
        self.fields: dict[str, dict[str, str]] = {}
        for field, of_field in words.items():
            spelled = self.fields[field] = {}
            for word in of_field:
                stem = stems[word]
                if stem not in spelled:
                    spelled[stem] = intern(word)  # many tools have it
        self._focus = min(_find_focus(text, stems) for text in self.fields.values())

    def blend(self, weight: float, named: float) -> float:
        """A factor for the share of its name that a query explains.

        The weight of a name is more for a tool whose texts claim very many actions.
        """
        return blend(1 - (1 - weight) * self._focus, named)

    @cached_property
    def all(self) -> frozenset[str]:
        """The stems of the tool's description of itself; clones may differ in numbers."""
        own = chain.from_iterable(self.fields[field] for field in ("name", "title", "description"))
        return frozenset(stem for stem in own if not stem.isdigit())

    @cached_property
    def everything(self) -> frozenset[str]:
        """The stems of all fields."""
        return frozenset().union(*self.fields.values())

    def names(self, stems: Set[str]) -> tuple[bool, bool]:
        """True if a query is the name of the tool's server, and true if it is the tool's name.

        The query may contain both. A tool does not choose its server's name.
        """
        server, name = self.fields["server"].keys(), self.fields["name"].keys()
        if len(stems) > len(server) + len(name) or not server | name >= stems:
            return False, False
        return server <= stems, name <= stems

    def is_clone(self, other: "ToolStems") -> bool:
        """True if both describe themselves in nearly the same words."""
        return len(self.all & other.all) >= CLONE_SHARE * len(self.all | other.all)


def _find_focus(text: Collection[str], stems: Stems) -> float:
    """1 for a text with few actions for its length."""
    actions = len({stems.actions[stem] for stem in text if stem in stems.actions})
    most = MOST_ACTIONS + len(text) / WORDS_PER_ACTION
    return min(1.0, most / max(actions, 1)) ** 4


Scored = tuple[float, int, ToolStems]  # score, key, and the stems


def without_clones(rows: Iterable[Scored], limit: int) -> list[Scored]:
    """The first rows up to the limit; surplus clones come last."""
    first, last = list[Scored](), list[Scored]()
    for row in rows:
        alike = sum(row[2].is_clone(other) for _, _, other in first)
        (last if alike >= MOST_CLONES else first).append(row)
        if len(first) == limit:
            break
    return (first + last)[:limit]


def coverage(stems: Set[str], concepts: Iterable[Concept]) -> float:
    """The number of concepts that a tool matches; a synonym counts less than one."""
    total = 0.0
    for concept in concepts:
        if stems.isdisjoint(concept.worths):  # as most are
            continue
        for stem, worth in concept.worths.items():
            if stem in stems:
                total += worth
                break
    return total


def find_worth(concept: Concept, stems: Set[str]) -> float:
    """The worth of the best match of a concept; 0 if there is no match."""
    return coverage(stems, (concept,))


class WordMatch(NamedTuple):
    """Words of a query that a tool matches.

    Attributes:
        asked: as they are in the query.
        word: the tool's own.
        field: the tool's field that has it.
        is_same: True if both are one word, perhaps in another form.
    """

    asked: str
    word: str
    field: str
    is_same: bool


def find_match(concept: Concept, tool: ToolStems) -> tuple[Term, str] | None:
    """The term of a concept that a tool matches best, and its field."""
    if tool.everything.isdisjoint(concept.worths):
        return None
    for term in filter(tool.everything.issuperset, concept.terms):
        for field, stems in tool.fields.items():
            if all(map(stems.__contains__, term)):
                return term, field
    return None


def find_likeness(concept: Concept, tool: ToolStems) -> WordMatch | None:
    """The word of a name that an unknown word may abbreviate or misspell."""
    for field in LIKE_FIELDS:
        for word in tool.fields[field].values():
            if word.startswith(concept.words) or is_slip(concept.words, word):
                return WordMatch(concept.words, word, field, is_same=False)
    return None


def explain(concepts: Iterable[Concept]) -> dict[str, float]:
    """The weight of each stem of a query in a name."""
    best: dict[str, float] = {}
    for concept in concepts:
        for stem, worth in concept.worths.items():
            weight = NAME_BONUS + worth if worth < 1 - NAME_BONUS else 1.0
            if weight > best.get(stem, 0.0):
                best[stem] = weight
    return best


def blend(weight: float, share: float) -> float:
    """A factor of a score: 1 for a share of 1, and `1 - weight` for none."""
    return 1 - weight + weight * share
