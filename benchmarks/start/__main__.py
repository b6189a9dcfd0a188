"""`python -m benchmarks.start`: until a guarded server answers, against the same server bare."""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from threading import Thread
from time import perf_counter_ns

from benchmarks.documents.corpus import documents, existing_folder
from benchmarks.frames.client import (
    READS,
    SCRIPT,
    Connection,
    Contender,
    Wrapper,
    ask,
    environment_in,
    server_command,
)
from benchmarks.frames.figures import table
from benchmarks.frames.memory import adopt, of_wrapper, reap

BARE = "bare"
ROUNDS, COLD_ROUNDS, DOCUMENTS = 20, 2, 1000
AT_ONCE = 10
# Where it is set, each start compiles all modules of Python.
UNUSUAL = ("PYTHONDONTWRITEBYTECODE",)
HEADS = (
    *("start", "contender", "first answer, ms", "added", "slowest"),
    *("first call answered", "added", "CPU, s"),
)


@dataclass(frozen=True)
class Start:
    """One start of a server.

    Attributes:
        answer_ns: until the answer to `initialize`.
        call_ns: until the tools are listed and the first call is answered.
        cpu_seconds: of all processes, of a compiler that outlives them too.
    """

    answer_ns: int
    call_ns: int
    cpu_seconds: float


class Bench:
    """Contenders that take turns, each with folders of its own."""

    def __init__(self, contenders: Sequence[Contender], place: Path) -> None:
        """Give each contender its folders below `place`."""
        self.contenders = contenders
        self._folders = {each.name: place / each.name for each in contenders}
        self._log = (place / "stderr").open("wb")

    def environment(self, contender: Contender) -> dict[str, str]:
        """The caller's environment, with settings, state and cache of the contender's own."""
        environment = environment_in(self._folders[contender.name])
        return {name: text for name, text in environment.items() if name not in UNUSUAL}

    def forget(self, contender: Contender) -> None:
        """Remove what earlier starts stored."""
        shutil.rmtree(self._folders[contender.name], ignore_errors=True)

    def start(self, contender: Contender) -> Start:
        """Start a server, list its tools, call one, and end it."""
        before = cpu_seconds()
        with self.open(contender) as connection:
            answer = connection.initialize()
            connection.list_tools()
            connection.call()
            call = perf_counter_ns() - connection.started_ns
        reap()
        return Start(answer, call, cpu_seconds() - before)

    def start_at_once(self, contender: Contender) -> tuple[list[int], float]:
        """Start ten; returns the nanoseconds until each has answered, and the CPU of all."""
        before, taken = cpu_seconds(), list[int]()

        def start() -> None:
            with self.open(contender) as connection:
                taken.append(connection.initialize())

        threads = [Thread(target=start) for _ in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        reap()
        return sorted(taken), cpu_seconds() - before

    def open(self, contender: Contender) -> Connection:
        """A connection that is not initialized yet."""
        return Connection(contender, self.environment(contender), self._log)


def main() -> None:
    """Measure what the arguments ask for, print tables, write JSON."""
    options = arguments()
    adopt()  # so that the CPU of a compiler that outlives its starter counts
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} CPUs\n")
    with tempfile.TemporaryDirectory(prefix="start-") as name:
        place = Path(name)
        answers = place / "answers"
        answers.mkdir()
        texts = write_documents(answers, options.documents, options.folder)
        ways = {"isolates": options.isolate, "compiles": options.without_pyc}
        listed = contenders(options.against, server_command(answers), **ways)
        bench = Bench(listed, place)
        report = [
            *starts(bench, "warm", options.rounds, lambda _: None),
            *starts(bench, "cold", options.cold, bench.forget),
            *at_once(bench, options.cold),
        ]
        used = memory(bench, texts)
    if options.json:
        Path(options.json).write_text(json.dumps([report, used], indent=1) + "\n", "utf-8")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="warm starts of each (20)")
    parser.add_argument(
        "--cold", type=int, default=COLD_ROUNDS, help="starts on an empty cache of each (2)"
    )
    parser.add_argument(
        "--documents", type=int, default=DOCUMENTS, help="results before memory is read (1000)"
    )
    parser.add_argument(
        "--folder",
        action="append",
        type=existing_folder,
        default=[],
        help="projects, one in each folder in it, besides what is installed (may be repeated)",
    )
    parser.add_argument(
        "--against",
        action="append",
        type=Wrapper.parse,
        default=[],
        metavar="CHECKOUT",
        help="measure another checkout of PipeGuard in the same run (may be repeated)",
    )
    parser.add_argument(
        "--isolate", action="store_true", help="measure PipeGuard with an isolated server, too"
    )
    parser.add_argument(
        "--without-pyc", action="store_true", help="measure PipeGuard without .pyc files, too"
    )
    parser.add_argument("--json", metavar="FILE", help="write all figures to FILE")
    return parser.parse_args()


def contenders(
    against: Sequence[Wrapper], server: Sequence[str], *, isolates: bool, compiles: bool
) -> list[Contender]:
    """The bare server, PipeGuard from here in each way that is asked for, and other checkouts."""
    here = Path(__file__).resolve().parents[2]
    listed = [Contender(BARE, tuple(server)), wrapped("here", here, server)]
    if compiles:
        python = here / SCRIPT.replace("pipeguard", "python")
        words = [str(python) if python.exists() else sys.executable, "-B", "-P"]
        words += ["-X", f"pycache_prefix={os.devnull}", "-m", "pipeguard"]  # none is found there
        listed.append(Contender("no .pyc", (*words, "wrap", "--name", "start", "--", *server)))
    if isolates:
        listed.append(wrapped("isolated", here, server, "--isolate", "bubblewrap"))
    listed += [Contender.of(each.name, each.words, server) for each in against]
    return listed


def wrapped(name: str, folder: Path, server: Sequence[str], *more: str) -> Contender:
    """PipeGuard from a checkout, by its console script if its environment has one."""
    script = folder / SCRIPT
    words = [str(script)] if script.exists() else [sys.executable, "-P", "-m", "pipeguard"]
    return Contender(name, (*words, "wrap", "--name", "start", *more, "--", *server))


def write_documents(answers: Path, count: int, folders: Sequence[Path]) -> list[str]:
    """Write real documents as the results of tools; returns the tools' names."""
    names: list[str] = []
    for document in documents(count, folders, learned=None):
        text = document.text()
        if text is not None:
            names.append(f"d{len(names)}")
            result = {"content": [{"type": "text", "text": text}]}
            (answers / f"{names[-1]}.json").write_text(json.dumps(result), "utf-8")
    return names


def starts(
    bench: Bench, what: str, rounds: int, prepare: Callable[[Contender], None]
) -> list[dict[str, object]]:
    """Start each contender in turn, `rounds` times after one that does not count if warm."""
    taken: dict[str, list[Start]] = defaultdict(list)
    for _ in range(rounds + (what == "warm")):
        for contender in bench.contenders:
            prepare(contender)
            taken[contender.name].append(bench.start(contender))
    rows, report = [], []
    bare = 0.0, 0.0
    for name, each in taken.items():
        counted = each[-rounds:]
        answers = [start.answer_ns / 1e6 for start in counted]
        calls = [start.call_ns / 1e6 for start in counted]
        cpu = median(start.cpu_seconds for start in counted)
        if name == BARE:
            bare = median(answers), median(calls)
        rows.append([
            *(what, name, f"{median(answers):,.1f}", f"{median(answers) - bare[0]:,.1f}"),
            *(f"{max(answers):,.1f}", f"{median(calls):,.1f}", f"{median(calls) - bare[1]:,.1f}"),
            f"{cpu:.2f}",
        ])  # fmt: skip
        report.append({"start": what, "name": name, "ms": answers, "call": calls, "cpu": cpu})
    print(table(f"{what}, median of {rounds}", HEADS, rows), flush=True)
    return report


def at_once(bench: Bench, rounds: int) -> list[dict[str, object]]:
    """Ten starts at once on an empty cache; the slowest of the rounds counts."""
    rows, report = [], []
    for contender in bench.contenders:
        for number in range(rounds):
            bench.forget(contender)
            taken, cpu = bench.start_at_once(contender)
            first, last = taken[0] / 1e9, taken[-1] / 1e9
            rows.append([
                contender.name, f"{number + 1}", f"{first:.2f}", f"{last:.2f}", f"{cpu:.1f}"
            ])  # fmt: skip
            report.append({"name": contender.name, "first": first, "last": last, "cpu": cpu})
    heads = ("contender", "round", "first answered, s", "last", "CPU, s")
    print(table(f"{AT_ONCE} at once on an empty cache", heads, rows), flush=True)
    return report


def memory(bench: Bench, texts: Sequence[str]) -> list[dict[str, object]]:
    """The memory of a single wrapper, and of one of two that share pages."""
    rows: list[list[str]] = []
    report: list[dict[str, object]] = []
    for contender in bench.contenders:
        if contender.name != BARE:
            bench.start(contender)  # fills the cache
            for count in (1, 2):
                row = [contender.name, str(count), *memory_of(bench, contender, count, texts)]
                rows.append(row)
                report.append({"name": contender.name, "wrappers": count, "mib": row[2:]})
    heads = (
        *("contender", "wrappers", "handshake: PSS", "RSS"),
        *(f"{len(texts)} documents: PSS", "RSS"),
    )
    print(table("Memory of one wrapper, MiB", heads, rows), flush=True)
    return report


def memory_of(bench: Bench, contender: Contender, count: int, texts: Sequence[str]) -> list[str]:
    """PSS and RSS of one of several wrappers after the handshake, and after real documents."""
    with ExitStack() as stack:
        opened = [stack.enter_context(bench.open(contender)) for _ in range(count)]
        for connection in opened:
            connection.initialize()
            connection.list_tools()
        after_handshake = sizes(opened[-1])
        for connection in opened:
            for name in texts:
                connection.call(READS, ask(name))
        return [*after_handshake, *sizes(opened[-1])]


def sizes(connection: Connection) -> list[str]:
    """PSS and RSS of a wrapper's processes, in MiB."""
    used = of_wrapper(connection.process.pid, connection.pid_of_server)
    return [f"{kib / 1024:.1f}" for kib in (used.proportional_kib, used.resident_kib)]


def cpu_seconds() -> float:
    """Of all processes that were waited for."""
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
