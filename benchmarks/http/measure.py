"""The measurements: contenders take turns, round by round, so that drift of the machine meets all.

Server, hop and load share all CPUs, as the figures that are asked for do.
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
from pathlib import Path
from time import monotonic, perf_counter, sleep

from benchmarks.frames import memory
from benchmarks.frames.figures import DIRECT, Figure, Row
from benchmarks.http.client import Connection
from benchmarks.http.server import EVENTS

SERVER = Path(__file__).with_name("server.py")
ADDRESS = re.compile(r"(https?://\S+)")
END_SECONDS = 10
START_SECONDS = 120  # it compiles the rules first
WARM_CALLS = 50
CALLS = {b"small": 200, b"page": 100}  # of one client in one turn
CLIENTS = (16, 128)
SESSIONS = 1_000
FEW_SESSIONS = 32  # enough to see that it works
AT_ONCE = 16  # of those that are opened, used and closed
SETTLE_SECONDS = 0.5  # for what ends behind the last answer
DESCRIPTORS = 8_192
MICROSECOND = 1_000


@dataclass(frozen=True)
class Hop:
    """One way to the server.

    Attributes:
        name: as the tables show it.
        url: where it listens.
        pid: of its process; 0 for the direct connection, which has none.
    """

    name: str
    url: str
    pid: int

    def descriptors(self) -> int:
        """How many files and sockets its processes have open."""
        return sum(
            len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in memory.tree(self.pid, without=0)
        )

    def proportional_kib(self) -> int:
        """The memory of its processes, by their share of each page."""
        return memory.of_wrapper(self.pid, server=0).proportional_kib


@contextmanager
def server() -> Iterator[str]:
    """The server, as its address."""
    command = [sys.executable, "-I", str(SERVER)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


@contextmanager
def hop(
    name: str, command: Sequence[str], url: str, environment: Mapping[str, str], log: Path
) -> Iterator[Hop]:
    """A hop in front of the address; it says on stderr where it listens."""
    words = [*command, "--listen", "127.0.0.1:0", "--upstream", url]
    with log.open("wb") as file:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=dict(environment)
        )
    try:
        yield Hop(name, told_address(process, log), process.pid)
    finally:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def told_address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """The address on the first whole line of the log that has one."""
    end = monotonic() + START_SECONDS
    while monotonic() < end and process.poll() is None:
        for line in log.read_text("utf-8", "replace").splitlines(keepends=True):
            if "listening on" in line and line.endswith("\n") and (found := ADDRESS.search(line)):
                return found[1]
        sleep(0.02)
    raise ConnectionError(f"it does not listen:\n{log.read_text('utf-8', 'replace')}")


def raise_limits() -> None:
    """Let this process, and all that it starts, have many sockets open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


# --- time -------------------------------------------------------------------------------


async def round_trips(hops: Sequence[Hop], rounds: int) -> list[Row]:
    """One client, one call after the other; microseconds."""
    rows = []
    for tool, calls in CALLS.items():
        samples: dict[str, list[float]] = {one.name: [] for one in hops}
        answers: dict[str, bytes] = {}
        async with sessions(hops, 1) as opened:
            for one in hops:
                for _ in range(WARM_CALLS):
                    _, answers[one.name] = await opened[one.name][0].call(tool)
            for _ in range(rounds):
                for one in hops:
                    with collected():
                        taken = [await opened[one.name][0].call(tool) for _ in range(calls)]
                    samples[one.name] += [each / MICROSECOND for each, _ in taken]
        figures = {name: Figure.of(each) for name, each in samples.items()}
        rows.append(Row(f"call, {tool.decode()}", figures, fates(answers)))
    return rows


async def rates(hops: Sequence[Hop], rounds: int, seconds: float) -> list[Row]:
    """Many clients, each with one call at a time, for so long in a turn; calls a second."""
    rows = []
    for clients in CLIENTS:
        samples: dict[str, list[float]] = {one.name: [] for one in hops}
        async with sessions(hops, clients) as opened:
            for number in range(rounds + 1):
                for one in hops:
                    with collected():
                        rate = await calls_a_second(opened[one.name], seconds)
                    if number:  # the first round warms up
                        samples[one.name].append(rate)
        figures = {name: Figure.of(each) for name, each in samples.items()}
        rows.append(Row(f"{clients} clients", figures, {}))
    return rows


async def calls_a_second(connections: Sequence[Connection], seconds: float) -> float:
    """Let all call for a while."""
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
    """So many open sessions with each."""
    opened: dict[str, list[Connection]] = {one.name: [] for one in hops}
    try:
        for one in hops:
            for _ in range(clients):
                opened[one.name].append(await Connection.session_at(one.url))
        yield opened
    finally:
        for each in opened.values():
            for connection in each:
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
    """What became of the answer on its way."""
    direct = answers[DIRECT]
    return {name: fate(answer, direct) for name, answer in answers.items() if name != DIRECT}


def fate(answer: bytes, direct: bytes) -> str:
    """Whether an answer has the same bytes, or at least the same value."""
    if answer == direct:
        return "same"
    return "re-written" if json.loads(answer) == json.loads(direct) else "changed"


# --- a stream ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Streamed:
    """How a stream of events came through."""

    first_ms: float  # from the request to the first event, while the others are not yet sent
    rate: float  # events a second of the others
    complete: bool
    in_order: bool


async def stream(one: Hop) -> Streamed:
    """One answer of many events, of which the server holds back all but the first."""
    connection = await Connection.session_at(one.url)
    other = await Connection.open(one.url)
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
    *told, answer = map(json.loads, connection.events)
    numbers = [message["params"]["data"] for message in told if "params" in message]
    await connection.end()
    other.close()
    return Streamed(
        first_ms=(first - start) * 1e3,
        rate=EVENTS / (end - first),
        complete=len(numbers) == EVENTS and "result" in answer,
        in_order=numbers == sorted(numbers),
    )


# --- what is left, and what is kept -----------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """Memory and descriptors of a hop before something, at its height, and after."""

    before_kib: int
    height_kib: int
    after_kib: int
    before_descriptors: int
    height_descriptors: int
    after_descriptors: int

    def per_connection_kib(self, count: int) -> float:
        """What each of so many connections costs at the height."""
        return (self.height_kib - self.before_kib) / count


async def many_sessions(one: Hop, count: int = SESSIONS) -> Kept:
    """Open, use and close so many sessions, some at once."""

    async def used(times: int) -> None:
        for _ in range(times):
            connection = await Connection.session_at(one.url)
            await connection.call(b"small")
            await connection.end()

    await asyncio.gather(*(used(8) for _ in range(AT_ONCE)))  # what is made once is made now
    await asyncio.sleep(SETTLE_SECONDS)
    before = one.proportional_kib(), one.descriptors()
    await asyncio.gather(*(used(count // AT_ONCE) for _ in range(AT_ONCE)))
    height = one.proportional_kib(), one.descriptors()
    await asyncio.sleep(SETTLE_SECONDS)
    after = one.proportional_kib(), one.descriptors()
    return Kept(before[0], height[0], after[0], before[1], height[1], after[1])


async def idle_streams(one: Hop, count: int = SESSIONS) -> Kept:
    """Keep so many sessions open, each with a stream on which nothing comes."""
    warm = await Connection.session_at(one.url)
    await warm.call(b"small")
    await asyncio.sleep(SETTLE_SECONDS)
    before = one.proportional_kib(), one.descriptors()
    opened: list[Connection] = []
    try:
        for _ in range(count):
            opened.append(await Connection.session_at(one.url))
            await opened[-1].listen()
        await asyncio.sleep(SETTLE_SECONDS)
        height = one.proportional_kib(), one.descriptors()
    finally:
        for connection in opened:
            connection.close()
    closing = [await ended(one.url, connection.session) for connection in opened]
    assert all(closing)
    await warm.end()
    await asyncio.sleep(SETTLE_SECONDS)
    after = one.proportional_kib(), one.descriptors()
    return Kept(before[0], height[0], after[0], before[1], height[1], after[1])


async def ended(url: str, session: bytes) -> bool:
    """End a session whose own connection is closed."""
    connection = await Connection.open(url)
    connection.session = session
    await connection.end()
    return True
