"""After ten thousand calls, more leave the wrapper as it was: memory, answers, audit, pins."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from tests.commands import run_command
from tests.parity.session import REPOSITORY, wrapper_command

pytestmark = pytest.mark.needs("ps")
CALLS = 15_000
WARM = 10_000  # calls until all is loaded, and caches and SQLite's pages have what they keep
IN_FLIGHT = 50  # their frames fit the pipes, so that writing all before reading cannot lock up
GROWTH_KIB = 2048  # well above an allocator's swing, below half a KiB kept for each call
SERVER = Path(__file__).with_name("echo_server.py")
PIPEGUARD = [sys.executable, "-m", "pipeguard"]


@dataclass(frozen=True)
class Soak:
    """The results of the session."""

    asked: list[object]
    answered: list[object]
    warm_kib: int
    end_kib: int
    exit_code: int
    environment: dict[str, str]


@pytest.fixture(scope="module")
def soak(tmp_path_factory: pytest.TempPathFactory) -> Soak:
    environment = os.environ | {"XDG_STATE_HOME": str(tmp_path_factory.mktemp("state"))}
    asked: list[object] = []
    answered: list[object] = []
    warm_kib = end_kib = 0
    with wrapped(environment) as (process, client):
        client.start()
        for first in range(0, CALLS, IN_FLIGHT):
            if first == WARM:
                warm_kib = resident_kib(process.pid)
            calls = [call(number) for number in range(first, first + IN_FLIGHT)]
            asked += [message["id"] for message in calls]
            answered += [message["id"] for message in client.ask(calls)]
        end_kib = resident_kib(process.pid)
        client.ask([{"id": "again", "method": "tools/list"}])
        client.sink.close()
        rest = client.source.read()
        code = process.wait(timeout=60)
    assert rest == b""
    return Soak(asked, answered, warm_kib, end_kib, code, environment)


def test_every_call_is_answered_exactly_once(soak: Soak) -> None:
    assert len(soak.asked) == CALLS
    assert soak.answered == soak.asked
    assert soak.exit_code == 0


def test_memory_stays_flat(soak: Soak) -> None:
    assert soak.end_kib - soak.warm_kib < GROWTH_KIB


def test_the_audit_verifies(soak: Soak) -> None:
    done = run(soak, "audit", "verify")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_pins_are_unchanged(soak: Soak) -> None:
    done = run(soak, "diff", "soak")
    assert done.returncode == 0, done.stdout + done.stderr


def run(soak: Soak, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command([*PIPEGUARD, *arguments], cwd=REPOSITORY, env=soak.environment)


@dataclass(frozen=True)
class Lines:
    """A client that writes many requests and then reads as many answers."""

    sink: IO[bytes]
    source: IO[bytes]

    def start(self) -> None:
        about = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "soak", "version": "1"},
        }
        self.ask([{"id": "start", "method": "initialize", "params": about}])
        self.tell([{"method": "notifications/initialized"}])
        self.ask([{"id": "tools", "method": "tools/list"}])

    def tell(self, messages: Iterable[dict[str, object]]) -> None:
        lines = [json.dumps({"jsonrpc": "2.0"} | message) + "\n" for message in messages]
        self.sink.write("".join(lines).encode())
        self.sink.flush()

    def ask(self, requests: list[dict[str, object]]) -> list[dict[str, object]]:
        self.tell(requests)
        answers = [json.loads(self.source.readline()) for _ in requests]
        assert all(answer["result"] for answer in answers)
        return answers


def call(number: int) -> dict[str, object]:
    """A call; ids are numbers and strings in turn, texts differ in size and words."""
    text = f"Note {number}: the tram to stop {number % 97} left. " * (1 + number % 40)
    key = number if number % 2 else f"call-{number}"
    arguments = {"name": "echo", "arguments": {"text": text}}
    return {"id": key, "method": "tools/call", "params": arguments}


@contextmanager
def wrapped(environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], Lines]]:
    command = [*wrapper_command("soak"), sys.executable, "-I", str(SERVER)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdin=pipe, stdout=pipe
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process, Lines(process.stdin, process.stdout)
        finally:
            process.kill()


def resident_kib(pid: int) -> int:
    """Return the resident memory of a process, as `ps` reports it on every POSIX system."""
    done = run_command(["ps", "-o", "rss=", "-p", str(pid)], check=True)
    return int(done.stdout)
