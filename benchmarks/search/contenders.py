"""The searches that are compared: PipeGuard's, plain BM25, and SQLite's FTS5.

Each is given the same tools. The peers index what an agent would be given of a tool without a
gateway: its name behind its server's, its description, and its parameters' names and descriptions.
Both stem, as that is an option of theirs, and names are split for them.
"""

import importlib
import re
import sqlite3
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, NamedTuple, Protocol

from benchmarks.search.queries import stem
from benchmarks.search.servers import LOCK, Definition, Definitions
from pipeguard.detect.flows.tool_labels import Label, Tool, make_tool
from pipeguard.gateway.catalog import Catalog, Listing
from pipeguard.gateway.fit import LEAST_FIT
from pipeguard.gateway.tools import schema_words
from tests import tools

_WORD_BREAK = re.compile(r"[_\-/.]+|(?<=[a-z0-9])(?=[A-Z])")
_WORD = re.compile(r"\w+")


class Search(Protocol):
    """One contender, with all tools in its index."""

    def find(self, ask: str, limit: int) -> list[str]:
        """The tools that a query is about, as `server/tool`, the best first."""


class ToolTexts(NamedTuple):
    """The text of a tool that peers index.

    Attributes:
        key: `server/tool`.
        name: the words of both.
        description: as the server wrote it.
        parameters: their names and descriptions.
    """

    key: str
    name: str
    description: str
    parameters: str


class PipeGuardSearch:
    """The index behind `retrieve_tools`."""

    def __init__(self, definitions: Definitions, *, is_labelled: bool = True) -> None:
        self._catalog = catalog_of(definitions, is_labelled=is_labelled)
        self._catalog.search("index", 1)  # the first search builds the index

    def find(self, ask: str, limit: int) -> list[str]:
        """The tools that a query is about, the best first."""
        return [f"{tool.server}/{tool.name}" for tool, _ in self._catalog.search(ask, limit)]

    def is_doubtful(self, ask: str, limit: int) -> bool:
        """True if the answer to a query says that perhaps no tool fits."""
        return all(hit.fit < LEAST_FIT for _, hit in self._catalog.search(ask, limit))


class Bm25Search:
    """BM25 of the package `bm25s` over all texts of a tool as one, with its defaults."""

    def __init__(self, definitions: Definitions) -> None:
        texts = list(tool_texts(definitions))
        self._keys = [text.key for text in texts]
        self._index = _bm25s().BM25()
        self._index.index(self._tokens([" ".join(text[1:]) for text in texts]), show_progress=False)

    def find(self, ask: str, limit: int) -> list[str]:
        """The tools that a query is about, the best first."""
        most = min(limit, len(self._keys))
        numbers, scores = self._index.retrieve(self._tokens([ask]), k=most, show_progress=False)
        ranked = zip(numbers[0], scores[0], strict=True)
        return [self._keys[number] for number, score in ranked if score > 0]

    @staticmethod
    def _tokens(texts: list[str]) -> Any:
        return _bm25s().tokenize(
            texts, stopwords="en", stemmer=_stems, return_ids=False, show_progress=False
        )


class Fts5Search:
    """SQLite's FTS5: any of the words, ranked by its bm25()."""

    def __init__(self, definitions: Definitions) -> None:
        self._database = sqlite3.connect(":memory:")
        self._database.execute(
            "CREATE VIRTUAL TABLE tools USING fts5"
            "(key UNINDEXED, name, description, parameters, tokenize = 'porter unicode61')"
        )
        rows = tool_texts(definitions)
        self._database.executemany("INSERT INTO tools VALUES (?, ?, ?, ?)", rows)

    def find(self, ask: str, limit: int) -> list[str]:
        """The tools that a query is about, the best first."""
        words = " OR ".join(f'"{word}"' for word in _WORD.findall(ask))
        if not words:
            return []
        rows = self._database.execute(
            "SELECT key FROM tools WHERE tools MATCH ? ORDER BY bm25(tools) LIMIT ?", (words, limit)
        )
        return [key for (key,) in rows]


CONTENDERS: dict[str, Callable[[Definitions], Search]] = {
    "pipeguard": PipeGuardSearch,
    "bm25s": Bm25Search,
    "fts5": Fts5Search,
}
TIMED = CONTENDERS | {"pipeguard": partial(PipeGuardSearch, is_labelled=False)}


def catalog_of(definitions: Definitions, *, is_labelled: bool = True) -> Catalog:
    """A catalogue of all tools like the gateway's, with or without labels of their effects.

    A Session labels a tool once, when it judges its definition: that is no cost of the search.
    """
    catalog = Catalog()
    for server, listed in definitions.items():
        catalog.put(Listing(server, listed), _labelled(listed) if is_labelled else _unknown)
    return catalog


def _labelled(listed: list[Definition]) -> Callable[[str], Tool]:
    by_name = {tool["name"]: tool for tool in listed}
    return lambda name: make_tool(name, by_name[name])


def _unknown(name: str) -> Tool:
    return Tool(name, Label.NONE)


def tool_texts(definitions: Definitions) -> Iterator[ToolTexts]:
    """The texts of every tool."""
    for server, listed in definitions.items():
        for tool in listed:
            yield ToolTexts(
                f"{server}/{tool['name']}",
                _split(f"{server} {tool['name']}"),
                tool.get("description") or "",
                _split(" ".join(schema_words(tool))),
            )


def _split(names: str) -> str:
    return _WORD_BREAK.sub(" ", names)


def _stems(words: list[str]) -> list[str]:
    return [stem(word) for word in words]


@cache
def _bm25s() -> Any:
    """The package, from the environment of the servers: appended, so that ours come first."""
    folder = tools.python_with(LOCK).parent.parent
    sys.path += [str(path) for path in folder.glob("[Ll]ib/**/site-packages")]
    return importlib.import_module("bm25s")
