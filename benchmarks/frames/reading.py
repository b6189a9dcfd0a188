"""Real documents as results: each once, in one long session, as an agent reads them."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

from benchmarks.frames import corpus, memory
from benchmarks.frames.client import Connection, ask
from benchmarks.frames.figures import DIRECT, table
from benchmarks.frames.measure import TOOLS, Bench, cpu_clock, fate_of

COUNT, QUICK = 1_000, 100
SESSIONS = 3  # the least time of a document counts
SMALLEST, LARGEST = 200, 60_000  # characters
TEN_KB = 10_000
HEADS = ("ms for each 10 KB", "p50", "p90", "overall", "CPU", "PSS MiB before", "after", "frames")


@dataclass(frozen=True)
class Reading:
    """The cost of all documents with one wrapper.

    Attributes:
        added_ms: by document, for each 10 KB of its frame.
        overall_ms: added to all of them, for each 10 KB.
        cpu_ms: of all the wrapper's processes, for each 10 KB.
        before_kib: PSS after the handshake.
        after_kib: PSS after the last document.
        fates: the number of documents by what happened to them.
    """

    added_ms: list[float]
    overall_ms: float
    cpu_ms: float
    before_kib: int
    after_kib: int
    fates: Mapping[str, int]

    def at(self, share: float) -> float:
        """The time below which a share of the documents is."""
        ranked = sorted(self.added_ms)
        return ranked[min(len(ranked) - 1, int(share * len(ranked)))]

    def as_json(self) -> dict[str, object]:
        """The figures for a file."""
        return {**asdict(self), "p50_ms": self.at(0.5), "p90_ms": self.at(0.9)}


def write(folder: Path, folders: Sequence[Path], count: int) -> list[str]:
    """Write the server's answers; returns their names."""
    names: list[str] = []
    for _, text in corpus.real_documents(tuple(folders)):
        if SMALLEST <= len(text) <= LARGEST and len(names) < count:
            names.append(f"document-{len(names)}")
            body = corpus.compact(corpus.text_result(text))
            (folder / f"{names[-1]}.json").write_bytes(body)
    return names


def read_all(bench: Bench, names: Sequence[str], role: str) -> dict[str, Reading]:
    """Read each document once in each session, with a tool that acts or one that reads."""
    runs = [_read_once(bench, names, role, session) for session in range(SESSIONS)]
    readings = {}
    direct = _least(runs, DIRECT)
    sizes = [size / TEN_KB for size in runs[0].sizes]
    for wrapper in (each.name for each in bench.contenders if each.name != DIRECT):
        added = [
            (own - bare) / 1e6 for own, bare in zip(_least(runs, wrapper), direct, strict=True)
        ]
        readings[wrapper] = Reading(
            added_ms=[ms / size for ms, size in zip(added, sizes, strict=True)],
            overall_ms=sum(added) / sum(sizes),
            cpu_ms=min(run.cpu_seconds[wrapper] for run in runs) * 1000 / sum(sizes),
            before_kib=max(run.before_kib[wrapper] for run in runs),
            after_kib=max(run.after_kib[wrapper] for run in runs),
            fates=dict(runs[0].fates[wrapper]),
        )
    return readings


@dataclass
class _Run:
    """One session with each contender: figures by its name, in the order of the documents."""

    times_ns: dict[str, list[int]]
    sizes: list[int]
    fates: dict[str, Counter[str]]
    cpu_seconds: dict[str, float]
    before_kib: dict[str, int]
    after_kib: dict[str, int]


def _least(runs: Sequence[_Run], contender: str) -> list[int]:
    """The least time of each document: other load only adds."""
    return list(map(min, zip(*(run.times_ns[contender] for run in runs), strict=True)))


def _read_once(bench: Bench, names: Sequence[str], role: str, session: int) -> _Run:
    warm = sorted(path.stem for path in bench.folder.glob("prose-text-200B*.json"))
    tool = TOOLS[role]
    with bench.connections({min(os.sched_getaffinity(0))}) as connections:
        every = {each.contender.name: each for each in connections}
        before = {name: _proportional_kib(each) for name, each in every.items()}
        for name, each in product(warm, connections):
            each.call(tool, ask(name))
        clocks = {name: cpu_clock(each) for name, each in every.items()}
        began = {name: clock() for name, clock in clocks.items()}
        run = _Run(
            {name: [] for name in every}, [], {name: Counter() for name in every}, {}, {}, {}
        )
        for number, document in enumerate(names):
            turn = list(every.items())
            answers = {}
            for name, each in turn if (number + session) % 2 else turn[::-1]:
                taken, answers[name] = each.call(tool, ask(document))
                run.times_ns[name].append(taken)
            run.sizes.append(len(answers[DIRECT]))
            for name, answer in answers.items():
                run.fates[name][fate_of(answer, answers[DIRECT])] += 1
        cpu = {name: clock() - began[name] for name, clock in clocks.items()}
        after = {name: _proportional_kib(each) for name, each in every.items()}
    return replace(run, cpu_seconds=cpu, before_kib=before, after_kib=after)


def _proportional_kib(connection: Connection) -> int:
    """PSS of the wrapper's processes; 0 without a wrapper."""
    if connection.contender.name == DIRECT:
        return 0
    root = connection.process.pid
    return memory.of_wrapper(root, connection.pid_of_server).proportional_kib


def show(readings: Mapping[str, Reading], role: str) -> str:
    """A table with a line for each wrapper."""
    lines = [
        [
            name,
            *(f"{ms:.2f}" for ms in (each.at(0.5), each.at(0.9), each.overall_ms, each.cpu_ms)),
            *(f"{kib / 1024:.0f}" for kib in (each.before_kib, each.after_kib)),
            ", ".join(f"{number} {fate}" for fate, number in each.fates.items()),
        ]
        for name, each in readings.items()
    ]
    count = len(next(iter(readings.values())).added_ms)
    return table(f"{count} real documents, by a tool that {role}; on one CPU", HEADS, lines)
