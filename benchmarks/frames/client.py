"""A stdio MCP client that adds as little as possible to what is measured.

One connection is one process tree: the server alone, or a wrapper that starts it. It knows frames
and ids, but no statistics.
"""

import json
import os
import shlex
import subprocess
import sys
from argparse import ArgumentTypeError
from collections.abc import Sequence
from dataclasses import dataclass
from io import BufferedReader, FileIO
from pathlib import Path
from time import perf_counter_ns
from typing import IO, Self

SERVER = Path(__file__).with_name("server.py")
INITIALIZE = (
    b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25",'
    b'"capabilities":{},"clientInfo":{"name":"frames","version":"1"}}}\n'
)
INITIALIZED = b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n'
CALL = b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"%b","arguments":%b}}\n'
QUERY = b'{"ref":"%b","query":"what is new in part %d of the guide"}'
READS, ACTS = "lookup", "update_record"  # the server's tools, which do the same
EXIT_SECONDS = 10
SCRIPT = ".venv-test/bin/pipeguard"  # of a checkout


def ask(ref: str) -> bytes:
    """The arguments of a call that is answered with a stored result."""
    return b'{"ref":"%b"}' % ref.encode()


@dataclass(frozen=True)
class Wrapper:
    """A wrapper to measure.

    Attributes:
        name: for the tables.
        words: of its command, before the server's or with `{}` in place of that.
    """

    name: str
    words: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """A wrapper by its command, or PipeGuard by the folder of a checkout.

        Raises:
            ArgumentTypeError: the checkout has no environment.
        """
        script = Path(text).resolve() / SCRIPT
        if Path(text).is_dir():
            if not script.exists():
                raise ArgumentTypeError(f"no {SCRIPT} in it: run `make environment` there")
            words = [str(script), "wrap", "--name", "frames"]
            return cls(Path(text).resolve().name, (*words, "--"))
        words = shlex.split(text)
        name = Path(words[0]).name
        if name == "pipeguard":  # by its environment, such as /tmp/before/bin/pipeguard
            name = f"{Path(words[0]).absolute().parents[1].name}: {name}"
        is_whole = words[-1] == "--" or any("{}" in word for word in words)
        return cls(name, (*words,) if is_whole else (*words, "--"))


@dataclass(frozen=True)
class Contender:
    """One way to reach the server."""

    name: str
    command: tuple[str, ...]

    @classmethod
    def of(cls, name: str, words: Sequence[str], server: Sequence[str]) -> Self:
        """A wrapper's command, with the server's in place of `{}` or after it."""
        if not any("{}" in word for word in words):
            return cls(name, (*words, *server))
        command: list[str] = []
        for word in words:
            command += server if word == "{}" else [word.replace("{}", shlex.join(server))]
        return cls(name, tuple(command))


def server_command(folder: Path) -> list[str]:
    """The command of the echo server; isolated, so that the environment does not slow it."""
    return [sys.executable, "-I", "-S", str(SERVER), str(folder)]


def environment_in(folder: Path) -> dict[str, str]:
    """The caller's environment, with settings, state, cache and data in a folder."""
    names = ("CONFIG", "STATE", "CACHE", "DATA")
    return os.environ | {f"XDG_{name}_HOME": str(folder / name) for name in names}


class Connection:
    """An open session with one contender."""

    def __init__(self, contender: Contender, environment: dict[str, str], log: IO[bytes]) -> None:
        self.contender = contender
        self.started_ns = perf_counter_ns()
        self.process = subprocess.Popen(
            contender.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            bufsize=0,
        )
        if self.process.stdin is None or self.process.stdout is None:
            raise AssertionError("both are pipes")
        self.sink = self.process.stdin.fileno()
        # 64 KiB is what one read of a pipe gives on Linux (pipe(7)).
        raw = FileIO(self.process.stdout.fileno(), closefd=False)
        self.source = BufferedReader(raw, buffer_size=65536)
        self.last_id = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def initialize(self) -> int:
        """Open the session; returns the nanoseconds from the start to the first answer."""
        self.send(INITIALIZE)
        answer = self.answer()
        taken = perf_counter_ns() - self.started_ns
        if b'"result"' not in answer:
            raise ConnectionError(f"{self.contender.name} opens no session: {answer.decode()}")
        self.send(INITIALIZED)
        return taken

    def list_tools(self) -> None:
        """List the tools, as every client does before it calls one."""
        self.last_id += 1
        self.send(b'{"jsonrpc":"2.0","id":%d,"method":"tools/list"}\n' % self.last_id)
        self.answer()

    def call(self, name: str = READS, arguments: bytes = b"{}") -> tuple[int, bytes]:
        """Call a tool; returns the nanoseconds that it took, and the answer without its id."""
        self.last_id += 1
        frame = CALL % (self.last_id, name.encode(), arguments)
        start = perf_counter_ns()
        self.send(frame)
        answer = self.answer()
        taken = perf_counter_ns() - start
        return taken, answer.replace(b":%d," % self.last_id, b":0,", 1)

    def keep_in_flight(
        self, tool: str, refs: Sequence[str], calls: int, window: int, *, is_known: bool = False
    ) -> int:
        """Call a tool, with a window of calls unanswered; returns the nanoseconds.

        The results take turns. No two calls have the same arguments, unless they are to be known.
        """
        first = self.last_id + 1
        refs = [refs[number % len(refs)] for number in range(calls)]
        asked = [
            ask(ref) if is_known else QUERY % (ref.encode(), number)
            for number, ref in enumerate(refs, first)
        ]
        frames = [
            CALL % (number, tool.encode(), arguments)
            for number, arguments in enumerate(asked, first)
        ]
        self.last_id += calls
        start = perf_counter_ns()
        self.send(b"".join(frames[:window]))
        sent, answered = window, 0
        while answered < calls:
            arrived = self.source.read1(65536).count(b"\n")
            if not arrived and self.process.poll() is not None:
                raise ConnectionError(f"{self.contender.name} went away")
            answered += arrived
            if sent < calls and arrived:
                self.send(b"".join(frames[sent : sent + arrived]))
                sent += arrived
        return perf_counter_ns() - start

    def send(self, frame: bytes) -> None:
        """Write all of the bytes."""
        while frame:
            frame = frame[os.write(self.sink, frame) :]

    def answer(self) -> bytes:
        """The next line that is an answer; a wrapper's own notifications are skipped."""
        while line := self.source.readline():
            if b'"id"' in line:
                return line
        raise ConnectionError(f"{self.contender.name} went away")

    def pid_of_server(self) -> int:
        """The id of the server's process, which is not the wrapper's."""
        answer = json.loads(self.call("pid")[1])
        return int(answer["result"]["content"][0]["text"])

    def close(self) -> None:
        """Hang up, as a client does, and wait for the process to end."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.source.close()
        if self.process.stdout is not None:
            self.process.stdout.close()
