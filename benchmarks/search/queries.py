"""The queries, with the tools that answer each, and what must hold of them."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import tantivy
import yaml

from benchmarks.search.servers import Definition, Definitions

FILE = Path(__file__).with_name("queries.yaml")
FAMILIES = Path(__file__).with_name("families.txt")
MOST_OF_ONE_SERVER = 0.08  # of all queries
ALIKE_LETTERS = 6  # two words that begin with these are of one stem, whatever the stemmer says
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
# Words that say nothing about what a tool does.
_FUNCTION_WORDS = (
    "a about after again all am an and another any anyone are as at be because been before "
    "being below between both but by can cannot could did do does doing done down during "
    "each every everybody everything few for from further had has have he her here him his "
    "how i if in into is it its itself just me more most my no nobody nor not now of off on "
    "once one only or other our out over own please s same she should so some somebody "
    "something still such t than that the their them then there these they this those "
    "through to too under until up upon us very was we were what when whenever where "
    "whether which while who whom whose why will with would yes you your go going give get "
    "got let make makes made put take tell use want need say said"
)
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())


class Part(StrEnum):
    """The wording of a query."""

    PLAIN = "plain"  # as people ask
    PARAPHRASE = "paraphrase"  # in no word of what it looks for
    LONG = "long"  # a whole sentence of an agent's task
    SHORT = "short"  # two words, abbreviations, slips of the keyboard
    AMBIGUOUS = "ambiguous"  # several servers do it, and the query names one
    # The families, each as families.txt names it.
    ARGUMENTS = "arguments"
    SEVERAL = "several"
    TALK = "talk"
    API = "api"
    SIMILAR = "similar"
    ONE_WORD = "one word"
    TASK = "task"
    LANGUAGES = "languages"
    HISTORY = "history"
    EVERYDAY = "everyday"
    NONE = "none"  # what no tool answers


class Split(StrEnum):
    """The half that a query is in, by its hash."""

    TRAIN = "train"
    TEST = "test"


class Query(NamedTuple):
    """One query.

    Attributes:
        ask: its words.
        part: how it is worded.
        best: the tools of grade 2, as `server/tool`.
        also: those of grade 1.
        needs: where it needs several tools, those that do for each.
    """

    ask: str
    part: Part
    best: tuple[str, ...]
    also: tuple[str, ...]
    needs: tuple[tuple[str, ...], ...] = ()

    @property
    def split(self) -> Split:
        """The half that its hash selects."""
        return Split.TEST if sha256(self.ask.encode()).digest()[0] % 2 else Split.TRAIN

    def grade(self, tool: str) -> int:
        """The grade of a tool as an answer, from 0 to 2."""
        return 2 if tool in self.best else int(tool in self.also)


def load() -> list[Query]:
    """All queries.

    Raises:
        ValueError: if an entry has other keys than it should.
    """
    queries = []
    for part, entries in yaml.safe_load(FILE.read_text("utf-8")).items():
        for entry in entries:
            if set(entry) - {"also"} != {"ask", "best"}:
                raise ValueError(f"{part}: {entry} must have `ask` and `best`, and may have `also`")
            best, also = tuple(entry["best"]), tuple(entry.get("also", ()))
            queries.append(Query(str(entry["ask"]), Part(part), best, also))
    return [*queries, *families()]


def families() -> Iterator[Query]:
    """The queries of families.txt: under the name of each family, a request and its tools."""
    part = Part.NONE
    for line in FAMILIES.read_text("utf-8").splitlines():
        if line.startswith("[") and line.endswith("]"):
            part = Part(line[1:-1])
        elif line and not line.startswith("#"):
            ask, _, tools = line.rpartition(" -> ") if part is not Part.NONE else (line, "", "")
            needs = tuple(tuple(need.strip().split("|")) for need in tools.split(",") if need)
            yield Query(ask, part, tuple(name for need in needs for name in need), (), needs)


def problems(queries: list[Query], definitions: Definitions) -> Iterator[str]:
    """The faults of the queries, one a line."""
    tools = by_name(definitions)
    counts = Counter(query.ask for query in queries)
    yield from (f"{ask!r} is there {count} times" for ask, count in counts.items() if count > 1)
    for query in queries:
        graded = [*query.best, *query.also]
        yield from (f"{query.ask!r}: no server has {name}" for name in graded if name not in tools)
        is_empty = not query.best and query.part is not Part.NONE
        if is_empty or len(set(graded)) < len(graded):
            yield f"{query.ask!r}: has no best tool, or one tool twice"
        for name in query.best if query.part is Part.PARAPHRASE else ():
            shared = shared_words(query.ask, name, tools.get(name, {}))
            if shared:
                yield f"{query.ask!r} shares {', '.join(shared)} with {name}"
    for server, share in shares(queries).items():
        if share > MOST_OF_ONE_SERVER:
            yield f"{server} has {share:.1%} of the queries"


def by_name(definitions: Definitions) -> dict[str, Definition]:
    """Each tool by its `server/tool`."""
    return {
        f"{server}/{tool['name']}": tool for server, tools in definitions.items() for tool in tools
    }


def shares(queries: list[Query]) -> dict[str, float]:
    """The share of the queries that each server has; several best servers share one query."""
    counts: defaultdict[str, float] = defaultdict(float)
    for query in queries:
        servers = {name.partition("/")[0] for name in query.best}
        for server in servers:
            counts[server] += 1 / len(servers)
    return {server: count / len(queries) for server, count in counts.items()}


def shared_words(ask: str, name: str, definition: Definition) -> list[str]:
    """The words of a query that a tool has, too: in names, title, description or parameters."""
    annotations = definition.get("annotations") or {}
    texts = [
        name,
        definition.get("title") or "",
        annotations.get("title") or "",
        definition.get("description") or "",
        *definition.get("inputSchema", {}).get("properties", {}),
    ]
    of_tool = set(words(" ".join(texts)))
    stems = {stem(word) for word in of_tool}
    beginnings = {word[:ALIKE_LETTERS] for word in of_tool if len(word) >= ALIKE_LETTERS}
    return [
        word for word in words(ask) if stem(word) in stems or word[:ALIKE_LETTERS] in beginnings
    ]


def words(text: str) -> list[str]:
    """The words of a text in lower case, but those that say nothing."""
    found = (word.lower() for word in _WORD.findall(text))
    return [word for word in found if word not in FUNCTION_WORDS]


def stem(word: str) -> str:
    """The stem of a word by Snowball's English rules."""
    stems = _stemmer().analyze(word)
    return stems[0] if stems else word


@cache
def _stemmer() -> tantivy.TextAnalyzer:
    builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
    return builder.filter(tantivy.Filter.stemmer("english")).build()
