"""A gateway whose servers are killed, stopped, flooded and edited while many clients call.

Every request gets exactly one answer, the healthy servers' calls all succeed, and afterwards
everything works by itself. `PIPEGUARD_CHAOS_SECONDS=300` tries it for longer.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from time import monotonic

import pytest

from pipeguard.rulebook.cache import load_engines
from tests.gateway.served import ServedAt, actor, write_servers
from tests.launch.processes import until
from tests.wrap.listening import Browser, messages
from tests.wrap.wrapped import Object

SECONDS = float(os.environ.get("PIPEGUARD_CHAOS_SECONDS", "10"))
CLIENTS = 64 if SECONDS > 60 else 16
UNRULY = Path(__file__).with_name("unruly.py")
HEALTHY, SICK = ("calm", "quiet"), ("wild", "rough", "odd")
DEEDS = ("echo", "echo", "echo", "flood", "garbage", "hang", "die", "large")


def entries(tags: list[str] | None = None) -> dict[str, Object]:
    """The servers; other tags make other settings of the sick ones."""
    sick: Object = {
        "command": sys.executable,
        "args": [str(UNRULY)],
        "trust": "first-use",
        "timeout": 5,
        "tags": [*(tags or [])],
    }
    return {**{name: actor() for name in HEALTHY}, **dict.fromkeys(SICK, sick)}


class Tally:
    """What became of the calls, by server and outcome."""

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
    """Make one call, and count what became of it."""
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
    if server in HEALTHY and (not is_ok or said not in json.dumps(result)):
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
        server = chance.choice((*HEALTHY, *SICK))
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
        if victims and chance.random() < 0.7:
            deed(chance.choice(victims))
        else:
            write_servers(folder, entries([f"tag{chance.randrange(9)}"]), mode="direct")


def kill(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def stop(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGSTOP)


@pytest.mark.real
@pytest.mark.exhaustive
def test_healthy_servers_notice_nothing_and_every_request_is_answered_once(tmp_path: Path) -> None:
    load_engines()
    config = write_servers(tmp_path, entries(), mode="direct")
    tally = Tally()
    with ServedAt(tmp_path, "--config", str(config)) as served:
        url, end = served.url, monotonic() + SECONDS
        with ThreadPoolExecutor(CLIENTS + 1) as pool:
            jobs = [pool.submit(work, url, seed, end, tally) for seed in range(CLIENTS)]
            jobs.append(pool.submit(harm, served, tmp_path, end))
            for job in jobs:
                job.result()
        assert tally.wrong == []
        assert all(tally.outcomes[name, "ok"] > 0 for name in HEALTHY)
        for stopped in children(served.process.pid, UNRULY.name):
            kill(stopped)  # a stopped one would be given up after its pings only
        browser, after = Browser(url), Tally()
        browser.open()
        for number, name in enumerate((*HEALTHY, *SICK)):

            def works(number: int = number, name: str = name) -> bool:
                call(browser, number, name, "echo", after)
                return after.outcomes[name, "ok"] > 0

            until(works, f"{name} works again")
        assert served.process.poll() is None
