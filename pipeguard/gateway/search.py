"""Finds the tools that a request in a user's words is about: BM25 over fields, then a re-rank.

Knows words, not permissions: the caller passes a filter with the tools that may be found, which
applies before ranking. Words are weighed by how rare they are among those; only the mean length
of a field, by which Tantivy weighs, is that of all tools. The index is Tantivy's, in memory; it
follows the tools as they change.

Ranking, in this order:

1. A query is split into concepts: phrases of everyday language (`everyday.yaml`), and the other
   words, each with its synonyms. A concept scores by its best term in its best field
   (disjunction max), a tool by the sum of its concepts. BM25 weighs words by how rare they are,
   and long descriptions down. A word counts at most twice in a field, so that repeating it gains
   nothing. A word that no tool has stands for names that begin with it or differ in one letter.
   Each clause of a request is searched once; a tool scores by their sum and by its best clause.
2. The best `WINDOW` are weighted by the share of concepts that they match at all, and by the
   share of their name that the query explains: "throw away that memo" is `delete_note` before
   `delete_note_attachment`. The name weighs more if a text claims very many actions: a
   tool is what its name says.
3. A query for a server or a tool by its name gets it first, whatever others say of themselves.
4. Of tools that say the same (`CLONE_SHARE`), `MOST_CLONES` are before all others; the rest come
   last.

Sources: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009);
the figures were chosen on `benchmarks/search`'s training part.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from heapq import heappop, heappush
from itertools import chain
from math import log, sqrt
from operator import itemgetter
from typing import NamedTuple

from tantivy import Document, Index, Occur, Query, Schema, SchemaBuilder

from pipeguard.detect.words import tools as lists
from pipeguard.gateway.concepts import (
    EVERYDAY_WEIGHT,
    LIKE_FIELDS,
    MOST_STEMS,
    SYNONYM_WEIGHT,
    Concept,
    Concepts,
    Scored,
    Stems,
    Term,
    ToolStems,
    WordMatch,
    blend,
    coverage,
    explain,
    find_likeness,
    find_match,
    fuse,
    stemmer,
    without_clones,
)
from pipeguard.gateway.fit import LEAST_FIT, NAMED_FIT, Wish, find_fit, make_wish, without_values
from pipeguard.gateway.neighbours import STOP_WORDS, first_words, limit_words, split_words
from pipeguard.gateway.tools import CatalogTool, Filter, schema_words

# The weight of a match in each field.
FIELDS: dict[str, float] = {
    "name": 1.3,
    "title": 1.8,
    "description": 1.0,
    "parameters": 0.7,
    "server": 1.4,
    "tags": 1.4,
}
NEAR_FIELDS = ("name", "description")
LEAST_NEAR_RARITY = 3.0  # of a stem that 5 % of the tools have; common ones cost time
SMALL = 200  # tools, among which all is looked at
TIE_BREAKER = 0.25  # of a concept's other terms and fields
COVERAGE_WEIGHT = 0.6
LONG_QUERY = 12  # concepts; most concepts of longer ones are not the subject
LONG_COVERAGE_WEIGHT = 0.3
NAME_WEIGHT = 0.4
LIKENESS_WEIGHT = 0.5  # of a name that only looks like a word of the query
LEAST_LIKE_CHARS, MOST_LIKE_CHARS = 4, 24  # of a word; in shorter ones one letter is much
WINDOW = 40  # hits that are ranked again
CLAUSE_HITS = 50  # of each clause, which are summed
MOST_FUSED = 60  # hits of all clauses that are ranked again
READ_BONUS = 1.1  # so that of tools that fit equally, one that reads comes first
TOLD = ("ed", "ion", "ions")  # endings of words that only tell of an act: `which were merged`
PAST = ("history", "changelog")  # who asks for a history does not ask to add to it
SINGULAR_WEIGHT = 0.93  # of a name in the singular if the request has a plural
PAST_WEIGHT = 0.4  # of a tool that then changes something, and has no such word
UNASKED_WEIGHT = 0.12  # of a tool that destroys something if the request does not ask for that
MOST_QUERIES = 20_000  # of stems and concepts that are remembered
MOST_VIEWS = 16  # that are remembered: one for what each token may find
INDEX_BYTES = 50_000_000  # at most, while it is written; with less, 10,000 tools are three segments
_TOKENIZER = "stems"
_Found = tuple[float, int]  # score and key


class SearchHit(NamedTuple):
    """A tool that a search found.

    Attributes:
        tool: as it was indexed; its public name may have changed since.
        score: greater is better; comparable within one search only.
        why: the words of the query that were found.
        fit: the share of the query, or of its best clause, that the tool has words for; lower if
            the query does not explain the tool's name.
    """

    tool: CatalogTool
    score: float
    why: tuple[WordMatch, ...]
    fit: float

    @property
    def is_doubtful(self) -> bool:
        """True if another tool may be meant."""
        return self.fit < LEAST_FIT


class ToolIndex:
    """An index of tools by the words of their definitions. For one thread at a time."""

    def __init__(self) -> None:
        self._schema = _schema()
        self._index = Index(self._schema)
        self._index.register_tokenizer(_TOKENIZER, stemmer())
        self._stems = Stems()
        self._past = {self._stems[word] for word in PAST}
        self._destroying = {self._stems[word] for word in lists.END | {"merge", "reset"}}
        verbs = (lists.MAKE | lists.LOOK | lists.CHANGE | lists.SEND | lists.ACT) - lists.BOTH
        self._verbs = self._destroying.union(map(self._stems.__getitem__, verbs))
        self._tools: dict[int, CatalogTool] = {}
        self._profiles: dict[int, ToolStems] = {}
        self._make_view = lru_cache(MOST_VIEWS)(self._see)  # until the tools change
        self._view = self._make_view(Filter())  # of the search that runs

    def __len__(self) -> int:
        return len(self._tools)

    @cached_property
    def _concepts(self) -> Concepts:
        return Concepts(self._stems)  # with the first search

    def replace(self, tools: Iterable[CatalogTool]) -> None:
        """Hold exactly these tools; index only differences again."""
        now = {tool.key: tool for tool in tools}
        pairs = ((key, tool, now.get(key)) for key, tool in self._tools.items())
        same = {key for key, tool, other in pairs if other and tool[2:] == other[2:]}
        gone = self._tools.keys() - same
        new = [tool for key, tool in now.items() if key not in same]
        if not gone and not new:
            return
        writer = self._index.writer(heap_size=INDEX_BYTES, num_threads=1)
        for key in gone:
            writer.delete_documents_by_query(Query.term_query(self._schema, "key", key))
            del self._profiles[key]
        self._tools = now
        for tool in new:
            words = {field: list(split_words(_read_field(tool, field))) for field in FIELDS}
            writer.add_document(_document(tool, words))
            self._profiles[tool.key] = ToolStems(words, self._stems)
        writer.commit()
        writer.wait_merging_threads()
        self._index.reload()
        self._make_view.cache_clear()

    def search(self, query: str, limit: int, only: Filter | None = None) -> list[SearchHit]:
        """The tools that a query is about, the best first.

        Args:
            query: in a user's words.
            limit: the largest number of tools.
            only: the tools that may be found.
        """
        concepts = self._concepts.of(query)
        self._view = self._make_view(only or Filter())
        if not concepts or not self._view.size or limit < 1:
            return []
        clauses = self._concepts.of_clauses(query)
        found = [self._look_up(clause, max(CLAUSE_HITS, limit)) for clause in clauses]
        scored = fuse(found, max(MOST_FUSED, limit))
        scored = scored or self._look_up(concepts, max(WINDOW, limit))
        explained = explain(concepts)
        best = self._rank(concepts, explained, scored, limit)
        asked, wishes = without_values(query), [concepts, *clauses]
        if asked != query:
            wishes = [self._concepts.of(asked), *self._concepts.of_clauses(asked)]
            explained = explain(wishes[0])
        weighed = [self._make_wish(wish, first_words(asked)) for wish in wishes]
        return [
            SearchHit(
                self._tools[key],
                score,
                tuple(self._why(concepts, key)),
                max(find_fit(wish, profile, self._tools[key].effect) for wish in weighed)
                * profile.blend(NAMED_FIT, self._share_of_name(profile.fields["name"], explained)),
            )
            for score, key, profile in best
        ]

    # --- first: the lookup ----------------------------------------------------------------

    def _see(self, only: Filter) -> "_View":
        """The tools that may be found. They weigh words; hidden tools do not."""
        seen = [self._profiles[key] for key, tool in self._tools.items() if only.has(tool)]
        whole = self._make_view(Filter()) if len(seen) < len(self._tools) else None
        return _View(self._schema, seen, _filters(self._schema, only), whole)

    def _look_up(self, concepts: Iterable[Concept], limit: int) -> list[_Found]:
        """The tools that match any of the concepts, by BM25 only: scores and keys."""
        wanted = Query.boolean_query(
            [(Occur.Should, self._view.make_query(concept)) for concept in concepts]
        )
        wanted = Query.boolean_query([(Occur.Must, part) for part in (wanted, *self._view.filters)])
        searcher = self._index.searcher()
        hits = searcher.search(wanted, limit).hits
        keys = searcher.fast_field_values("key", [address for _, address in hits])
        pairs = zip(hits, keys, strict=True)
        return [(score, key) for (score, _), key in pairs if isinstance(key, int)]

    # --- then: how it is ranked -----------------------------------------------------------

    def _rank(
        self,
        concepts: list[Concept],
        explained: Mapping[str, float],
        scored: Iterable[_Found],
        limit: int,
    ) -> list[Scored]:
        telling = (word for concept in concepts for word in concept.words.split())
        asked = {self._stems[word] for word in telling if word not in STOP_WORDS}
        groups = list[Scored](), list[Scored](), list[Scored]()  # server named, tool named, neither
        saying = [each.worths.items() for each in concepts if not each.words.endswith(TOLD)]
        meant = {stem for worths in saying for stem, worth in worths if worth >= SYNONYM_WEIGHT}
        # An unknown first word may be a verb of another language.
        spares = concepts[0].is_known and meant.isdisjoint(self._destroying)
        of_past = (each.worths.get(stem, 0.0) for each in concepts for stem in self._past)
        looks_back = max(of_past, default=0.0) >= EVERYDAY_WEIGHT
        for score, key in scored:
            profile, weight = self._profiles[key], 1.0
            is_server, is_tool = profile.names(asked)
            if self._tools[key].effect != "read":
                verbs = filter(self._verbs.__contains__, profile.fields["name"])
                if spares and next(verbs, None) in self._destroying:
                    weight, is_tool = UNASKED_WEIGHT, False
                elif looks_back and self._past.isdisjoint(profile.everything):
                    weight = PAST_WEIGHT
            groups[0 if is_server else 1 if is_tool else 2].append((score * weight, key, profile))
        for group in groups:
            group.sort(key=itemgetter(0), reverse=True)
        best_first = (self._best_first(concepts, explained, group) for group in groups)
        return without_clones(chain.from_iterable(best_first), limit)

    def _best_first(
        self, concepts: list[Concept], explained: Mapping[str, float], scored: list[Scored]
    ) -> Iterator[Scored]:
        """The tools with their final scores, computed lazily.

        The factor applied to a hit is at most 1. So once a final score is above the next hit's
        first one, no later hit comes before it.
        """
        weight = COVERAGE_WEIGHT if len(concepts) < LONG_QUERY else LONG_COVERAGE_WEIGHT
        plurals = [(self._stems[each.words], each.words) for each in concepts if each.is_plural]
        heap: list[tuple[float, int, ToolStems]] = []
        for score, key, profile in scored:
            while heap and -heap[0][0] > score * READ_BONUS:
                best, best_key, best_profile = heappop(heap)
                yield -best, best_key, best_profile
            covered = coverage(profile.everything, concepts) / len(concepts)
            named = self._share_of_name(profile.fields["name"], explained)
            weighed = score * blend(weight, covered) * profile.blend(NAME_WEIGHT, named)
            if self._tools[key].effect == "read":
                weighed *= READ_BONUS
            for stem, word in plurals:
                if profile.fields["name"].get(stem, word) != word:
                    weighed *= SINGULAR_WEIGHT
            heappush(heap, (-weighed, key, profile))
        for best, best_key, best_profile in sorted(heap, key=itemgetter(0, 1)):
            yield -best, best_key, best_profile

    def _share_of_name(self, name: Collection[str], explained: Mapping[str, float]) -> float:
        """The share of a tool's name that a query explains, rare words counting more."""
        weights = {stem: sqrt(self._view.rarity(stem)) for stem in name}
        share = sum(weight * explained.get(stem, 0.0) for stem, weight in weights.items())
        total = sum(weights.values())
        return share / total if total else 1.0

    def _make_wish(self, concepts: list[Concept], words: list[str]) -> Wish:
        """The concepts by which a tool's fit is measured. Rare words count more.

        A word that is neither a tool's nor English is a value; "is there a" is ignored.
        """
        weights = {}
        for concept in concepts:
            rarity = max(map(self._view.rarity, self._own_stems(concept)))
            says = not STOP_WORDS.issuperset(concept.words.split())
            if says and (rarity or concept.is_known):
                weights[concept] = sqrt(rarity or log(2 * self._view.size))
        return make_wish(concepts, weights, self._stems, words)

    def _why(self, concepts: list[Concept], key: int) -> Iterator[WordMatch]:
        """The matching words of a query, with the tool's own words."""
        profile = self._profiles[key]
        for concept in concepts:
            match = find_match(concept, profile)
            if match is not None:
                term, field = match
                word = " ".join(profile.fields[field][stem] for stem in term)
                is_same = {*term} == {*self._own_stems(concept)}
                yield WordMatch(concept.words, word, field, is_same)
            elif not any(map(self._view.rarity, self._own_stems(concept))):
                yield from filter(None, [find_likeness(concept, profile)])

    def _own_stems(self, concept: Concept) -> list[str]:
        return [self._stems[word] for word in concept.words.split()]


class _View:
    """The tools that may be found: how rare words are among them, and the queries for words.

    Args:
        schema: of the index.
        tools: those that may be found.
        filters: queries for them.
        whole: the view of all tools; None if it is this one.
    """

    def __init__(
        self,
        schema: Schema,
        tools: Sequence[ToolStems],
        filters: Iterable[Query],
        whole: "_View | None",
    ) -> None:
        self._schema = schema
        self.filters = tuple(filters)
        self.size = len(tools)
        self._counts = {field: Counter[str]() for field in FIELDS}
        for tool in tools:
            for field, stems in tool.fields.items():
                self._counts[field].update(stems.keys())
        self._all, self._all_size = (whole or self)._counts, (whole or self).size
        self.rarity = lru_cache(MOST_STEMS)(self._find_rarity)
        self.make_query = lru_cache(MOST_QUERIES)(self._query_of_concept)
        self._query_of_stem = lru_cache(MOST_QUERIES)(self._query_in_best_field)

    def _query_of_concept(self, concept: Concept) -> Query:
        """A query for the best of a concept's terms."""
        parts = [
            part
            for term, weight in concept.terms.items()
            if self.rarity(term[0]) or len(term) > 1  # no tool has most that are near
            for part in self._queries_of_term(term, weight, is_near=term in concept.near)
        ]
        parts = parts or list(self._queries_of_likeness(concept.words))
        return Query.disjunction_max_query(parts, TIE_BREAKER) if parts else Query.empty_query()

    def _queries_of_likeness(self, word: str) -> Iterator[Query]:
        """Queries for names that an unknown word may abbreviate or misspell."""
        if not (word.isalpha() and LEAST_LIKE_CHARS <= len(word) <= MOST_LIKE_CHARS):
            return
        for field in LIKE_FIELDS:
            for edits, is_prefix in ((0, True), (1, False)):
                like = Query.fuzzy_term_query(
                    self._schema, field, word, distance=edits, prefix=is_prefix
                )
                yield Query.boost_query(like, LIKENESS_WEIGHT * FIELDS[field])

    def _queries_of_term(self, term: Term, weight: float, *, is_near: bool) -> Iterator[Query]:
        """A term in each field; the mean of its words if it has several.

        The fields of a word are not a query of their own: each costs as much as many words.
        """
        if not self._is_worth_a_look(term, is_near=is_near):
            return
        if len(term) > 1:
            words = [(Occur.Should, self._query_of_stem(stem)) for stem in term]
            yield Query.boost_query(Query.boolean_query(words), weight / len(term))
            return
        for field, query, boost in self._queries_by_field(term[0]):
            if not is_near or field in NEAR_FIELDS:
                yield Query.boost_query(query, weight * boost)

    def _is_worth_a_look(self, term: Term, *, is_near: bool) -> bool:
        """True for a term that some tools have; if it is only near in meaning, that few have."""
        rarest = max(map(self.rarity, term))
        has_to_be_rare = is_near and self.size > SMALL
        return rarest >= LEAST_NEAR_RARITY if has_to_be_rare else rarest > 0

    def _query_in_best_field(self, stem: str) -> Query:
        parts = [
            Query.boost_query(query, boost) for _, query, boost in self._queries_by_field(stem)
        ]
        return Query.disjunction_max_query(parts, TIE_BREAKER)

    def _queries_by_field(self, stem: str) -> Iterator[tuple[str, Query, float]]:
        """A query for a stem in each field that has it, and the weight of a match.

        Tantivy weighs a word by its rarity among all tools: the weight makes up for that.
        """
        for field, counts in self._counts.items():
            if count := counts[stem]:
                rarity = _idf(count, self.size) / _idf(self._all[field][stem], self._all_size)
                yield field, Query.term_query(self._schema, field, stem), FIELDS[field] * rarity

    def _find_rarity(self, stem: str) -> float:
        """The weight of a stem: its inverse document frequency, 0 if no tool has it."""
        count = max(counts[stem] for counts in self._counts.values())
        return _idf(count, self.size) if count else 0.0


def _idf(count: int, size: int) -> float:
    """The inverse document frequency of a stem that so many of the tools have."""
    return log(1 + (size - count + 0.5) / (count + 0.5))


def _read_field(tool: CatalogTool, field: str) -> str:
    """The text of a field."""
    if field == "parameters":
        return " ".join(schema_words(tool.definition))
    return " ".join(tool.tags) if field == "tags" else str(getattr(tool, field))


def _schema() -> Schema:
    builder = SchemaBuilder()
    builder.add_unsigned_field("key", stored=True, indexed=True, fast=True)
    for field in FIELDS:
        builder.add_text_field(field, tokenizer_name=_TOKENIZER, index_option="freq")
    for field in ("home", "effect"):
        builder.add_text_field(field, tokenizer_name="raw", index_option="basic")
    return builder.build()


def _document(tool: CatalogTool, words: Mapping[str, Iterable[str]]) -> Document:
    document = Document()
    document.add_unsigned("key", tool.key)
    document.add_text("home", tool.server)
    document.add_text("effect", tool.effect)
    for field, of_field in words.items():
        document.add_text(field, " ".join(limit_words(of_field)))
    return document


def _filters(schema: Schema, only: Filter) -> Iterator[Query]:
    """Conditions that do not change a score."""
    for field, values in zip(("home", "effect", "key"), only, strict=True):
        if values is not None:
            query = Query.term_set_query(schema, field, list(values))
            yield Query.const_score_query(query, 0.0)
