"""The measurements: contenders take turns, round by round, so that drift of the machine hits all.

In round trips, everything that takes part is pinned to one CPU, or they would measure the
scheduler; start-up and calls in flight use all CPUs.
"""

import gc
import json
import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import cycle, islice, product, starmap
from pathlib import Path
from typing import IO

from benchmarks.frames import corpus, memory
from benchmarks.frames.client import ACTS, READS, Connection, Contender, ask, environment_in
from benchmarks.frames.figures import DIRECT, Figure, Row
from benchmarks.frames.memory import Memory

KINDS = ("prose", "code", "json")
TOOLS = {"acts": ACTS, "reads": READS}
SHAPES = (("text", "acts"), ("text", "reads"), ("items", "reads"))  # of texts, with the tool
CALLS_A_ROUND = {"200B": 40, "10KB": 20, "100KB": 5, "1MB": 2}
WINDOW = 64
CALLS_IN_FLIGHT, MANY_CALLS = 2_000, 10_000  # of one turn; before memory and time are late
SMALL, SENT, RESULTS = 200, 40, 100  # calls, and results, of a long conversation
MICROSECOND = 1_000


@dataclass(frozen=True)
class Bench:
    """Settings that all measurements share."""

    contenders: Sequence[Contender]
    place: Path  # of settings, state and cache
    folder: Path  # of the server's answers
    rounds: int
    log: IO[bytes]

    def environment(self, contender: Contender) -> dict[str, str]:
        """The caller's environment, with settings, state and cache of the contender's own."""
        return environment_in(self.place / contender.name)

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
                    environment = self.environment(contender)
                    connection = Connection(contender, environment, self.log)
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
        asked: the tools with their arguments; more than the calls of one round if none comes twice.
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
    for direction, (size, size_bytes), kind, (shape, role) in product(
        ("result", "arguments"), corpus.SIZES.items(), KINDS, SHAPES
    ):
        texts = documents[size] if kind == "prose" else [None]
        asked = []
        for number, text in enumerate(texts):
            name = f"{kind}-{shape}-{size}" + (f"-{number}" if number else "")
            body = corpus.compact(corpus.realistic(kind, shape, size_bytes, text))
            if direction == "result":
                (folder / f"{name}.json").write_bytes(body)
            asked.append((TOOLS[role], ask(name) if direction == "result" else body))
        calls = max(CALLS_A_ROUND[size], len(asked))
        workloads.append(Workload(f"{direction} {size} {kind} {shape} {role}", asked, calls))
    return workloads


def new_texts(folder: Path, rounds: int, folders: Sequence[Path] = ()) -> list[Workload]:
    """Texts of which none comes twice, in each size; writes the server's answers.

    Args:
        folder: for the answers.
        rounds: that are measured, behind one that warms up.
        folders: as in `results_and_arguments`.
    """
    workloads = []
    prose = corpus.prose_of(tuple(folders))
    each_way = [*product(("result", "arguments"), TOOLS)]
    for (size, size_bytes), kind in product(corpus.SIZES.items(), KINDS):
        calls = CALLS_A_ROUND[size]
        many = calls * (rounds + 1)
        texts = corpus.new_texts(kind, size_bytes, many * len(each_way), prose)
        for direction, role in each_way:
            name = f"{direction}-{role}-{kind}-{size}"
            bodies = [as_result(text) for text in islice(texts, many)]
            asked = [(TOOLS[role], body) for body in bodies]
            if direction == "result":
                refs = write_results(folder, name, bodies)
                asked = [(TOOLS[role], ask(ref)) for ref in refs]
            row = f"new-{direction} {size} {kind} text {role}"
            workloads.append(Workload(row, asked, calls))
    return workloads


def write_results(folder: Path, name: str, bodies: Iterable[bytes]) -> list[str]:
    """Write results under names that have one as their beginning; returns the names."""
    names = []
    for number, body in enumerate(bodies):
        names.append(f"{name}-{number}")
        (folder / f"{names[-1]}.json").write_bytes(body)
    return names


def kinds(folder: Path, folders: Sequence[Path] = ()) -> list[Workload]:
    """A megabyte of each kind in both directions; writes the server's answers."""
    workloads = []
    for name, make in corpus.hostile(tuple(folders)).items():
        value = make()
        body = b'{"content":[],"structuredContent":{"value":%b}}' % value
        (folder / f"kind-{name}.json").write_bytes(body)
        workloads.append(Workload(f"result {name}", [(READS, ask(f"kind-{name}"))], 1))
        workloads.append(Workload(f"arguments {name}", [(READS, b'{"value":%b}' % value)], 1))
    return workloads


def round_trips(
    bench: Bench, workloads: Sequence[Workload], rounds: int, read: Sequence[str] = ()
) -> list[Row]:
    """Time each workload with each contender, on one CPU, after some results were read."""
    with bench.connections({min(os.sched_getaffinity(0))}) as connections:
        for name, connection in product(read, connections):
            connection.call(READS, ask(name))
        return [_alternate(connections, workload, rounds) for workload in workloads]


def write_others(folder: Path) -> list[str]:
    """Write results that have none of the texts of arguments; returns their names."""
    size = corpus.SIZES["10KB"]
    text = corpus.code()[-RESULTS * size :]
    pieces = (corpus.cut(text[number * size :], size) for number in range(RESULTS))
    return write_results(folder, "other", (as_result(piece) for piece in pieces))


def as_result(text: str) -> bytes:
    """The bytes of a result of one text."""
    return corpus.compact(corpus.text_result(text))


def conversation(bench: Bench) -> list[Row]:
    """Microseconds of calls early and late in one conversation, on one CPU; no two are alike.

    A tool that acts is given code, which is compared with results that others returned.
    """
    code, size = corpus.code(), corpus.SIZES["10KB"]
    pieces = [corpus.cut(code[at * size :], size) for at in range(2 * SENT)]
    sent = [(ACTS, corpus.compact({"text": piece})) for piece in pieces]
    small = [(READS, b'{"week":%d}' % number) for number in range(2 * SMALL)]
    read = sorted(path.stem for path in bench.folder.glob("prose-text-10KB*.json"))
    results = [(READS, ask(name)) for name, _ in zip(cycle(read), range(RESULTS), strict=False)]
    with bench.connections({min(os.sched_getaffinity(0))}) as connections:
        rows = [
            _each_once(connections, "small call, first", small[:SMALL]),
            _each_once(connections, "10 KB written, first", sent[:SENT]),
        ]
        _each_once(connections, "", results)
        late = f"10 KB written, after {RESULTS} results of others"
        rows.append(_each_once(connections, late, sent[SENT:]))
        copies = [(ACTS, (bench.folder / f"{name}.json").read_bytes()) for name in read[:SENT]]
        rows.append(_each_once(connections, "10 KB written, copied from a result", copies))
        for connection in connections:
            connection.keep_in_flight(READS, read[:1], MANY_CALLS, WINDOW)
        name = f"small call, after {MANY_CALLS}"
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
    return _row(name, samples, fate)


def _alternate(connections: Sequence[Connection], workload: Workload, rounds: int) -> Row:
    samples: dict[str, list[float]] = {each.contender.name: [] for each in connections}
    answers: dict[str, list[bytes]] = {each.contender.name: [] for each in connections}
    for turn, connection in product(range(rounds + 1), connections):
        for number in range(turn * workload.calls, (turn + 1) * workload.calls):
            taken, answer = connection.call(*workload.asked[number % len(workload.asked)])
            if turn:  # the first round warms up
                samples[connection.contender.name].append(taken / MICROSECOND)
            else:
                answers[connection.contender.name].append(answer)
    fate = {name: _fates(own, answers[DIRECT]) for name, own in answers.items()}
    return _row(workload.name, samples, fate)


def _fates(answers: Sequence[bytes], direct: Sequence[bytes]) -> str:
    """Changes to answers on their way, with the number of answers."""
    fates = Counter(starmap(fate_of, zip(answers, direct, strict=True)))
    return next(iter(fates)) if len(fates) == 1 else ", ".join(f"{n} {f}" for f, n in fates.items())


def fate_of(answer: bytes, direct: bytes) -> str:
    """Changes to an answer on its way, compared with the direct one."""
    if answer == direct:
        return "same"
    try:
        equal = json.loads(answer) == json.loads(direct)
    except ValueError:
        return "broken"
    return "re-written" if equal else "changed"


def in_flight(bench: Bench, role: str, *, is_new: bool) -> tuple[Row, Row]:
    """Microseconds, and those of the wrapper's CPU, for each of many calls on all CPUs.

    With 64 unanswered at any time, by a tool that acts or one that reads. Results of 200 B of prose
    come again and again, or none comes twice.
    """
    names = sorted(path.stem for path in bench.folder.glob("prose-text-200B*.json"))
    size, prose = corpus.SIZES["200B"], corpus.prose_of()
    texts = corpus.new_texts("prose", size, CALLS_IN_FLIGHT * (bench.rounds + 1), prose)
    name = f"{WINDOW} in flight, {'new' if is_new else 'known'}, {role}"
    times, used = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    with bench.connections(os.sched_getaffinity(0)) as connections:
        clocks = [(each, cpu_clock(each)) for each in connections]
        for turn, (connection, clock) in product(range(bench.rounds + 1), clocks):
            if is_new and connection is connections[0]:
                bodies = map(as_result, islice(texts, CALLS_IN_FLIGHT))
                names = write_results(bench.folder, f"flight-{role}-{turn}", bodies)
            before = clock()
            taken = connection.keep_in_flight(
                TOOLS[role], names, CALLS_IN_FLIGHT, WINDOW, is_known=not is_new
            )
            if turn:
                times[connection.contender.name].append(taken / CALLS_IN_FLIGHT / MICROSECOND)
                used[connection.contender.name].append((clock() - before) * 1e6 / CALLS_IN_FLIGHT)
    return _row(name, times), _row(name, used)


def _row(
    name: str, samples: Mapping[str, Sequence[float]], fate: Mapping[str, str] | None = None
) -> Row:
    return Row(name, {each: Figure.of(taken) for each, taken in samples.items()}, fate or {})


def cpu_clock(connection: Connection) -> Callable[[], float]:
    """The seconds of CPU that a wrapper's processes have used; 0 without a wrapper."""
    root = connection.process.pid
    if connection.contender.name == DIRECT:
        return lambda: 0.0
    server = memory.find_process(root, connection.pid_of_server())
    return lambda: memory.cpu_seconds(root, server)


def open_once(bench: Bench) -> None:
    """Let each wrapper compile its rules, and pin the tools, before anything is measured."""
    with bench.connections(os.sched_getaffinity(0)):
        pass
    memory.reap()


def start_up(bench: Bench, name: str, rounds: int, *, is_cold: bool = False) -> Row:
    """Milliseconds from the start of the process to the answer to `initialize`, on all CPUs."""
    samples = defaultdict[str, list[float]](list)
    for _ in range(rounds):
        for contender in bench.contenders:
            environment = bench.environment(contender)
            if is_cold:  # so that the rules are compiled
                environment["XDG_CACHE_HOME"] = tempfile.mkdtemp(dir=bench.place)
            with Connection(contender, environment, bench.log) as connection:
                samples[contender.name].append(connection.initialize() / 1e6)
            memory.reap()
    return _row(name, samples)


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
    connection.keep_in_flight(READS, ["prose-text-10KB"], MANY_CALLS, WINDOW)
    busy = memory.of_wrapper(root, find_server)
    for kind, (shape, role) in product(KINDS, SHAPES):
        connection.call(TOOLS[role], ask(f"{kind}-{shape}-1MB"))
    large = memory.of_wrapper(root, find_server)
    return {
        "after the handshake": idle,
        f"after {MANY_CALLS} calls of 10 KB": busy,
        "after frames of 1 MB": large,
    }
