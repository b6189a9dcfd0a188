"""The measurements: contenders take turns, round by round, so that drift of the machine hits all.

In round trips, everything that takes part is pinned to one CPU, or they would measure the
scheduler; start-up and calls in flight use all CPUs.
"""

import gc
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import cycle, product, starmap
from pathlib import Path
from typing import IO

from benchmarks.frames import corpus, memory
from benchmarks.frames.client import Connection, Contender
from benchmarks.frames.figures import DIRECT, Figure, Row
from benchmarks.frames.memory import Memory

KINDS = ("prose", "code", "json")
SHAPES = ("text", "items")
CALLS_A_ROUND = {"200B": 40, "10KB": 20, "100KB": 5, "1MB": 2}
WINDOW = 64
CALLS_IN_FLIGHT = 10_000
SMALL, SENT, RESULTS = 200, 40, 100  # calls, and results, of a long conversation
MICROSECOND = 1_000


@dataclass(frozen=True)
class Bench:
    """Settings that all measurements share."""

    contenders: Sequence[Contender]
    environment: dict[str, str]
    folder: Path  # of the server's answers
    rounds: int
    log: IO[bytes]

    @contextmanager
    def connections(self, cpus: set[int]) -> Iterator[list[Connection]]:
        """One open session for each contender, on these CPUs."""
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cpus)
        gc.disable()
        try:
            with ExitStack() as stack:
                opened = []
                for contender in self.contenders:
                    connection = Connection(contender, self.environment, self.log)
                    stack.enter_context(connection)
                    connection.initialize()
                    connection.list_tools()
                    opened.append(connection)
                yield opened
        finally:
            gc.enable()
            os.sched_setaffinity(0, before)


@dataclass(frozen=True)
class Workload:
    """Calls to repeat, one after the other.

    Attributes:
        name: of the row.
        asked: the tools with their arguments.
        calls: in one round.
    """

    name: str
    asked: Sequence[tuple[str, bytes]]
    calls: int


def results_and_arguments(folder: Path, folders: Sequence[Path] = ()) -> list[Workload]:
    """Everyday texts as results and as arguments, in each size; writes the server's answers.

    Args:
        folder: for the answers.
        folders: each with projects whose documents are the prose, besides what is installed.
    """
    workloads = []
    documents = corpus.in_each_size(folders)
    for direction, (size, size_bytes), kind, shape in product(
        ("result", "arguments"), corpus.SIZES.items(), KINDS, SHAPES
    ):
        texts = documents[size] if kind == "prose" else [None]
        asked = []
        for number, text in enumerate(texts):
            name = f"{kind}-{shape}-{size}" + (f"-{number}" if number else "")
            body = corpus.compact(corpus.realistic(kind, shape, size_bytes, text))
            if direction == "result":
                (folder / f"{name}.json").write_bytes(body)
                asked.append((name, b"{}"))
            else:
                asked.append(("sink", body))
        calls = max(CALLS_A_ROUND[size], len(asked))
        workloads.append(Workload(f"{direction} {size} {kind} {shape}", asked, calls))
    return workloads


def kinds(folder: Path, folders: Sequence[Path] = ()) -> list[Workload]:
    """A megabyte of each kind in both directions; writes the server's answers."""
    workloads = []
    for name, make in corpus.hostile(tuple(folders)).items():
        value = make()
        body = b'{"content":[],"structuredContent":{"value":%b}}' % value
        (folder / f"kind-{name}.json").write_bytes(body)
        workloads.append(Workload(f"result {name}", [(f"kind-{name}", b"{}")], 1))
        workloads.append(Workload(f"arguments {name}", [("sink", b'{"value":%b}' % value)], 1))
    return workloads


def round_trips(bench: Bench, workloads: Sequence[Workload], rounds: int) -> list[Row]:
    """Time each workload with each contender, on one CPU."""
    with bench.connections({min(os.sched_getaffinity(0))}) as connections:
        return [_alternate(connections, workload, rounds) for workload in workloads]


def conversation(bench: Bench) -> list[Row]:
    """Microseconds of calls early and late in one conversation, on one CPU; no two are alike.

    A tool that sends is given code, which is compared with what other tools returned.
    """
    code, size = corpus.code(), corpus.SIZES["10KB"]
    pieces = [corpus.cut(code[at * size :], size) for at in range(2 * SENT)]
    sent = [("send", corpus.compact({"text": piece})) for piece in pieces]
    small = [("sink", b'{"week":%d}' % number) for number in range(2 * SMALL)]
    read = sorted(path.stem for path in bench.folder.glob("prose-text-10KB*.json"))
    with bench.connections({min(os.sched_getaffinity(0))}) as connections:
        rows = [
            _each_once(connections, "small call, first", small[:SMALL]),
            _each_once(connections, "10 KB sent, first", sent[:SENT]),
        ]
        _each_once(connections, "", [(name, b"{}") for name, _ in zip(cycle(read), range(RESULTS))])
        rows.append(
            _each_once(connections, f"10 KB sent, after {RESULTS} results of others", sent[SENT:])
        )
        for connection in connections:
            connection.keep_in_flight(["sink"], CALLS_IN_FLIGHT, WINDOW)
        name = f"small call, after {CALLS_IN_FLIGHT}"
        return [*rows, _each_once(connections, name, small[SMALL:])]


def _each_once(
    connections: Sequence[Connection], name: str, calls: Sequence[tuple[str, bytes]]
) -> Row:
    samples: dict[str, list[float]] = {each.contender.name: [] for each in connections}
    answers: dict[str, list[bytes]] = {each.contender.name: [] for each in connections}
    for call, connection in product(calls, connections):
        taken, answer = connection.call(*call)
        samples[connection.contender.name].append(taken / MICROSECOND)
        answers[connection.contender.name].append(answer)
    fate = {name: _fates(own, answers[DIRECT]) for name, own in answers.items()}
    return Row(name, {name: Figure.of(all_) for name, all_ in samples.items()}, fate)


def _alternate(connections: Sequence[Connection], workload: Workload, rounds: int) -> Row:
    samples: dict[str, list[float]] = {each.contender.name: [] for each in connections}
    answers: dict[str, list[bytes]] = {each.contender.name: [] for each in connections}
    for turn, connection in product(range(rounds + 1), connections):
        for number in range(workload.calls):
            taken, answer = connection.call(*workload.asked[number % len(workload.asked)])
            if turn:  # the first round warms up
                samples[connection.contender.name].append(taken / MICROSECOND)
            else:
                answers[connection.contender.name].append(answer)
    fate = {name: _fates(own, answers[DIRECT]) for name, own in answers.items()}
    return Row(workload.name, {name: Figure.of(all_) for name, all_ in samples.items()}, fate)


def _fates(answers: Sequence[bytes], direct: Sequence[bytes]) -> str:
    """Changes to answers on their way, with the number of answers."""
    fates = Counter(starmap(_fate, zip(answers, direct, strict=True)))
    return next(iter(fates)) if len(fates) == 1 else ", ".join(f"{n} {f}" for f, n in fates.items())


def _fate(answer: bytes, direct: bytes) -> str:
    """Changes to an answer on its way, compared with the direct one."""
    if answer == direct:
        return "same"
    try:
        equal = json.loads(answer) == json.loads(direct)
    except ValueError:
        return "broken"
    return "re-written" if equal else "changed"


def in_flight(bench: Bench) -> Row:
    """Microseconds for each call with 64 unanswered at any time, on all CPUs."""
    samples: dict[str, list[float]] = {contender.name: [] for contender in bench.contenders}
    names = sorted(path.stem for path in bench.folder.glob("prose-text-200B*.json"))
    with bench.connections(os.sched_getaffinity(0)) as connections:
        for turn, connection in product(range(bench.rounds + 1), connections):
            taken = connection.keep_in_flight(names, CALLS_IN_FLIGHT, WINDOW)
            if turn:
                each = taken / CALLS_IN_FLIGHT / MICROSECOND
                samples[connection.contender.name].append(each)
    return Row(f"{WINDOW} in flight", {name: Figure.of(all_) for name, all_ in samples.items()}, {})


def start_up(
    bench: Bench, name: str, rounds: int, environment: Callable[[], dict[str, str]]
) -> Row:
    """Milliseconds from the start of the process to the answer to `initialize`, on all CPUs."""
    samples: dict[str, list[float]] = {contender.name: [] for contender in bench.contenders}
    for _ in range(rounds):
        for contender in bench.contenders:
            with Connection(contender, environment(), bench.log) as connection:
                samples[contender.name].append(connection.initialize() / 1e6)
            memory.reap()
    return Row(name, {name: Figure.of(all_) for name, all_ in samples.items()}, {})


def fresh_cache(bench: Bench) -> dict[str, str]:
    """The environment with an empty cache, so that the rules are compiled."""
    return bench.environment | {"XDG_CACHE_HOME": tempfile.mkdtemp(dir=bench.folder.parent)}


def memory_use(bench: Bench) -> Mapping[str, Mapping[str, Memory]]:
    """Memory of each wrapper's own processes, after the handshake and after work."""
    used: dict[str, dict[str, Memory]] = {}
    with bench.connections(os.sched_getaffinity(0)) as connections:
        for connection in connections:
            if connection.contender.name != DIRECT:
                used[connection.contender.name] = _memory_of(connection)
    return used


def _memory_of(connection: Connection) -> dict[str, Memory]:
    root, find_server = connection.process.pid, connection.pid_of_server
    idle = memory.of_wrapper(root, find_server)
    connection.keep_in_flight(["prose-text-10KB"], CALLS_IN_FLIGHT, WINDOW)
    busy = memory.of_wrapper(root, find_server)
    for kind, shape in product(KINDS, SHAPES):
        connection.call(f"{kind}-{shape}-1MB")
    large = memory.of_wrapper(root, find_server)
    return {
        "after the handshake": idle,
        f"after {CALLS_IN_FLIGHT} calls of 10 KB": busy,
        "after frames of 1 MB": large,
    }
