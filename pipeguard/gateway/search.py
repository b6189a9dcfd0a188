"""Finds the tools that a request in a user's words is about: BM25 over fields, then a re-rank.

Knows words, not permissions: who may find what is handed in as a filter, which holds before
anything is ranked. The index is Tantivy's, in memory; it follows the tools as they change.

Ranking, in this order:

1. A query is split into concepts: phrases of everyday language (`everyday.yaml`), and the other
   words, each with what else it is called. A concept scores by its best term in its best field
   (disjunction max), a tool by the sum of its concepts. BM25 weighs words by how rare they are,
   and long descriptions down. A word counts at most twice in a field, so that repeating it gains
   nothing.
2. The best `WINDOW` are weighted by the share of concepts that they match at all, and by the
   share of their name that the query explains: "throw away that memo" is `delete_note` before
   `delete_note_attachment`.
3. What asks for a server or a tool by its name gets it first, whatever others say of themselves.
4. Of tools that say the same (`CLONE_SHARE`), `MOST_CLONES` are before all others; the rest come
   last.

Sources: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009);
the figures were chosen on `benchmarks/search`'s training part.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from functools import cached_property
from math import log, sqrt
from typing import NamedTuple

import tantivy
from tantivy import Occur, Query

from pipeguard.gateway.concepts import Concept, StemWeights, concepts_of, weights_by_stem
from pipeguard.gateway.everyday import Everyday, Term
from pipeguard.gateway.stems import MOST_STEMS, Stems, stemmer
from pipeguard.gateway.words import STOP_WORDS, words_of

# Of each field: what a match in it is worth.
FIELDS: dict[str, float] = {
    "name": 2.6,
    "title": 1.8,
    "description": 1.0,
    "parameters": 0.7,
    "server": 1.4,
    "tags": 1.4,
}
TIE_BREAKER = 0.15  # of a concept's other terms, and of a term's other fields
COVERAGE_WEIGHT = 0.6
NAME_WEIGHT = 0.4
NAME_BONUS = 0.4  # so that a synonym explains a name about as well as the word itself
WINDOW = 40  # hits that are ranked again
MOST_REPEATS = 2  # of a word in a field
CLONE_SHARE = 0.8  # of all words of two tools
MOST_CLONES = 2
EARLY_PROFILES = 10_000  # made with the index; others when they are found, to save memory
INDEX_BYTES = 15_000_000  # Tantivy's least, for a writer; freed after each change
_TOKENIZER = "stems"


class ToolText(NamedTuple):
    """What is indexed of one tool.

    Attributes:
        key: its number in the index; the same tool keeps it.
        server: the server's name, as users know it.
        name: the tool's.
        title: for people; may be empty.
        description: may be empty.
        parameters: names and descriptions of its parameters.
        tags: of its server, and its own.
        effect: `read`, `write` or `destructive`.
    """

    key: int
    server: str
    name: str
    title: str = ""
    description: str = ""
    parameters: str = ""
    tags: str = ""
    effect: str = ""

    def field(self, name: str) -> str:
        """The text of a field."""
        text: str = getattr(self, name)
        return text


class SearchHit(NamedTuple):
    """A tool that a search found.

    Attributes:
        tool: what was indexed of it.
        score: greater is better; comparable within one search only.
        why: words of the query, each with the field in which it was found.
    """

    tool: ToolText
    score: float
    why: tuple[tuple[str, str], ...]


class Filter(NamedTuple):
    """What may be found at all.

    Attributes:
        servers: names of servers; None for all.
        effects: `read`, `write`, `destructive`; None for all.
        keys: of tools; None for all.
    """

    servers: Collection[str] | None = None
    effects: Collection[str] | None = None
    keys: Collection[int] | None = None


class ToolIndex:
    """Tools by the words that they are described with. For one thread at a time."""

    def __init__(self) -> None:
        self._schema = _schema()
        self._index = tantivy.Index(self._schema)
        self._index.register_tokenizer(_TOKENIZER, stemmer())
        self._stems = Stems()
        self._tools: dict[int, ToolText] = {}
        self._profiles: dict[int, _Profile] = {}
        self._rarities: dict[str, float] = {}
        self._queries: dict[str, Query] = {}

    def __len__(self) -> int:
        return len(self._tools)

    @cached_property
    def _everyday(self) -> Everyday:
        return Everyday(self._stems)  # with the first search

    def replace(self, tools: Iterable[ToolText]) -> None:
        """Hold these tools and no others; only what differs is indexed again."""
        now = {tool.key: tool for tool in tools}
        gone = [key for key, tool in self._tools.items() if now.get(key) != tool]
        new = [tool for key, tool in now.items() if self._tools.get(key) != tool]
        if not gone and not new:
            return
        writer = self._index.writer(heap_size=INDEX_BYTES, num_threads=1)
        for key in gone:
            writer.delete_documents_by_query(Query.term_query(self._schema, "key", key))
            self._profiles.pop(key, None)
        for tool in new:
            words = {field: list(words_of(tool.field(field))) for field in FIELDS}
            writer.add_document(_document(tool, words))
            if len(self._profiles) < EARLY_PROFILES:
                self._profiles[tool.key] = _Profile(words, self._stems)
        writer.commit()
        writer.wait_merging_threads()
        self._index.reload()
        self._rarities.clear()
        self._tools = now

    def search(self, query: str, limit: int, only: Filter | None = None) -> list[SearchHit]:
        """The tools that a query is about, the best first.

        Args:
            query: in a user's words.
            limit: at most so many.
            only: what may be found at all.
        """
        concepts = concepts_of(query, self._everyday, self._stems)
        if not concepts or not self._tools or limit < 1:
            return []
        wanted = Query.boolean_query(
            [(Occur.Should, self._query_of(concept)) for concept in concepts]
        )
        filters = list(_filters(self._schema, only or Filter()))
        if filters:
            wanted = Query.boolean_query([(Occur.Must, part) for part in (wanted, *filters)])
        searcher = self._index.searcher()
        hits = searcher.search(wanted, max(WINDOW, limit)).hits
        scored = [(score, searcher.doc(address)["key"][0]) for score, address in hits]
        return self._ranked(concepts, scored, limit)

    # --- first: what is looked up ---------------------------------------------------------

    def _query_of(self, concept: Concept) -> Query:
        """The best of a concept's terms."""
        parts = [
            self._query_of_term(term, weight)
            for term, weight in concept.terms.items()
            if any(self._rarity(stem) for stem in term)
        ]
        return Query.disjunction_max_query(parts, TIE_BREAKER) if parts else Query.empty_query()

    def _query_of_term(self, term: Term, weight: float) -> Query:
        """The mean of a term's words."""
        if len(term) == 1:
            return Query.boost_query(self._query_of_stem(term[0]), weight)
        words = [(Occur.Should, self._query_of_stem(stem)) for stem in term]
        return Query.boost_query(Query.boolean_query(words), weight / len(term))

    def _query_of_stem(self, stem: str) -> Query:
        """A stem in its best field."""
        query = self._queries.get(stem)
        if query is None:
            parts = [
                Query.boost_query(Query.term_query(self._schema, field, stem), worth)
                for field, worth in FIELDS.items()
            ]
            query = Query.disjunction_max_query(parts, TIE_BREAKER)
            if len(self._queries) < MOST_STEMS:
                self._queries[stem] = query
        return query

    def _rarity(self, stem: str) -> float:
        """How much a stem tells: its inverse document frequency, 0 where no tool has it."""
        rarity = self._rarities.get(stem)
        if rarity is None:
            searcher = self._index.searcher()
            count = max(searcher.doc_freq(field, stem) for field in FIELDS)
            others = max(
                len(self._tools) - count, 0
            )  # it counts deleted ones, until they are merged
            rarity = log(1 + (others + 0.5) / (count + 0.5)) if count else 0.0
            if len(self._rarities) < MOST_STEMS:
                self._rarities[stem] = rarity
        return rarity

    # --- then: how it is ranked -----------------------------------------------------------

    def _ranked(
        self, concepts: list[Concept], scored: list[tuple[float, int]], limit: int
    ) -> list[SearchHit]:
        telling = (word for concept in concepts for word in concept.words.split())
        asked = {self._stems[word] for word in telling if word not in STOP_WORDS}
        weights = weights_by_stem(concepts)
        rows = []
        for score, key in scored:
            profile = self._profile(key)
            covered = _coverage(profile, weights) / len(concepts)
            named = self._share_of_name(profile, weights)
            weighed = score * _blend(COVERAGE_WEIGHT, covered) * _blend(NAME_WEIGHT, named)
            rows.append((profile.is_named_by(asked), weighed, key))
        rows.sort(key=lambda row: (-row[0], -row[1], row[2]))
        return [
            SearchHit(self._tools[key], score, self._why(concepts, key))
            for _, score, key in self._without_clones(rows, limit)
        ]

    def _share_of_name(self, profile: _Profile, weights: StemWeights) -> float:
        """How much of a tool's name a query explains, rare words counting more."""
        total = explained = 0.0
        for stem in profile.fields["name"]:
            rarity = sqrt(self._rarity(stem))
            total += rarity
            if stem in weights:
                best = max(weight for _, weight in weights[stem])
                explained += rarity * min(1.0, NAME_BONUS + best)
        return explained / total if total else 1.0

    def _without_clones(self, rows: list[_Row], limit: int) -> list[_Row]:
        """The first of them, those last of which there are enough already."""
        first: list[_Row] = []
        last: list[_Row] = []
        for row in rows:
            if len(first) == limit:
                break
            profile = self._profile(row[2])
            alike = sum(profile.is_clone_of(self._profile(key)) for _, _, key in first)
            (last if alike >= MOST_CLONES else first).append(row)
        return (first + last)[:limit]

    def _why(self, concepts: list[Concept], key: int) -> tuple[tuple[str, str], ...]:
        profile = self._profile(key)
        pairs = ((concept.words, profile.field_of(concept)) for concept in concepts)
        return tuple((word, field) for word, field in pairs if field)

    def _profile(self, key: int) -> _Profile:
        profile = self._profiles.get(key)
        if profile is None:
            tool = self._tools[key]
            words = {field: words_of(tool.field(field)) for field in FIELDS}
            profile = self._profiles[key] = _Profile(words, self._stems)
        return profile


_Row = tuple[bool, float, int]  # asked for by its name, score, key


def _coverage(profile: _Profile, weights: StemWeights) -> float:
    """How many concepts a tool matches at all; by less than one where a synonym does."""
    best: dict[int, float] = {}
    for stem in weights.keys() & profile.everything:
        for number, weight in weights[stem]:
            best[number] = max(best.get(number, 0.0), weight)
    return sum(best.values())


def _blend(weight: float, share: float) -> float:
    """A factor of a score: 1 for a share of 1, and `1 - weight` for none."""
    return 1 - weight + weight * share


class _Profile:
    """The stems of a tool, by field."""

    def __init__(self, words: Mapping[str, Iterable[str]], stems: Mapping[str, str]) -> None:
        self.fields = {
            field: frozenset(stems[word] for word in of_field) for field, of_field in words.items()
        }

    @cached_property
    def all(self) -> frozenset[str]:
        """The stems of what it says of itself."""
        return self.fields["name"] | self.fields["title"] | self.fields["description"]

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

    def is_clone_of(self, other: _Profile) -> bool:
        """True where both say nearly the same of themselves."""
        return len(self.all & other.all) >= CLONE_SHARE * len(self.all | other.all)


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_unsigned_field("key", stored=True, indexed=True, fast=True)
    for field in FIELDS:
        builder.add_text_field(field, tokenizer_name=_TOKENIZER, index_option="freq")
    for field in ("home", "effect"):
        builder.add_text_field(field, tokenizer_name="raw", index_option="basic")
    return builder.build()


def _document(tool: ToolText, words: Mapping[str, Iterable[str]]) -> tantivy.Document:
    document = tantivy.Document()
    document.add_unsigned("key", tool.key)
    document.add_text("home", tool.server)
    document.add_text("effect", tool.effect)
    for field, of_field in words.items():
        document.add_text(field, " ".join(_limited(of_field)))
    return document


def _limited(words: Iterable[str]) -> Iterator[str]:
    """Words without what is only repeated."""
    seen: dict[str, int] = {}
    for word in words:
        seen[word] = seen.get(word, 0) + 1
        if seen[word] <= MOST_REPEATS:
            yield word


def _filters(schema: tantivy.Schema, only: Filter) -> Iterator[Query]:
    """Conditions that do not change a score."""
    rows: tuple[tuple[str, Collection[str] | Collection[int] | None], ...] = (
        ("home", only.servers),
        ("effect", only.effects),
        ("key", only.keys),
    )
    for field, values in rows:
        if values is not None:
            query = Query.term_set_query(schema, field, list(values))
            yield Query.const_score_query(query, 0.0)
