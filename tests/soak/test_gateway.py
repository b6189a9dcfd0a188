"""A gateway whose servers are killed, stopped, flooded and edited while many clients call.

At the same time definitions are approved, rejected and forgotten, and the file of servers is broken
now and then. Every request gets exactly one answer, the calls of healthy servers all succeed,
including a lazy one, memory does not grow, and afterwards everything works by itself.
`PIPEGUARD_CHAOS_SECONDS=300` tries it for longer.
"""

import json
import os
import random
import re
import signal
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from statistics import median
from time import monotonic
from typing import NamedTuple

import pytest

from benchmarks.frames.memory import field
from pipeguard.detect.flows.ledger_memory import MOST_BYTES, SHARE_LEFT
from tests.gateway.served import ServedAt, actor, write_servers
from tests.launch.processes import until
from tests.wrap.deciding import decide as person_decides
from tests.wrap.listening import Browser, messages
from tests.wrap.wrapped import Object

SECONDS = float(os.environ.get("PIPEGUARD_CHAOS_SECONDS", "10"))
CLIENTS = 64 if SECONDS > 60 else 16
UNRULY = Path(__file__).with_name("unruly.py")
HEALTHY, SICK = ("calm", "quiet"), ("wild", "rough", "odd")
LAZY, REVIEWED = "drowsy", "new"
LAZY_SHARE, REVIEWED_SHARE = 0.005, 0.05  # of the calls; so few that it falls asleep in between
MOST_GROWTH = 1.2  # of memory without what is remembered of flows, from one quarter to the last
DEEDS = ("echo", "echo", "echo", "flood", "garbage", "hang", "die", "large")


def entries(tags: list[str] | None = None) -> dict[str, Object]:
    """Make the servers' entries; other tags change the settings of the disturbed ones."""
    sick: Object = {
        "command": sys.executable,
        "args": [str(UNRULY)],
        "trust": "first-use",
        "timeout": 5,
        "tags": [*(tags or [])],
    }
    return {
        **{name: actor() for name in HEALTHY},
        LAZY: actor(start="lazy", idle=0.5),
        REVIEWED: actor(trust="review", tags=[*(tags or [])]),
        **dict.fromkeys(SICK, sick),
    }


class Tally:
    """The outcomes of calls, by server and outcome."""

    def __init__(self) -> None:
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.wrong: list[str] = []
        self._lock = threading.Lock()

    def add(self, server: str, outcome: str, detail: str = "") -> None:
        with self._lock:
            self.outcomes[server, outcome] += 1
            if outcome == "wrong":
                self.wrong.append(detail)


def call(browser: Browser, number: int, server: str, deed: str, tally: Tally) -> None:
    """Make one call, and count its outcome."""
    said = f"{server} {number}"
    params: Object = {"name": f"{server}__{deed}", "arguments": {"text": said}}
    message: Object = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
    connection = browser.connect()
    connection.request("POST", "/mcp", json.dumps(message), browser.headers)
    with connection.getresponse() as response:
        answers = [frame for frame in messages(response) if "method" not in frame]
    connection.close()
    if [answer.get("id") for answer in answers] != [number]:
        tally.add(server, "wrong", f"{said}: {answers}"[:500])
        return
    result = answers[0].get("result")
    is_ok = isinstance(result, dict) and result.get("isError") is not True
    if server in (*HEALTHY, LAZY) and (not is_ok or said not in json.dumps(result)):
        tally.add(server, "wrong", f"{said}: {answers[0]}"[:500])
    else:
        tally.add(server, "ok" if is_ok else "error")


def work(url: str, seed: int, end: float, tally: Tally) -> None:
    """Call servers at random until the end."""
    chance, browser = random.Random(seed), Browser(url)  # noqa: S311  no secret
    browser.open()
    number = 0
    while monotonic() < end:
        number += 1
        lot = chance.random()
        server = chance.choice((*HEALTHY, *SICK))
        if lot < LAZY_SHARE + REVIEWED_SHARE:
            server = LAZY if lot < LAZY_SHARE else REVIEWED
        call(browser, number, server, chance.choice(DEEDS) if server in SICK else "echo", tally)


def children(process: int, script: str) -> list[int]:
    """The processes that a process has started with a script."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == process and script.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def harm(served: ServedAt, folder: Path, end: float) -> None:
    """Kill and stop sick servers, and edit their settings, at random."""
    chance, wait = random.Random(1), threading.Event()  # noqa: S311  no secret
    while monotonic() < end:
        wait.wait(chance.random() * 0.8)  # harm comes at any moment
        victims = children(served.process.pid, UNRULY.name)
        deed: Callable[[int], None] = chance.choice((kill, stop))
        lot = chance.random()
        if victims and lot < 0.7:
            deed(chance.choice(victims))
        elif lot < 0.8:
            write_servers(folder, {"calm": {"comand": "wrong"}}, mode="direct")
        else:
            write_servers(folder, entries([f"tag{chance.randrange(9)}"]), mode="direct")


def decide(folder: Path, end: float) -> Counter[str]:
    """Approve, reject and forget the definitions of a server, at random; count the decisions."""
    chance, done = random.Random(2), Counter[str]()  # noqa: S311  no secret
    while monotonic() < end:
        verb = chance.choice(("approve", "approve", "reject", "forget"))
        code, _ = person_decides(folder / "state", verb, REVIEWED, "--all", "--yes")
        assert code in (0, 1, 3), f"{verb}: {code}"
        done[verb] += not code
    return done


class Memory(NamedTuple):
    """The memory of the gateway at one moment.

    Attributes:
        kib: the total.
        flow_kib: the memory of flows, which fills up to its bound.
    """

    kib: int
    flow_kib: float


def watch_memory(served: ServedAt, end: float) -> list[Memory]:
    """The memory of the gateway, second by second."""
    taken, wait = list[Memory](), threading.Event()
    while monotonic() < end:
        with urllib.request.urlopen(served.at("/metrics"), timeout=60) as answer:  # noqa: S310  ours
            (size,) = re.findall(r"^pipeguard_flow_bytes (\S+)$", answer.read().decode(), re.M)
        flow_kib = float(size) / 1024
        taken.append(Memory(field(served.process.pid, "smaps_rollup", "Pss"), flow_kib))
        wait.wait(1.0)  # a sample each second
    return taken


def check_memory(taken: list[Memory]) -> None:
    """Check that nothing grows except the memory of flows, which is bounded."""
    quarter = len(taken) // 4
    before, last = (
        median(each.kib - each.flow_kib for each in part)
        for part in (taken[quarter : 2 * quarter], taken[-quarter:])
    )
    print(f"median of the second quarter {before / 1024:.1f}, the last {last / 1024:.1f}")
    assert last < MOST_GROWTH * before
    assert max(each.flow_kib for each in taken) <= MOST_BYTES / 1024
    full = [each.kib for each in taken if each.flow_kib >= SHARE_LEFT * MOST_BYTES / 1024]
    if len(full) >= 20:
        tenth = len(full) // 10
        first, end = median(full[:tenth]), median(full[-tenth:])
        print(f"full after {len(taken) - len(full)} s: {first / 1024:.1f}, {end / 1024:.1f} MiB")
        assert end < MOST_GROWTH * first


def kill(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def stop(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGSTOP)


@pytest.mark.real
@pytest.mark.exhaustive
def test_healthy_servers_notice_nothing_and_every_request_is_answered_once(tmp_path: Path) -> None:
    config = write_servers(tmp_path, entries(), mode="direct")
    tally = Tally()
    figures = {"OTEL_METRICS_EXPORTER": "prometheus"}
    with ServedAt(tmp_path, "--config", str(config), **figures) as served:
        url, end = served.url, monotonic() + SECONDS
        with ThreadPoolExecutor(CLIENTS + 3) as pool:
            jobs = [pool.submit(work, url, seed, end, tally) for seed in range(CLIENTS)]
            jobs.append(pool.submit(harm, served, tmp_path, end))
            deciding = pool.submit(decide, tmp_path, end)
            watching = pool.submit(watch_memory, served, end)
            for job in jobs:
                job.result()
        memory = watching.result()
        print(dict(sorted(tally.outcomes.items())), dict(deciding.result()))
        taken = memory[:: len(memory) // 10 or 1]
        shown = [(round(each.kib / 1024, 1), round(each.flow_kib / 1024, 1)) for each in taken]
        print("memory in MiB, of which flows:", shown)
        print("starts of the lazy one:", served.said().count("server=drowsy"))
        assert tally.wrong == []
        assert all(tally.outcomes[name, "ok"] > 0 for name in (*HEALTHY, LAZY))
        if SECONDS > 60:
            check_memory(memory)
        for stopped in children(served.process.pid, UNRULY.name):
            kill(stopped)  # a stopped one would be given up after its pings only
        browser, after = Browser(url), Tally()
        browser.open()
        write_servers(tmp_path, entries(), mode="direct")
        for number, name in enumerate((*HEALTHY, LAZY, *SICK)):

            def works(number: int = number, name: str = name) -> bool:
                call(browser, number, name, "echo", after)
                return after.outcomes[name, "ok"] > 0

            until(works, f"{name} works again")
        assert served.process.poll() is None
