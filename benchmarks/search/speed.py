"""Time to build an index and to answer a query, at up to 100,000 tools."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median, quantiles
from typing import Any, NamedTuple

from benchmarks.search.contenders import Search
from benchmarks.search.queries import Query
from benchmarks.search.servers import Definition, Definitions

SIZES = (100, 1_000, 10_000, 100_000)
SEED = 20260102
EXCHANGED = 0.3  # of the words of a copy's name, description and parameters
TOOLS_WANTED = 5
WARM_UP = 20  # queries that are asked before, and not timed


class Times(NamedTuple):
    """Times of one contender at one size.

    Attributes:
        tools: in the index.
        index_seconds: to build it, CPU time of all threads.
        query_p50: wall time in milliseconds.
        query_p99: likewise.
        cpu_p50: CPU time of the thread, which other programs on the machine hardly lengthen.
        cpu_p99: likewise.
    """

    tools: int
    index_seconds: float
    query_p50: float
    query_p99: float
    cpu_p50: float
    cpu_p99: float


def measured(
    build: Callable[[Definitions], Search], definitions: Definitions, queries: Sequence[Query]
) -> Times:
    """Build an index and ask it each query once."""
    before = time.process_time()
    search = build(definitions)
    index_seconds = time.process_time() - before
    for query in queries[:WARM_UP]:
        search.find(query.ask, TOOLS_WANTED)
    wall, thread = [], []
    for query in queries:
        start, thread_start = time.perf_counter(), time.thread_time()
        search.find(query.ask, TOOLS_WANTED)
        thread.append((time.thread_time() - thread_start) * 1000)
        wall.append((time.perf_counter() - start) * 1000)
    size = sum(map(len, definitions.values()))
    times = (median(wall), _p99(wall), median(thread), _p99(thread))
    return Times(size, index_seconds, *times)


def grown(definitions: Definitions, size: int) -> Definitions:
    """As many tools as asked for: the real ones, and copies with words exchanged among them.

    The copies are on the servers of the originals, under names of their own.
    """
    random_source = random.Random(SEED)
    real = [(server, tool) for server, listed in definitions.items() for tool in listed]
    random_source.shuffle(real)
    pools = _Pools(random_source, [tool for _, tool in real])
    result: Definitions = {server: [] for server in definitions}
    for number in range(size):
        server, tool = real[number % len(real)]
        copy = number // len(real)
        result[server].append(pools.copied(tool, copy) if copy else tool)
    return {server: tools for server, tools in result.items() if tools}


class _Pools:
    """Words of all definitions, each as often as it is there."""

    def __init__(self, random_source: random.Random, tools: Sequence[Definition]) -> None:
        self._random = random_source
        self._names = [word for tool in tools for word in tool["name"].split("_")]
        self._texts = [word for tool in tools for word in (tool.get("description") or "").split()]

    def copied(self, tool: Definition, number: int) -> Definition:
        """A copy of a tool that differs from it and from all others."""
        return {
            **tool,
            "name": f"{self._exchanged(tool['name'].split('_'), self._names, '_')}_{number}",
            "description": self._text(tool.get("description") or ""),
            "inputSchema": self._schema(tool.get("inputSchema") or {}),
        }

    def _schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        properties = schema.get("properties")
        if not isinstance(properties, dict):
            return schema
        return {**schema, "properties": dict(self._parameters(properties))}

    def _parameters(self, properties: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        for name, schema in properties.items():
            text = schema.get("description") if isinstance(schema, dict) else None
            yield name, {**schema, "description": self._text(text)} if text else schema

    def _text(self, text: str) -> str:
        return self._exchanged(text.split(), self._texts, " ")

    def _exchanged(self, words: Sequence[str], pool: Sequence[str], separator: str) -> str:
        choose, chance = self._random.choice, self._random.random
        return separator.join(choose(pool) if chance() < EXCHANGED else word for word in words)


def _p99(samples: Sequence[float]) -> float:
    return quantiles(samples, n=100, method="inclusive")[98]
