"""`python -m benchmarks.gateway`: compares calls through `pipeguard serve` with direct ones."""

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from time import perf_counter

from benchmarks.frames.figures import Figure, table
from benchmarks.frames.memory import field
from benchmarks.gateway.client import Client, Object

SERVER = str(Path(__file__).with_name("server.py"))
COUNTS = (1, 10, 50)  # servers behind the gateway
CALLS, QUICK_CALLS = 1000, 100  # of one client, one after the other
CLIENTS = 64  # calls in flight
LOAD_SECONDS, QUICK_SECONDS = 10.0, 1.0
TEXT = "The library opens at nine, and the boats are moored at the northern pier. " * 3  # 222 B
WARM_CALLS = 20


def main() -> None:
    """Measure what the arguments ask for, print tables, write JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gateway",
        description=__doc__,
        epilog="example: python -m benchmarks.gateway --servers 1 --servers 10 --quick",
    )
    parser.add_argument("--servers", type=int, action="append", help="so many (1, 10 and 50)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the calls")
    parser.add_argument("--json", metavar="FILE", help="write all figures to FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gateway-") as place, ExitStack() as stack:
        log = stack.enter_context((Path(place) / "stderr").open("wb"))
        report = asyncio.run(
            run(Path(place), log.fileno(), options.servers or COUNTS, quick=options.quick)
        )
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n", "utf-8")


async def run(
    folder: Path, log: int, counts: Sequence[int], *, quick: bool
) -> list[dict[str, float | None]]:
    """Take and print all measurements."""
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} CPUs\n")
    calls = QUICK_CALLS if quick else CALLS
    seconds = QUICK_SECONDS if quick else LOAD_SECONDS
    report = [await figures_of(folder, log, count, calls, seconds) for count in counts]
    rows = [shown(figures) for figures in report]
    heads = (
        *("servers", "ready s", "direct ms", "through ms, p50 / p99", "added", "direct calls/s"),
        *("through calls/s", "p99 ms, quiet / beside load", "PSS MiB", "after load"),
    )
    print(table("Calls of 222 bytes, through the gateway and direct", heads, rows))
    return report


async def figures_of(
    folder: Path, log: int, count: int, calls: int, seconds: float
) -> dict[str, float | None]:
    """All figures of a gateway before so many servers."""
    async with AsyncExitStack() as stack:
        direct = await Client.start([sys.executable, SERVER, "s0"], os.environ, log)
        stack.push_async_callback(direct.close)
        began = perf_counter()
        through = await Client.start(gateway(folder, count), environment(folder), log)
        stack.push_async_callback(through.close)
        await all_found(through, count)
        ready = perf_counter() - began
        own, its = await alternately(direct, through, count, calls)
        kib = field(through.process.pid, "smaps_rollup", "Pss")
        rates = [await rate(direct, None, seconds), await rate(through, count, seconds)]
        quiet, loaded = await beside_load(through, count, seconds)
        return {
            "servers": count,
            "ready_s": ready,
            "direct_ms": own.median,
            "through_ms": its.median,
            "through_p99_ms": its.p99,
            "direct_calls_per_s": rates[0],
            "through_calls_per_s": rates[1],
            "quiet_p99_ms": quiet.p99 if quiet else None,
            "loaded_p99_ms": loaded.p99 if loaded else None,
            "pss_mib": kib / 1024,
            "pss_loaded_mib": field(through.process.pid, "smaps_rollup", "Pss") / 1024,
        }


def shown(figures: Mapping[str, float | None]) -> list[str]:
    """One line of the table."""
    known = {name: value or 0.0 for name, value in figures.items()}
    beside = f"{known['quiet_p99_ms']:.1f} / {known['loaded_p99_ms']:.1f}"
    return [
        f"{known['servers']:.0f}",
        f"{known['ready_s']:.2f}",
        f"{known['direct_ms']:.2f}",
        f"{known['through_ms']:.2f} / {known['through_p99_ms']:.2f}",
        f"{known['through_ms'] - known['direct_ms']:+.2f}",
        f"{known['direct_calls_per_s']:,.0f}",
        f"{known['through_calls_per_s']:,.0f}",
        beside if figures["quiet_p99_ms"] is not None else "-",
        f"{known['pss_mib']:.1f}",
        f"{known['pss_loaded_mib']:.1f}",
    ]


def gateway(folder: Path, count: int) -> list[str]:
    """The command of a gateway before so many servers."""
    servers = {
        f"s{number}": {
            "command": sys.executable,
            "args": [SERVER, f"s{number}"],
            "trust": "first-use",
        }
        for number in range(count)
    }
    path = folder / f"{count}.yaml"
    path.write_text(json.dumps({"servers": servers}))
    path.chmod(0o600)
    return [sys.executable, "-m", "pipeguard", "serve", "--config", str(path)]


def environment(folder: Path) -> dict[str, str]:
    """The caller's environment, with settings and state of this run's own."""
    places = {f"XDG_{name}_HOME": str(folder / name) for name in ("CONFIG", "STATE")}
    return os.environ | places


async def all_found(client: Client, count: int) -> None:
    """Wait until the tool of each server can be called."""
    for number in range(count):
        while True:
            try:
                await client.call(*by_gateway(number))
                break
            except RuntimeError:
                await asyncio.sleep(0.05)


def by_gateway(number: int) -> tuple[str, Object]:
    """A call of one server's tool through the gateway."""
    return "call_tool_write", {
        "name": f"s{number}__echo_s{number}",
        "arguments": {"text": f"{number} {TEXT}"},
    }


async def alternately(
    direct: Client, through: Client, count: int, calls: int
) -> tuple[Figure, Figure]:
    """Milliseconds of calls one after the other, direct and through the gateway in turns."""
    own: list[float] = []
    its: list[float] = []
    for number in range(calls + WARM_CALLS):
        own.append(await direct.call("echo_s0", {"text": f"{number} {TEXT}"}))
        its.append(await through.call(*by_gateway(number % count)))
    return Figure.of(own[WARM_CALLS:]), Figure.of(its[WARM_CALLS:])


async def rate(client: Client, count: int | None, seconds: float) -> float:
    """Calls a second with `CLIENTS` in flight; direct if `count` is None."""
    end = perf_counter() + seconds
    done = 0

    async def work(number: int) -> None:
        nonlocal done
        while perf_counter() < end:
            if count is None:
                await client.call("echo_s0", {"text": f"{done} {TEXT}"})
            else:
                await client.call(*by_gateway(number % count))
            done += 1

    began = perf_counter()
    await asyncio.gather(*(work(number) for number in range(CLIENTS)))
    return done / (perf_counter() - began)


async def beside_load(
    client: Client, count: int, seconds: float
) -> tuple[Figure | None, Figure | None]:
    """Milliseconds of calls of one server, unloaded and while another is saturated."""
    if count < 2:
        return None, None

    async def probe() -> Figure:
        end, taken = perf_counter() + seconds, list[float]()
        while perf_counter() < end:
            taken.append(await client.call(*by_gateway(0)))
            await asyncio.sleep(0.002)
        return Figure.of(taken)

    quiet = await probe()
    is_over = False

    async def load() -> None:
        while not is_over:
            await client.call(*by_gateway(1))

    loading = [asyncio.create_task(load()) for _ in range(CLIENTS)]
    loaded = await probe()
    is_over = True
    await asyncio.gather(*loading)
    return quiet, loaded


if __name__ == "__main__":
    main()
