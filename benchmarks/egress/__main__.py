"""`python -m benchmarks.egress`: a sandbox's way out, against no way out."""

import argparse
import asyncio
import os
import platform
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median

import uvloop

from benchmarks.egress.proxy import HOST
from benchmarks.frames.figures import table

ROUNDS, QUICK_ROUNDS = 7, 2
CONNECTIONS, WORKERS = 4000, 64
STREAM_BYTES = 2**30
IDLE = 1000
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Route:
    """A way to the host: what is said first, and to which port.

    Attributes:
        name: of the route.
        proxy: the port of the proxy; None for no proxy.
        pid: the proxy's process, whose CPU time and memory are measured.
    """

    name: str
    proxy: int | None
    pid: int | None = None

    def opening(self, port: int) -> tuple[bytes, int]:
        """The first bytes to send, and the number of bytes that come back."""
        if self.name == "connect":
            return f"CONNECT {HOST}:{port} HTTP/1.1\r\nHost: {HOST}:{port}\r\n\r\n".encode(), 39
        if self.name == "socks5":
            name = bytes((len(HOST),)) + HOST.encode() + port.to_bytes(2, "big")
            return b"\x05\x01\x00\x05\x01\x00\x03" + name, 12
        return b"", 0


async def opened(route: Route, port: int) -> socket.socket:
    """A connection to a port of the host."""
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)  # noqa: FBT003  a positional parameter
    await loop.sock_connect(sock, ("127.0.0.1", route.proxy or port))
    opening, length = route.opening(port)
    if opening:
        await loop.sock_sendall(sock, opening)
    while length:
        length -= len(await loop.sock_recv(sock, length))
    return sock


def cpu_seconds(pid: int | None) -> float:
    """User and system time of a process."""
    if pid is None:
        return 0.0
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_kib(pid: int) -> int:
    """Resident memory of its own."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        sizes = dict(line.split()[:2] for line in file.readlines()[1:])
    return int(sizes["Private_Dirty:"]) + int(sizes["Private_Clean:"])


async def connect_many(route: Route, port: int, count: int) -> None:
    """Connect, say one byte, hear it, close; many at once."""
    loop = asyncio.get_running_loop()
    left = iter(range(count))

    async def work() -> None:
        for _ in left:
            sock = await opened(route, port)
            await loop.sock_sendall(sock, b"x")
            await loop.sock_recv(sock, 1)
            sock.close()

    await asyncio.gather(*(work() for _ in range(WORKERS)))


async def stream(route: Route, port: int, count: int) -> None:
    """Receive one stream to its end."""
    loop = asyncio.get_running_loop()
    sock = await opened(route, port)
    await loop.sock_sendall(sock, b"%d" % count)
    buffer = bytearray(2**18)
    while length := await loop.sock_recv_into(sock, buffer):
        count -= length
    sock.close()
    assert count == 0, f"{count} bytes are missing"


async def timed(route: Route, work: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """Seconds by the clock, and of the proxy's CPU."""
    before, start = cpu_seconds(route.pid), time.perf_counter()
    await work()
    return time.perf_counter() - start, cpu_seconds(route.pid) - before


async def idle_memory(route: Route, port: int) -> list[list[str]]:
    """Memory with idle tunnels, after other traffic, and after all are closed."""
    assert route.pid is not None
    rows = [("none", memory_kib(route.pid))]
    socks = [await opened(route, port) for _ in range(IDLE)]
    rows.append((f"{IDLE:,} idle", memory_kib(route.pid)))
    for _ in range(3):
        await connect_many(route, port, CONNECTIONS)
        rows.append((f"{IDLE:,} idle, {CONNECTIONS:,} more came and went", memory_kib(route.pid)))
    for sock in socks:
        sock.close()
    await connect_many(route, port, WORKERS)
    rows.append(("none again", memory_kib(route.pid)))
    return [[name, f"{size:,}"] for name, size in rows]


@contextmanager
def process(module: str, *arguments: int) -> Iterator[tuple[int, list[int]]]:
    """A module as a program: its process, and the ports that it prints."""
    command = [sys.executable, "-m", f"benchmarks.egress.{module}", *map(str, arguments)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdout is not None
        yield child.pid, [int(word) for word in child.stdout.readline().split()]
        assert child.stdin is not None
        child.stdin.close()


async def measure(routes: list[Route], ports: list[int], rounds: int, *, is_small: bool) -> None:
    """Take and print everything; the routes take turns."""
    connections = CONNECTIONS // (20 if is_small else 1)
    size = STREAM_BYTES // (64 if is_small else 1)
    rates: dict[str, list[float]] = {route.name: [] for route in routes}
    before = memory_kib(routes[1].pid or 0)
    costs: dict[str, list[float]] = {route.name: [] for route in routes}
    speeds: dict[str, list[float]] = {route.name: [] for route in routes}
    for _ in range(rounds):
        for route in routes:
            wall, cpu = await timed(route, partial(connect_many, route, ports[0], connections))
            rates[route.name].append(connections / wall)
            costs[route.name].append(cpu / connections * 1e6)
            wall, _ = await timed(route, partial(stream, route, ports[1], size))
            speeds[route.name].append(size / wall / 1e6)
    rows = [
        [
            *(route.name, f"{median(rates[route.name]):,.0f}"),
            *(f"{median(costs[route.name]):,.0f}", f"{median(speeds[route.name]):,.0f}"),
        ]
        for route in routes
    ]
    heads = ("way", "connections/s", "proxy's CPU, µs each", "one stream, MB/s")
    print(table(f"Medians of {rounds} rounds", heads, rows))
    memory = [["before the first connection", f"{before:,}"]]
    memory += await idle_memory(routes[1], ports[0])
    print(table("Memory", ("tunnels", "proxy's own memory, KiB"), memory))


def main() -> None:
    """Measure what the arguments ask for, and print tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.egress", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"turns of each way ({ROUNDS})")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds")
    parser.add_argument("--few", action="store_true", help="little: shows only that it works")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16384), hard))
    rounds = QUICK_ROUNDS if options.quick else options.rounds
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} CPUs\n")
    with process("host") as (_, ports), process("proxy", *ports) as (pid, (proxy,)):
        routes = [Route("none", None), Route("connect", proxy, pid), Route("socks5", proxy, pid)]
        uvloop.run(measure(routes, ports, rounds, is_small=options.few))


if __name__ == "__main__":
    main()
