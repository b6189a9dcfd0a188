"""The price of a record: time, CPU and memory of `wrap` with and without one, and its size.

Contenders take turns, call by call of a round, on one CPU. The share that recording adds is the
median of what it added in each round, so that other load on the machine disturbs it little.
"""

import os
import sys
from collections import defaultdict
from itertools import cycle, islice, product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.frames import corpus, measure, memory
from benchmarks.frames.client import READS, Connection, Contender, ask, server_command
from benchmarks.frames.figures import table
from benchmarks.frames.measure import Bench

PLAIN, RECORDING = "wrap", "wrap --record"
CALLS = {"200B": 100, "10KB": 30}  # of a round
AGES, WAYS, KINDS = ("known", "new"), ("result", "arguments"), ("prose", "code")
KNOWN = 40  # texts that come again
MANY = 1_000  # calls of 10 KB, before memory is read
HEADS = ("calls", PLAIN, RECORDING, "more", f"CPU, {PLAIN}", f"CPU, {RECORDING}", "more CPU")


def measure_price(rounds: int) -> None:
    """Print tables of time, CPU and memory."""
    memory.adopt()
    with TemporaryDirectory(prefix="records-") as place, Path(os.devnull).open("wb") as log:
        folder = Path(place) / "answers"
        folder.mkdir()
        (Path(place) / "record").mkdir(0o700)
        wrap = [sys.executable, "-m", "pipeguard", "wrap", "--name", "frames"]
        words = {PLAIN: [*wrap, "--"], RECORDING: [*wrap, "--record", f"{place}/record", "--"]}
        contenders = [
            Contender.of(name, each, server_command(folder)) for name, each in words.items()
        ]
        bench = Bench(contenders, Path(place), folder, rounds, log)
        measure.open_once(bench)
        lines = [compare(bench, *each) for each in product(AGES, WAYS, CALLS, KINDS)]
        print(table("One call on one CPU, in µs", HEADS, lines))
        show_memory(bench)
        sizes = [path.stat().st_size for path in (Path(place) / "record").iterdir()]
        print(f"{len(sizes)} records, the largest of {max(sizes) / 1e6:.1f} MB\n")


def list_calls(bench: Bench, age: str, way: str, size: str, kind: str) -> list[bytes]:
    """The arguments of all calls: texts of which none comes twice, or forty that come again."""
    wanted = CALLS[size] * (bench.rounds + 1)
    number = wanted if age == "new" else KNOWN
    texts = corpus.new_texts(kind, corpus.SIZES[size], number, corpus.prose_of())
    bodies = [measure.as_result(text) for text in texts]
    if way == "result":
        refs = measure.write_results(bench.folder, f"{age}-{kind}-{size}", bodies)
        bodies = [ask(ref) for ref in refs]
    return [*islice(cycle(bodies), wanted)]


def compare(bench: Bench, age: str, way: str, size: str, kind: str) -> list[str]:
    """Time the same calls with each contender; returns a row."""
    asked, count = list_calls(bench, age, way, size, kind), CALLS[size]
    times, used = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    with bench.connections({min(os.sched_getaffinity(0))}) as connections:
        servers = [
            memory.find_process(each.process.pid, each.pid_of_server()) for each in connections
        ]
        pairs = [*zip(connections, servers, strict=True)]
        turns = range(bench.rounds + 1)
        for turn, (each, server) in (
            (t, pair) for t in turns for pair in pairs[:: 1 - 2 * (t % 2)]
        ):
            before = nanoseconds(each, server)
            part = asked[turn * count : (turn + 1) * count]
            taken = [each.call(READS, arguments)[0] for arguments in part]
            if turn:  # the first round warms up
                times[each.contender.name].append(median(taken) / 1000)
                spent = nanoseconds(each, server) - before
                used[each.contender.name].append(spent / count / 1000)
    return [f"{age} {way} {size} {kind}", *cells(times), *cells(used)]


def cells(samples: dict[str, list[float]]) -> list[str]:
    """The medians of both, and the median of what one has more in each round."""
    plain, recording = samples[PLAIN], samples[RECORDING]
    more = median(new / old - 1 for new, old in zip(recording, plain, strict=True))
    return [f"{median(plain):,.0f}", f"{median(recording):,.0f}", f"{more:+.0%}"]


def nanoseconds(connection: Connection, server: int) -> int:
    """The CPU time of all threads of a wrapper (proc(5), schedstat)."""
    tasks = (
        task
        for pid in memory.tree(connection.process.pid, server)
        for task in (memory.PROC / str(pid) / "task").iterdir()
    )
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def show_memory(bench: Bench) -> None:
    """Print the memory of both after the handshake and after many calls."""
    texts = corpus.new_texts("prose", corpus.SIZES["10KB"], MANY, corpus.prose_of())
    names = measure.write_results(bench.folder, "memory", map(measure.as_result, texts))
    lines = []
    with bench.connections(os.sched_getaffinity(0)) as connections:
        for each in connections:
            sizes = [memory.of_wrapper(each.process.pid, each.pid_of_server)]
            each.keep_in_flight(READS, names, MANY, measure.WINDOW)
            sizes.append(memory.of_wrapper(each.process.pid, each.pid_of_server))
            shown = [f"{size.proportional_kib / 1024:.1f}" for size in sizes]
            lines.append([each.contender.name, *shown])
    print(table("PSS, MiB", ("contender", "at first", f"after {MANY} of 10 KB"), lines))
