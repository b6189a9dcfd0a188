"""`python -m benchmarks.http`: compares PipeGuard and other hops with no hop."""

import argparse
import asyncio
import json
import os
import platform
import shlex
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from benchmarks.frames import figures
from benchmarks.frames.client import environment_in
from benchmarks.frames.figures import DIRECT, Row, table
from benchmarks.http import measure
from benchmarks.http.measure import Hop
from benchmarks.http.server import EVENTS

PIPEGUARD = [sys.executable, "-m", "pipeguard", "wrap", "--name", "http"]
ROUNDS, QUICK_ROUNDS = 20, 3
TURN_SECONDS, SHORT_TURN_SECONDS = 1.0, 0.1  # of calls from many clients


def main() -> None:
    """Measure what the arguments ask for, print tables, write JSON."""
    options = arguments()
    measure.raise_limits()
    with tempfile.TemporaryDirectory(prefix="http-") as place, ExitStack() as stack:
        folder = Path(place)
        url = stack.enter_context(measure.server())
        hops = [Hop(DIRECT, url, 0)]
        for name, command in contenders(options):
            log = Path(options.log or folder) / f"{name.replace(':', '-')}.log"
            started = measure.start_hop(name, command, url, environment_in(folder), log)
            hops.append(stack.enter_context(started))
        report = asyncio.run(run(hops, options))
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n", "utf-8")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.http",
        description=__doc__,
        epilog="example: python -m benchmarks.http --peer 'python benchmarks/http/forward.py'",
    )
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="CMD",
        help="another hop; `--listen 127.0.0.1:0 --upstream URL` follows it (may be repeated)",
    )
    parser.add_argument("--without-pipeguard", action="store_true", help="measure only the peers")
    parser.add_argument("--rounds", type=int, help=f"turns that each contender takes ({ROUNDS})")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds")
    parser.add_argument("--few", action="store_true", help="few sessions: shows only that it works")
    parser.add_argument("--json", metavar="FILE", help="write all figures to FILE")
    parser.add_argument("--log", metavar="FOLDER", help="where the hops' stderr is stored")
    return parser.parse_args()


def contenders(options: argparse.Namespace) -> list[tuple[str, list[str]]]:
    """The contenders besides the direct connection."""
    listed = [] if options.without_pipeguard else [("pipeguard", PIPEGUARD)]
    for number, peer in enumerate(options.peer, 1):
        words = shlex.split(peer)
        listed.append((f"peer{number}:{Path(words[-1]).stem}", words))
    return listed


async def run(hops: Sequence[Hop], options: argparse.Namespace) -> dict[str, object]:
    """Take and print all measurements."""
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    seconds = SHORT_TURN_SECONDS if options.few else TURN_SECONDS
    count = measure.FEW_SESSIONS if options.few else measure.SESSIONS
    own = [hop for hop in hops if hop.pid]
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} CPUs\n")
    idle = {hop.name: hop.proportional_kib() for hop in own}
    trips = await measure.round_trips(hops, rounds)
    for hop in own:
        shown = figures.time_rows(trips, hop.name)
        print(table(f"Round trip of one client, µs: {hop.name}", figures.TIME_HEADS, shown))
    rates = await measure.rates(hops, rounds, seconds)
    print(table("Calls a second", ("contender", *(row.name for row in rates)), rate_rows(rates)))
    loaded = {hop.name: hop.proportional_kib() for hop in own}
    streams = {hop.name: await measure.stream(hop) for hop in hops}
    show_streams(streams)
    closed = {hop.name: await measure.many_sessions(hop, count) for hop in own}
    open_ = {hop.name: await measure.idle_streams(hop, count) for hop in own}
    show_usage(count, idle, loaded, closed, open_)
    return {
        "machine": {"platform": platform.platform(), "python": platform.python_version()},
        "round_trip_us": [row.as_json() for row in trips],
        "calls_a_second": [row.as_json() for row in rates],
        "stream": {name: asdict(streamed) for name, streamed in streams.items()},
        "memory_kib": {"idle": idle, "after_load": loaded},
        "sessions_closed": {name: asdict(usage) for name, usage in closed.items()},
        "streams_open": {name: asdict(usage) for name, usage in open_.items()},
    }


def rate_rows(rows: Sequence[Row]) -> list[list[str]]:
    """Calls a second for each contender, and each number of clients."""
    return [
        [name, *(f"{row.figures[name].median:,.0f}" for row in rows)] for name in rows[0].figures
    ]


def show_streams(streams: dict[str, measure.Streamed]) -> None:
    """Arrival of the long stream."""
    lines = [
        [
            name,
            f"{streamed.first_ms:.2f}",
            f"{streamed.rate:,.0f}",
            "yes" if streamed.complete else "NO",
            "yes" if streamed.in_order else "NO",
        ]
        for name, streamed in streams.items()
    ]
    heads = ("contender", "first event ms", "events/s", "complete", "in order")
    print(table(f"A stream of {EVENTS:,} events", heads, lines))


def show_usage(
    count: int,
    idle: dict[str, int],
    loaded: dict[str, int],
    closed: dict[str, measure.Usage],
    open_: dict[str, measure.Usage],
) -> None:
    """Memory and descriptors of each hop's own processes."""
    lines = [
        [
            name,
            f"{idle[name] / 1024:.1f}",
            f"{loaded[name] / 1024:.1f}",
            f"{(closed[name].after_kib - closed[name].before_kib) / 1024:+.1f}",
            f"{closed[name].after_descriptors - closed[name].before_descriptors:+d}",
            f"{open_[name].per_connection_kib(count):.1f}",
            f"{(open_[name].after_kib - open_[name].before_kib) / 1024:+.1f}",
            f"{open_[name].after_descriptors - open_[name].before_descriptors:+d}",
        ]
        for name in idle
    ]
    many = f"{count:,}"
    heads = (
        "PSS",
        "at start MiB",
        "after load MiB",
        f"{many} sessions closed MiB",
        "descriptors",
        f"{many} idle streams KiB each",
        "closed MiB",
        "descriptors",
    )
    print(table("Memory and descriptors of the hop's own processes", heads, lines), flush=True)


if __name__ == "__main__":
    main()
