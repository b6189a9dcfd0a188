"""`python -m benchmarks.frames`: compares PipeGuard and other wrappers with no wrapper."""

import argparse
import json
import os
import platform
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.documents.corpus import existing_folder
from benchmarks.frames import charts, figures, measure, memory
from benchmarks.frames.client import Contender, server_command
from benchmarks.frames.figures import DIRECT, Row, table
from benchmarks.frames.measure import Bench
from benchmarks.frames.memory import Memory

COLD_ROUNDS = 3  # each compiles all rules
WORST_RATIO = 5.0  # of prose's time: no kind of a megabyte may take more
PIPEGUARD = [sys.executable, "-m", "pipeguard", "wrap", "--name", "frames", "--"]


def main() -> None:
    """Measure what the arguments ask for, print tables, write JSON."""
    options = arguments()
    memory.adopt()
    with tempfile.TemporaryDirectory(prefix="frames-") as place:
        folder = Path(place) / "answers"
        folder.mkdir()
        daily = measure.results_and_arguments(folder, options.folder)
        kinds = measure.kinds(folder, options.folder)
        with Path(options.log).open("wb") as log:
            bench = Bench(
                contenders=contenders(options, folder),
                environment=environment(Path(place)),
                folder=folder,
                rounds=options.rounds or (3 if options.quick else 20),
                log=log,
            )
            if options.quick:
                daily = [workload for workload in daily if "100KB" not in workload.name]
            report = run(bench, daily, kinds)
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    if options.page:
        charts.write(report, options.page)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.frames",
        description=__doc__,
        epilog="example: python -m benchmarks.frames --peer 'other-wrapper run -- {}' --quick",
    )
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="CMD",
        help="another wrapper; the server's command replaces {} or follows it (may be repeated)",
    )
    parser.add_argument(
        "--wrapper", metavar="CMD", help="measure CMD in place of `pipeguard wrap`, as --peer does"
    )
    parser.add_argument("--rounds", type=int, help="turns that each contender takes (20)")
    parser.add_argument("--quick", action="store_true", help="3 rounds, and no 100 KB")
    parser.add_argument(
        "--folder",
        type=existing_folder,
        action="append",
        default=[],
        metavar="DIR",
        help="each folder in DIR is a project whose documents are the prose, besides what is "
        "installed; may be repeated",
    )
    parser.add_argument("--json", metavar="FILE", help="write all figures to FILE")
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="write tables and drawing into the page FILE"
    )
    parser.add_argument(
        "--log", metavar="FILE", default=os.devnull, help="where wrappers' stderr goes"
    )
    return parser.parse_args()


def contenders(options: argparse.Namespace, folder: Path) -> list[Contender]:
    """The contenders, the direct connection first."""
    server = server_command(folder)
    wrapper = shlex.split(options.wrapper) if options.wrapper else PIPEGUARD
    name = Path(wrapper[0]).name if options.wrapper else "pipeguard"
    listed = [Contender(DIRECT, tuple(server)), Contender.of(name, wrapper, server)]
    for number, peer in enumerate(options.peer, 1):
        words = shlex.split(peer)
        listed.append(Contender.of(f"peer{number}:{Path(words[0]).name}", words, server))
    return listed


def environment(place: Path) -> dict[str, str]:
    """The caller's environment, with settings, state and cache of this run's own."""
    folders = {f"XDG_{name}_HOME": str(place / name) for name in ("CONFIG", "STATE", "CACHE")}
    return os.environ | folders


def run(
    bench: Bench, daily: Sequence[measure.Workload], kinds: Sequence[measure.Workload]
) -> dict[str, object]:
    """Take and print all measurements."""
    wrappers = [contender.name for contender in bench.contenders if contender.name != DIRECT]
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} CPUs\n")
    measure.start_up(bench, "fills the cache", 1, lambda: bench.environment)
    warm = measure.start_up(bench, "rules cached", bench.rounds, lambda: bench.environment)
    cold = measure.start_up(
        bench, "rules not cached", COLD_ROUNDS, lambda: measure.fresh_cache(bench)
    )
    show_times("Start to first answer, ms", [warm, cold], wrappers)
    trips = measure.round_trips(bench, daily, bench.rounds)
    show_times("Round trip on one CPU, µs", trips, wrappers)
    late = measure.conversation(bench)
    show_times("One conversation on one CPU, µs", late, wrappers)
    flight = measure.in_flight(bench)
    show_rates(flight, wrappers)
    used = measure.memory_use(bench)
    show_memory(used)
    hostile = measure.round_trips(bench, kinds, max(3, bench.rounds // 2))
    show_kinds(hostile, wrappers)
    return {
        "machine": {"platform": platform.platform(), "python": platform.python_version()},
        "contenders": {each.name: shlex.join(each.command) for each in bench.contenders},
        "start_up_ms": [row.as_json() for row in (warm, cold)],
        "round_trip_us": [row.as_json() for row in trips],
        "conversation_us": [row.as_json() for row in late],
        "in_flight_us_a_call": flight.as_json(),
        "memory": {
            name: {when: asdict(memory) for when, memory in points.items()}
            for name, points in used.items()
        },
        "kinds_us": [row.as_json() for row in hostile],
    }


def show_times(title: str, rows: Sequence[Row], wrappers: Sequence[str]) -> None:
    """A table for each wrapper."""
    for name in wrappers:
        lines = figures.time_rows(rows, name)
        print(table(f"{title}: {name}", figures.TIME_HEADS, lines), flush=True)


def show_rates(row: Row, wrappers: Sequence[str]) -> None:
    """Calls a second for each contender."""
    direct = row.figures[DIRECT].median
    lines = [
        [
            name,
            f"{1e6 / row.figures[name].median:,.0f}",
            f"{row.figures[name].median:,.2f}",
            f"{row.figures[name].p99:,.2f}",
            f"{row.figures[name].median / direct:.2f}",
        ]
        for name in (DIRECT, *wrappers)
    ]
    heads = ("contender", "calls/s", "µs a call", "p99", "ratio")
    print(table(f"Calls on all CPUs, {row.name}", heads, lines), flush=True)


def show_memory(used: Mapping[str, Mapping[str, Memory]]) -> None:
    """Memory of each wrapper, without the server."""
    lines = [
        [
            f"{name} {when}",
            str(memory.processes),
            f"{memory.resident_kib / 1024:.1f}",
            f"{memory.proportional_kib / 1024:.1f}",
        ]
        for name, points in used.items()
        for when, memory in points.items()
    ]
    heads = ("own memory", "processes", "RSS MiB", "PSS MiB")
    print(table("Memory of the wrapper's own processes", heads, lines), flush=True)


def show_kinds(rows: Sequence[Row], wrappers: Sequence[str]) -> None:
    """Time added for a megabyte of each kind, compared with prose in the same direction."""
    for name in wrappers:
        prose = {row.name.split()[0]: row.added(name).median for row in rows if is_prose(row)}
        lines = []
        for row in sorted(rows, key=lambda row: -row.added(name).median):
            ratio = row.added(name).median / prose[row.name.split()[0]]
            mark = "TOO SLOW" if ratio > WORST_RATIO else row.fate[name]
            lines.append([row.name, f"{row.added(name).median / 1000:,.2f}", f"{ratio:.2f}", mark])
        heads = ("kind", "added ms", "of prose", "frame")
        print(table(f"A megabyte of each kind: {name}", heads, lines), flush=True)


def is_prose(row: Row) -> bool:
    """True if the other rows in its direction are compared with this row."""
    return row.name.endswith(" prose")


if __name__ == "__main__":
    main()
