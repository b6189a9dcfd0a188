"""`python -m benchmarks.frames`: compares PipeGuard and other wrappers with no wrapper."""

import argparse
import json
import os
import platform
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path

from benchmarks.documents.corpus import existing_folder
from benchmarks.frames import charts, figures, measure, memory, reading
from benchmarks.frames.client import Contender, Wrapper, server_command
from benchmarks.frames.figures import DIRECT, Row, table
from benchmarks.frames.measure import Bench
from benchmarks.frames.memory import Memory

COLD_ROUNDS = 3  # each compiles all rules
WORST_RATIO = 5.0  # of prose's time: no kind of a megabyte may take more
ROUNDS, QUICK_ROUNDS = 12, 3
PARTS = ("start", "trips", "conversation", "flight", "documents", "memory", "kinds")
PIPEGUARD = (sys.executable, "-m", "pipeguard", "wrap", "--name", "frames", "--")


def main() -> None:
    """Measure what the arguments ask for, print tables, write JSON."""
    options = arguments()
    memory.adopt()
    with tempfile.TemporaryDirectory(prefix="frames-") as place, ExitStack() as stack:
        folder = Path(place) / "answers"
        folder.mkdir()
        bench = Bench(
            contenders=contenders(options, folder),
            place=Path(place),
            folder=folder,
            rounds=options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS),
            log=stack.enter_context(Path(options.log).open("wb")),
        )
        report = run(bench, options)
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    if options.page:
        charts.write(report, options.page)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.frames",
        description=__doc__,
        epilog="example: python -m benchmarks.frames --quick --against 'other-wrapper run -- {}'",
    )
    add = parser.add_argument
    add(
        "--against",
        type=Wrapper.parse,
        action="append",
        default=[],
        metavar="CMD",
        help="another wrapper; the server's command replaces {} or follows it. Or the folder of "
        "another checkout (may be repeated)",
    )
    add(
        "--wrapper",
        type=Wrapper.parse,
        default=Wrapper("pipeguard", PIPEGUARD),
        metavar="CMD",
        help="measure CMD in place of `pipeguard wrap`, as --against does",
    )
    add("--only", choices=PARTS, action="append", help="only this part (may be repeated)")
    add("--rounds", type=int, help=f"turns that each contender takes ({ROUNDS})")
    add("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds, and no 100 KB")
    add("--documents", type=int, help=f"number of real documents ({reading.COUNT})")
    add(
        "--folder",
        type=existing_folder,
        action="append",
        default=[],
        metavar="DIR",
        help="each folder in DIR is a project whose documents are read, besides what is "
        "installed; may be repeated",
    )
    add("--json", metavar="FILE", help="write all figures to FILE")
    add("--page", type=Path, metavar="FILE", help="write tables and drawing into the page FILE")
    add("--log", metavar="FILE", default=os.devnull, help="where wrappers' stderr goes")
    options = parser.parse_args()
    if options.page and options.only:
        parser.error("--page shows all parts")
    return options


def contenders(options: argparse.Namespace, folder: Path) -> list[Contender]:
    """The contenders, the direct connection first."""
    server = server_command(folder)
    listed = [Contender(DIRECT, tuple(server))]
    for each in (options.wrapper, *options.against):
        names = {contender.name for contender in listed}
        name = f"{each.name} {len(listed)}" if each.name in names else each.name
        listed.append(Contender.of(name, each.words, server))
    return listed


def run(bench: Bench, options: argparse.Namespace) -> dict[str, object]:
    """Take and print the measurements that the options ask for."""
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} CPUs\n")
    wrappers = [contender.name for contender in bench.contenders if contender.name != DIRECT]
    daily = measure.results_and_arguments(bench.folder, options.folder)
    if options.quick:
        daily = [workload for workload in daily if "100KB" not in workload.name]
    measure.open_once(bench)
    parts: dict[str, Callable[[], dict[str, object]]] = {
        "start": partial(measure_start, bench, wrappers),
        "trips": partial(measure_trips, bench, daily, options, wrappers),
        "conversation": partial(measure_conversation, bench, wrappers),
        "flight": partial(measure_flight, bench),
        "documents": partial(measure_documents, bench, options),
        "memory": partial(measure_memory, bench),
        "kinds": partial(measure_kinds, bench, options.folder, wrappers),
    }
    report: dict[str, object] = {
        "machine": {"platform": platform.platform(), "python": platform.python_version()},
        "contenders": {each.name: shlex.join(each.command) for each in bench.contenders},
    }
    for name, part in parts.items():
        if options.only is None or name in options.only:
            report |= part()
    return report


def measure_start(bench: Bench, wrappers: Sequence[str]) -> dict[str, object]:
    """Start-up with and without compiled rules."""
    warm = measure.start_up(bench, "rules cached", bench.rounds)
    cold = measure.start_up(bench, "rules not cached", COLD_ROUNDS, is_cold=True)
    show_times("Start to first answer, ms", [warm, cold], wrappers)
    return {"start_up_ms": [row.as_json() for row in (warm, cold)]}


def measure_trips(
    bench: Bench,
    daily: Sequence[measure.Workload],
    options: argparse.Namespace,
    wrappers: Sequence[str],
) -> dict[str, object]:
    """Round trips of everyday frames."""
    new = measure.new_texts(bench.folder, bench.rounds, options.folder)
    if options.quick:
        new = [workload for workload in new if "100KB" not in workload.name]
    others = measure.write_others(bench.folder)
    trips = []
    for some in (daily, new):
        results = [each for each in some if "result " in each.name]
        arguments = [each for each in some if each not in results]
        trips += measure.round_trips(bench, results, bench.rounds)
        trips += measure.round_trips(bench, arguments, bench.rounds, others)
    show_times("Round trip on one CPU, µs", trips, wrappers)
    return {"round_trip_us": [row.as_json() for row in trips]}


def measure_conversation(bench: Bench, wrappers: Sequence[str]) -> dict[str, object]:
    """Calls early and late in a conversation."""
    late = measure.conversation(bench)
    show_times("One conversation on one CPU, µs", late, wrappers)
    return {"conversation_us": [row.as_json() for row in late]}


def measure_flight(bench: Bench) -> dict[str, object]:
    """Many calls at once."""
    flight = {
        f"{age}, {role}": measure.in_flight(bench, role, is_new=age == "new")
        for age, role in product(("known", "new"), measure.TOOLS)
    }
    for times, cpu in flight.values():
        show_rates(times, cpu)
    return {
        "in_flight_us_a_call": {role: times.as_json() for role, (times, _) in flight.items()},
        "in_flight_cpu_us_a_call": {role: cpu.as_json() for role, (_, cpu) in flight.items()},
    }


def measure_documents(bench: Bench, options: argparse.Namespace) -> dict[str, object]:
    """Real documents."""
    count = options.documents or (reading.QUICK if options.quick else reading.COUNT)
    names = reading.write(bench.folder, options.folder, count)
    report = {}
    for role in measure.TOOLS:
        readings = reading.read_all(bench, names, role)
        print(reading.show(readings, role), flush=True)
        report[role] = {name: each.as_json() for name, each in readings.items()}
    return {"documents": report}


def measure_memory(bench: Bench) -> dict[str, object]:
    """Memory after other work."""
    used = measure.memory_use(bench)
    show_memory(used)
    return {
        "memory": {
            name: {when: asdict(memory) for when, memory in points.items()}
            for name, points in used.items()
        }
    }


def measure_kinds(
    bench: Bench, folders: Sequence[Path], wrappers: Sequence[str]
) -> dict[str, object]:
    """A megabyte of each kind."""
    kinds = measure.kinds(bench.folder, folders)
    rows = measure.round_trips(bench, kinds, max(1, bench.rounds // 4))
    show_kinds(rows, wrappers)
    return {"kinds_us": [row.as_json() for row in rows]}


def show_times(title: str, rows: Sequence[Row], wrappers: Sequence[str]) -> None:
    """A table for each wrapper."""
    for name in wrappers:
        lines = figures.time_rows(rows, name)
        print(table(f"{title}: {name}", figures.TIME_HEADS, lines), flush=True)


def show_rates(times: Row, cpu: Row) -> None:
    """Calls a second for each contender."""
    direct = times.figures[DIRECT].median
    lines = [
        [
            name,
            f"{1e6 / figure.median:,.0f}",
            f"{figure.median:,.2f}",
            f"{figure.p99:,.2f}",
            f"{figure.median / direct:.2f}",
            f"{cpu.figures[name].median:,.0f}",
        ]
        for name, figure in times.figures.items()
    ]
    heads = ("contender", "calls/s", "µs a call", "p99", "ratio", "CPU of the wrapper")
    print(table(f"Calls on all CPUs, {times.name}", heads, lines), flush=True)


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
