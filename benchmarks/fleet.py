"""`python -m benchmarks.fleet`: what replicas on PostgreSQL cost, and how they outlast it."""

import argparse
import asyncio
import os
import platform
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles
from time import monotonic, perf_counter, sleep

import aiohttp

from benchmarks.frames.figures import table
from benchmarks.frames.memory import cpu_seconds
from tests.fleet.load import META, NEWEST, TOOL, Load, count_calls, describe
from tests.fleet.postgres import Cluster
from tests.fleet.replicas import Fleet, balance

SIZES = (0, 1, 2, 4)  # replicas; 0 is one process on SQLite
STATISTICS = "shared_preload_libraries=pg_stat_statements"
AT_ONCE = 16  # calls, for calls a second
HEADS = ("store", "replicas", "ms, median", "ms, 99 %", "CPU ms a call", "statements", "calls/s")
HEADERS = {
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": NEWEST,
    "Mcp-Method": "tools/call",
    "Mcp-Name": TOOL,
}


class Contender:
    """Replicas behind HAProxy, or one process on SQLite behind it.

    Attributes:
        waits: of calls one after the other, in ms.
        costs: of each round, CPU in ms a call.
        statements: of each round, in the database, a call.
        rates: of each round, in calls a second.
    """

    def __init__(self, folder: Path, cluster: Cluster, size: int, stack: ExitStack) -> None:
        """Start it, and end it with the stack."""
        self.size = size
        self._cluster = cluster
        self._database = cluster.create_database() if size else ""
        self._name = self._database.rpartition("/")[2]
        self._fleet = stack.enter_context(Fleet(folder, self._database, max(size, 1)))
        addresses = self._fleet.addresses
        self._address = stack.enter_context(balance(folder / "haproxy", "haproxy", addresses))
        self.waits = list[float]()
        self.costs = list[float]()
        self.statements = list[float]()
        self.rates = list[float]()

    async def take_turn(self, calls: int, *, is_counted: bool) -> None:
        """Call one after the other, then many at once."""
        connector = aiohttp.TCPConnector(limit=AT_ONCE)
        async with aiohttp.ClientSession(f"http://{self._address}", connector=connector) as http:
            waits = [await self._call(http) for _ in range(calls)]
            before, cpu, began = self._count_statements(), self._cpu(), monotonic()
            for _ in range(calls // AT_ONCE * 4):
                await asyncio.gather(*(self._call(http) for _ in range(AT_ONCE)))
            took, number = monotonic() - began, calls // AT_ONCE * 4 * AT_ONCE
        if is_counted:
            self.waits += waits
            self.rates.append(number / took)
            self.costs.append((self._cpu() - cpu) / number * 1000)
            self.statements.append((self._count_statements() - before) / number)

    def row(self) -> list[str]:
        """The figures, for people."""
        waits = median(self.waits), quantiles(self.waits, n=100)[98]
        return [
            *("PostgreSQL" if self.size else "SQLite", str(max(self.size, 1))),
            *(f"{wait:.1f}" for wait in waits),
            f"{median(self.costs):.2f}",
            f"{median(self.statements):.3f}" if self.size else "",
            f"{median(self.rates):.0f}",
        ]

    async def _call(self, http: aiohttp.ClientSession) -> float:
        params = {"name": TOOL, "arguments": {"id": "benchmark"}, "_meta": META}
        frame = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        began = perf_counter()
        async with http.post("/mcp", json=frame, headers=HEADERS) as answer:
            text = await answer.text()
        if '"benchmark"' not in text:
            raise RuntimeError(f"HTTP {answer.status}: {text}")
        return (perf_counter() - began) * 1000

    def _cpu(self) -> float:
        numbers = range(max(self.size, 1))
        return sum(cpu_seconds(self._fleet.running(n).process.pid, 0) for n in numbers)

    def _count_statements(self) -> int:
        if not self.size:
            return 0
        asked = "SELECT sum(calls)::bigint FROM pg_stat_statements WHERE dbid = "
        named = f"(SELECT oid FROM pg_database WHERE datname = '{self._name}')"
        ((number,),) = self._cluster.execute(asked + named)
        return int(str(number or 0))


async def measure(contenders: list[Contender], calls: int, rounds: int) -> None:
    """Let the contenders take turns; the first round warms up."""
    for number in range(rounds + 1):
        for contender in contenders:
            await contender.take_turn(calls, is_counted=number > 0)


def last_out(folder: Path, seconds: float) -> list[str]:
    """Call with all clients while the database is stopped, then frozen; the lines to print."""
    with Cluster() as cluster, ExitStack() as stack:
        fleet = stack.enter_context(Fleet(folder / "fleet", cluster.create_database(), 3))
        address = stack.enter_context(balance(folder / "haproxy", "haproxy", fleet.addresses))
        with Load(address, folder, may_fail=True) as load:
            cluster.stop()
            sleep(seconds)
            cluster.start()
            load.grow()
            cluster.freeze()
            sleep(seconds)
            cluster.thaw()
            load.grow()
        ran = count_calls(fleet.calls)
        end = monotonic() + 60
        while fleet.count_rows() < len(ran) and monotonic() < end:
            sleep(0.2)
        verified = fleet.run("audit", "verify")
        rows = (
            f"{len(ran)} calls ran, {max(ran.values())} time each; {fleet.count_rows()} are audited"
        )
        return [describe(load.calls), rows, f"audit verify: exit {verified.returncode}"]


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--calls", type=int, default=200, help="one after the other, a round (200)")
    parser.add_argument("--rounds", type=int, default=5, help="that count (5; 0: skip)")
    parser.add_argument("--outage", type=float, default=30.0, help="seconds of each (30; 0: skip)")
    options = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} CPUs\n")
    with tempfile.TemporaryDirectory(prefix="fleet-") as name, ExitStack() as stack:
        folder = Path(name)
        if options.rounds:
            cluster = stack.enter_context(Cluster(STATISTICS))
            cluster.execute("CREATE EXTENSION pg_stat_statements")
            contenders = [Contender(folder / str(x), cluster, x, stack) for x in SIZES]
            asyncio.run(measure(contenders, options.calls, options.rounds))
            print(table("Replicas", HEADS, [each.row() for each in contenders]), flush=True)
        if options.outage:
            (folder / "outage").mkdir()
            print("\n".join(last_out(folder / "outage", options.outage)))


if __name__ == "__main__":
    main()
