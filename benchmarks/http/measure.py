"""The measurements: contenders take turns, round by round, so that drift of the machine hits all.

Server, hop and clients share all CPUs.
"""

import asyncio
import gc
import json
import re
import resource
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path
from time import monotonic, perf_counter, sleep

from benchmarks.frames import memory
from benchmarks.frames.figures import DIRECT, Figure, Row
from benchmarks.http.client import Connection
from benchmarks.http.server import EVENTS

SERVER = Path(__file__).with_name("server.py")
ADDRESS = re.compile(r"(https?://\S+)")
END_SECONDS = 10
START_SECONDS = 120  # the rules are compiled first
WARM_CALLS = 50
CALLS = {b"small": 200, b"page": 100}  # of one client in one turn
CLIENTS = (16, 128)
SESSIONS = 1_000
FEW_SESSIONS = 32  # enough to see that it works
AT_ONCE = 16  # sessions that are opened, used and closed at the same time
SETTLE_SECONDS = 0.5  # for what ends after the last answer
DESCRIPTORS = 8_192
MICROSECOND = 1_000


@dataclass(frozen=True)
class Hop:
    """One way to the server.

    Attributes:
        name: for the tables.
        url: where it listens.
        pid: of its process; 0 for the direct connection, which has none.
    """

    name: str
    url: str
    pid: int

    def descriptors(self) -> int:
        """The number of files and sockets that its processes have open."""
        return sum(
            len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in memory.tree(self.pid, without=0)
        )

    def proportional_kib(self) -> int:
        """The memory of its processes, with shared pages divided among them."""
        return memory.of_wrapper(self.pid, lambda: 0).proportional_kib


@contextmanager
def server() -> Iterator[str]:
    """The server; yields its address."""
    command = [sys.executable, "-I", str(SERVER)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


@contextmanager
def start_hop(
    name: str, command: Sequence[str], url: str, environment: Mapping[str, str], log: Path
) -> Iterator[Hop]:
    """A hop in front of the address; it writes its own address to stderr."""
    words = [*command, "--listen", "127.0.0.1:0", "--upstream", url]
    with log.open("wb") as file:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=dict(environment)
        )
    try:
        yield Hop(name, listening_address(process, log), process.pid)
    finally:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def listening_address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """The address in the first complete line of the log that has one."""
    end = monotonic() + START_SECONDS
    while monotonic() < end and process.poll() is None:
        for line in log.read_text("utf-8", "replace").splitlines(keepends=True):
            if "listening on" in line and line.endswith("\n") and (match := ADDRESS.search(line)):
                return match[1]
        sleep(0.02)
    raise ConnectionError(f"it does not listen:\n{log.read_text('utf-8', 'replace')}")


def raise_limits() -> None:
    """Allow this process, and all that it starts, many open sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


# --- time -------------------------------------------------------------------------------


async def round_trips(hops: Sequence[Hop], rounds: int) -> list[Row]:
    """One client that calls again and again; microseconds."""
    return [await _round_trip(hops, rounds, tool) for tool in CALLS]


async def _round_trip(hops: Sequence[Hop], rounds: int, tool: bytes) -> Row:
    samples: dict[str, list[float]] = {hop.name: [] for hop in hops}
    answers: dict[str, bytes] = {}
    async with sessions(hops, 1) as opened:
        for hop, _ in product(hops, range(WARM_CALLS)):
            _, answers[hop.name] = await opened[hop.name][0].call(tool)
        for _, hop in product(range(rounds), hops):
            with collected():
                taken = [await opened[hop.name][0].call(tool) for _ in range(CALLS[tool])]
            samples[hop.name] += [each / MICROSECOND for each, _ in taken]
    figures = {name: Figure.of(each) for name, each in samples.items()}
    return Row(f"call, {tool.decode()}", figures, fates(answers))


async def rates(hops: Sequence[Hop], rounds: int, seconds: float) -> list[Row]:
    """Many clients, each with one call at a time, for some seconds a turn; calls a second."""
    return [await _rate(hops, rounds, seconds, clients) for clients in CLIENTS]


async def _rate(hops: Sequence[Hop], rounds: int, seconds: float, clients: int) -> Row:
    samples: dict[str, list[float]] = {hop.name: [] for hop in hops}
    async with sessions(hops, clients) as opened:
        for number, hop in product(range(rounds + 1), hops):
            with collected():
                rate = await calls_a_second(opened[hop.name], seconds)
            if number:  # the first round warms up
                samples[hop.name].append(rate)
    figures = {name: Figure.of(each) for name, each in samples.items()}
    return Row(f"{clients} clients", figures, {})


async def calls_a_second(connections: Sequence[Connection], seconds: float) -> float:
    """Let all connections call for a while."""
    end = perf_counter() + seconds

    async def calling(connection: Connection) -> int:
        calls = 0
        while perf_counter() < end:
            await connection.call(b"small")
            calls += 1
        return calls

    start = perf_counter()
    made = await asyncio.gather(*map(calling, connections))
    return sum(made) / (perf_counter() - start)


@asynccontextmanager
async def sessions(hops: Sequence[Hop], clients: int) -> AsyncIterator[dict[str, list[Connection]]]:
    """This many open sessions with each hop."""
    opened: dict[str, list[Connection]] = {hop.name: [] for hop in hops}
    try:
        for hop, _ in product(hops, range(clients)):
            opened[hop.name].append(await Connection.session_at(hop.url))
        yield opened
    finally:
        for connection in chain.from_iterable(opened.values()):
            await connection.end()


@contextmanager
def collected() -> Iterator[None]:
    """Keep this process's garbage collector out of a turn."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def fates(answers: Mapping[str, bytes]) -> dict[str, str]:
    """Changes to the answer on its way."""
    direct = answers[DIRECT]
    return {name: fate(answer, direct) for name, answer in answers.items() if name != DIRECT}


def fate(answer: bytes, direct: bytes) -> str:
    """Compare an answer's bytes, or at least its value."""
    if answer == direct:
        return "same"
    return "re-written" if json.loads(answer) == json.loads(direct) else "changed"


# --- a stream ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Streamed:
    """Arrival of a stream of events."""

    first_ms: float  # from the request to the first event, while the others are not yet sent
    rate: float  # of the other events, a second
    complete: bool
    in_order: bool


async def stream(hop: Hop) -> Streamed:
    """One answer of many events, of which the server holds back all but the first."""
    connection = await Connection.session_at(hop.url)
    other = await Connection.open(hop.url)
    other.session = connection.session
    connection.last_id += 1
    body = b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"stream"}}'
    start = perf_counter()
    connection.write(connection.request(b"POST", body % connection.last_id))
    await connection.heard_events(1)
    first = perf_counter()
    other.last_id = connection.last_id
    await other.call(b"release")
    await connection.heard_events(EVENTS + 1)
    end = perf_counter()
    *events, answer = map(json.loads, connection.events)
    numbers = [message["params"]["data"] for message in events if "params" in message]
    await connection.end()
    other.close()
    return Streamed(
        first_ms=(first - start) * 1e3,
        rate=EVENTS / (end - first),
        complete=len(numbers) == EVENTS and "result" in answer,
        in_order=numbers == sorted(numbers),
    )


# --- memory and descriptors ---------------------------------------------------------------


@dataclass(frozen=True)
class Usage:
    """Memory and descriptors of a hop before something, at its height, and after."""

    before_kib: int
    height_kib: int
    after_kib: int
    before_descriptors: int
    height_descriptors: int
    after_descriptors: int

    def per_connection_kib(self, count: int) -> float:
        """Peak memory of each of this many connections."""
        return (self.height_kib - self.before_kib) / count


async def many_sessions(hop: Hop, count: int = SESSIONS) -> Usage:
    """Open, use and close this many sessions, some at the same time."""

    async def use(times: int) -> None:
        for _ in range(times):
            connection = await Connection.session_at(hop.url)
            await connection.call(b"small")
            await connection.end()

    await asyncio.gather(*(use(8) for _ in range(AT_ONCE)))  # fills caches and pools
    await asyncio.sleep(SETTLE_SECONDS)
    before = hop.proportional_kib(), hop.descriptors()
    await asyncio.gather(*(use(count // AT_ONCE) for _ in range(AT_ONCE)))
    height = hop.proportional_kib(), hop.descriptors()
    await asyncio.sleep(SETTLE_SECONDS)
    after = hop.proportional_kib(), hop.descriptors()
    return Usage(before[0], height[0], after[0], before[1], height[1], after[1])


async def idle_streams(hop: Hop, count: int = SESSIONS) -> Usage:
    """Keep this many sessions open, each with a stream on which nothing comes."""
    warm = await Connection.session_at(hop.url)
    await warm.call(b"small")
    await asyncio.sleep(SETTLE_SECONDS)
    before = hop.proportional_kib(), hop.descriptors()
    opened: list[Connection] = []
    try:
        for _ in range(count):
            opened.append(await Connection.session_at(hop.url))
            await opened[-1].listen()
        await asyncio.sleep(SETTLE_SECONDS)
        height = hop.proportional_kib(), hop.descriptors()
    finally:
        for connection in opened:
            connection.close()
    closing = [await end_session(hop.url, connection.session) for connection in opened]
    assert all(closing)
    await warm.end()
    await asyncio.sleep(SETTLE_SECONDS)
    after = hop.proportional_kib(), hop.descriptors()
    return Usage(before[0], height[0], after[0], before[1], height[1], after[1])


async def end_session(url: str, session: bytes) -> bool:
    """End a session whose own connection is closed."""
    connection = await Connection.open(url)
    connection.session = session
    await connection.end()
    return True
