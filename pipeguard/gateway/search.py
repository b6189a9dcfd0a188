"""Finds the tools that a request in a user's words is about: BM25 over fields, then a re-rank.

Knows words, not permissions: who may find what is handed in as a filter, which holds before
anything is ranked. The index is Tantivy's, in memory; it follows the tools as they change.

Ranking, in this order:

1. Each word of the query, with its synonyms at a lower weight, is one concept; a concept scores
   by its best field (disjunction max), a tool by the sum of its concepts. BM25 weighs words by
   how rare they are, and long descriptions down. A word counts at most twice in a field, so that
   repeating it gains nothing.
2. The best `WINDOW` are weighted by the share of concepts that they match at all: a tool that
   matches all words once is before one that matches a single word very well.
3. What asks for a server or a tool by its name gets it first, whatever others say of themselves.
4. Of tools that say the same (`CLONE_SHARE`), `MOST_CLONES` are before all others; the rest come
   last.

Sources: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009);
the figures were chosen on `benchmarks/search`'s training part.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from functools import cached_property
from typing import NamedTuple

import tantivy
from tantivy import Occur, Query

from pipeguard.gateway.words import query_words, synonyms, words_of

# Of each field: what a match in it is worth.
FIELDS: dict[str, float] = {
    "name": 2.6,
    "title": 1.8,
    "description": 1.0,
    "parameters": 0.7,
    "server": 1.4,
    "tags": 1.4,
}
SYNONYM_WEIGHT = 0.45
TIE_BREAKER = 0.15  # of a concept's other fields
COVERAGE_WEIGHT = 0.6
WINDOW = 40  # hits that are ranked again
MOST_REPEATS = 2  # of a word in a field
CLONE_SHARE = 0.8  # of all words of two tools
MOST_CLONES = 2
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
        self._index.register_tokenizer(_TOKENIZER, _analyzer())
        self._stems = _Stems()
        self._tools: dict[int, ToolText] = {}
        self._profiles: dict[int, _Profile] = {}

    def __len__(self) -> int:
        return len(self._tools)

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
            writer.add_document(_document(tool))
        writer.commit()
        writer.wait_merging_threads()
        self._index.reload()
        self._tools = now

    def search(self, query: str, limit: int, only: Filter | None = None) -> list[SearchHit]:
        """The tools that a query is about, the best first.

        Args:
            query: in a user's words.
            limit: at most so many.
            only: what may be found at all.
        """
        words = query_words(query)
        if not words or not self._tools or limit < 1:
            return []
        concepts = [self._concept(word) for word in words]
        wanted = Query.boolean_query(
            [(Occur.Should, self._query_of(concept)) for concept in concepts]
        )
        filters = list(_filters(self._schema, only or Filter()))
        if filters:
            wanted = Query.boolean_query([(Occur.Must, part) for part in (wanted, *filters)])
        searcher = self._index.searcher()
        hits = searcher.search(wanted, max(WINDOW, limit)).hits
        scored = [(score, searcher.doc(address)["key"][0]) for score, address in hits]
        return self._ranked(words, concepts, scored)[:limit]

    # --- first: what is looked up ---------------------------------------------------------

    def _concept(self, word: str) -> dict[str, float]:
        """The stems of a word and of its synonyms, each with its weight."""
        stems = {self._stems[word]: 1.0}
        for other in synonyms(word):
            stems.setdefault(self._stems[other], SYNONYM_WEIGHT)
        return stems

    def _query_of(self, concept: Mapping[str, float]) -> Query:
        """The best of a concept's words in its best field."""
        parts = [
            Query.boost_query(Query.term_query(self._schema, field, stem), worth * weight)
            for stem, weight in concept.items()
            for field, worth in FIELDS.items()
        ]
        return Query.disjunction_max_query(parts, TIE_BREAKER)

    # --- then: how it is ranked -----------------------------------------------------------

    def _ranked(
        self,
        words: tuple[str, ...],
        concepts: list[dict[str, float]],
        scored: list[tuple[float, int]],
    ) -> list[SearchHit]:
        asked = {self._stems[word] for word in words}
        rows = []
        for score, key in scored:
            profile = self._profile(key)
            covered = [profile.covers(concept) for concept in concepts]
            share = sum(covered) / len(covered)
            weighed = score * (1 - COVERAGE_WEIGHT + COVERAGE_WEIGHT * share)
            rows.append((profile.is_named_by(asked), weighed, key))
        rows.sort(key=lambda row: (-row[0], -row[1], row[2]))
        found = [
            SearchHit(self._tools[key], score, self._why(words, concepts, key))
            for _, score, key in rows
        ]
        return self._without_clones(found)

    def _without_clones(self, hits: list[SearchHit]) -> list[SearchHit]:
        """The same, those last of which there are enough already."""
        first: list[SearchHit] = []
        last: list[SearchHit] = []
        for hit in hits:
            profile = self._profile(hit.tool.key)
            alike = sum(profile.is_clone_of(self._profile(other.tool.key)) for other in first)
            (last if alike >= MOST_CLONES else first).append(hit)
        return first + last

    def _why(
        self, words: tuple[str, ...], concepts: list[dict[str, float]], key: int
    ) -> tuple[tuple[str, str], ...]:
        profile = self._profile(key)
        pairs = (
            (word, profile.field_of(concept)) for word, concept in zip(words, concepts, strict=True)
        )
        return tuple((word, field) for word, field in pairs if field)

    def _profile(self, key: int) -> _Profile:
        profile = self._profiles.get(key)
        if profile is None:
            profile = self._profiles[key] = _Profile(self._tools[key], self._stems)
        return profile


class _Stems(dict[str, str]):
    """The stem of each word, as the index has it."""

    def __init__(self) -> None:
        super().__init__()
        self._analyzer = _analyzer()

    def __missing__(self, word: str) -> str:
        stem: str = (self._analyzer.analyze(word) or [word])[0]
        if len(self) < MOST_STEMS:
            self[word] = stem
        return stem


MOST_STEMS = 100_000  # that are remembered


class _Profile:
    """The stems of a tool, by field; made for what a search finds."""

    def __init__(self, tool: ToolText, stems: Mapping[str, str]) -> None:
        self.fields = {
            field: frozenset(stems[word] for word in words_of(tool.field(field)))
            for field in FIELDS
        }

    @cached_property
    def all(self) -> frozenset[str]:
        """The stems of what it says of itself."""
        return self.fields["name"] | self.fields["title"] | self.fields["description"]

    def covers(self, concept: Mapping[str, float]) -> float:
        """How well a concept is matched, in any field: by the word itself, or by a synonym."""
        weights = [
            weight
            for stem, weight in concept.items()
            if any(stem in stems for stems in self.fields.values())
        ]
        return max(weights, default=0.0)

    def field_of(self, concept: Mapping[str, float]) -> str:
        """The field that matches a concept best, the word before its synonyms; or empty."""
        for stem in sorted(concept, key=concept.__getitem__, reverse=True):
            for field, stems in self.fields.items():
                if stem in stems:
                    return field
        return ""

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


def _analyzer() -> tantivy.TextAnalyzer:
    """Stems of words that are split and in lower case already."""
    split = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace())
    plain = split.filter(tantivy.Filter.ascii_fold())
    return plain.filter(tantivy.Filter.stemmer("english")).build()


def _document(tool: ToolText) -> tantivy.Document:
    document = tantivy.Document()
    document.add_unsigned("key", tool.key)
    document.add_text("home", tool.server)
    document.add_text("effect", tool.effect)
    for field in FIELDS:
        document.add_text(field, " ".join(_limited(words_of(tool.field(field)))))
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
