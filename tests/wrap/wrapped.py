"""A client of a real `pipeguard wrap` in front of a real server, over real pipes.

Every wait is for an event, and fails after `PATIENCE_SECONDS`. Each run has a mark in its
environment, to find processes that it left running.
"""

import json
import os
import select
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import IO, Self

from tests.forking import PIPEGUARD, start
from tests.launch.processes import PATIENCE_SECONDS, until

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Object = dict[str, Json]

SERVER = Path(__file__).with_name("server.py")
PYTHON = (sys.executable, "-I", "-u")
# PipeGuard that keeps few rows for an audit that cannot be written: else ten thousand.
_SMALL = """
import runpy, pipeguard.state.recorder as recorder
recorder.BACKLOG_ROWS = recorder.BATCH_ROWS = 5
runpy.run_module("pipeguard", run_name="__main__", alter_sys=True)
"""
SMALL_BACKLOG = (sys.executable, "-E", "-P", "-c", _SMALL)
MARK = "TEST_RUN"
GONE, UNSCANNABLE, INTERNAL = -37104, -37103, -37108


class Marked:
    """A run whose processes have a mark in their environment."""

    mark: bytes

    def running(self) -> list[int]:
        """All processes of this run that still run."""
        return [process for process in processes() if self.mark in environment_of(process)]

    def none_is_left(self) -> None:
        """Fail, and clean up, if anything of this run does not end soon."""
        try:
            until(lambda: not self.running(), "nothing of the run is left")
        finally:
            for process in self.running():
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)


class Wrapped(Marked):
    """One run of `wrap`, seen as its client sees it.

    Attributes:
        process: the process of PipeGuard.
        store: its store of pins and audit, in this test's own state folder.
        stderr: the file with its standard error.
    """

    verb = "wrap"

    def __init__(
        self,
        folder: Path,
        *server: str,
        options: Sequence[str] = ("--name", "demo"),
        command: Sequence[str] | None = None,
        environment: Mapping[str, str | None] | None = None,
        pipeguard: Sequence[str] = PIPEGUARD,
    ) -> None:
        self.mark = f"{MARK}={uuid.uuid4()}".encode()
        self.store = folder / "state" / "pipeguard.db"
        self.stderr = folder / f"stderr-{self.mark[-4:].decode()}"
        words = (*PYTHON, str(SERVER), *server) if command is None else tuple(command)
        mark, _, value = self.mark.decode().partition("=")
        variables: dict[str, str | None] = {
            **os.environ,
            mark: value,
            "PIPEGUARD_STATE_DIR": str(folder / "state"),
        }
        variables |= environment or {}
        folder.mkdir(exist_ok=True)
        with open(self.stderr, "wb") as file:
            self.process = start(
                [*pipeguard, self.verb, *options, *(["--", *words] if words else [])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                bufsize=0,
                cwd=folder,
                env={name: value for name, value in variables.items() if value is not None},
            )
        self._number = 0
        self._rest = b""
        self.seen: list[Object] = []  # frames that came while another one was waited for

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Kill it if the test has not ended it, and check that nothing remains."""
        if self.process.poll() is None:
            self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        self.process.wait(PATIENCE_SECONDS)
        self.none_is_left()

    # --- frames -------------------------------------------------------------------------

    def initialize(
        self, revision: str = "2025-06-18", capabilities: Object | None = None
    ) -> Object:
        """Shake hands."""
        answer = self.ask(
            "initialize",
            protocolVersion=revision,
            capabilities=capabilities or {},
            clientInfo={"name": "tests", "version": "1"},
        )
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return answer

    def opened(self, revision: str = "2025-06-18", capabilities: Object | None = None) -> Self:
        """The run itself, after a handshake."""
        try:
            self.initialize(revision, capabilities)
        except BaseException:
            self.__exit__()
            raise
        return self

    def send(self, message: Object | bytes) -> None:
        """Write a message, or bytes as they are."""
        stdin(self).write(line(message) if isinstance(message, dict) else message)

    def request(self, method: str, **params: Json) -> int:
        """Ask something; returns its id."""
        (id_,) = self.requests((method, params))
        return id_

    def requests(self, *asked: tuple[str, Object]) -> list[int]:
        """Ask several things in one write; returns their ids."""
        first = self._number + 1
        self._number += len(asked)
        messages: list[Object] = [
            {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}
            for id_, (method, params) in enumerate(asked, first)
        ]
        self.send(b"".join(map(line, messages)))
        return [*range(first, self._number + 1)]

    def ask(self, method: str, **params: Json) -> Object:
        """Ask something and wait for its answer."""
        return self.answer(self.request(method, **params))

    def answer(self, id_: int) -> Object:
        """The answer to a request, which may have come already; others are kept in `seen`."""
        for place, frame in enumerate(self.seen):
            if frame.get("id") == id_ and "method" not in frame:
                return self.seen.pop(place)
        while True:
            frame = self.frame()
            if frame.get("id") == id_ and "method" not in frame:
                return frame
            self.seen.append(frame)

    def frame(self) -> Object:
        """The next frame."""
        message: Object = json.loads(self.line())
        return message

    def line(self) -> bytes:
        """Return the next line; anything but a frame fails where it is read."""
        while b"\n" not in self._rest:
            data = self._receive()
            assert data, f"the stream ended; stderr: {self.said()}"
            self._rest += data
        found, _, self._rest = self._rest.partition(b"\n")
        return found

    def frames_to_the_end(self) -> list[Object]:
        """Return everything until PipeGuard closes its end."""
        while data := self._receive():
            self._rest += data
        *lines, rest = self._rest.split(b"\n")
        assert rest == b"", "half a frame at the end"
        return [json.loads(text) for text in lines]

    def _receive(self) -> bytes:
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        ready, _, _ = select.select([descriptor], [], [], PATIENCE_SECONDS)
        assert ready, f"nothing came; stderr: {self.said()}"
        return os.read(descriptor, 2**20)

    # --- the end ------------------------------------------------------------------------

    def hang_up(self) -> None:
        """Close its standard input."""
        stdin(self).close()

    def end(self) -> None:
        """Hang up, and check that it ends well."""
        self.hang_up()
        assert self.code() == 0

    def end_silently(self) -> None:
        """Hang up, and check that it sends nothing more and ends well."""
        self.hang_up()
        assert self.frames_to_the_end() == []
        assert self.code() == 0

    def code(self) -> int:
        """Its exit code, once it has ended."""
        return self.process.wait(PATIENCE_SECONDS)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send PipeGuard a signal."""
        self.process.send_signal(number)

    def said(self) -> str:
        """Return its stderr so far."""
        return self.stderr.read_text(errors="replace")

    # --- memory -------------------------------------------------------------------------

    def peak_kib(self) -> int:
        """The most that PipeGuard ever had resident (proc(5), VmHWM)."""
        return status_kib(self.process.pid, "VmHWM")

    def loaded_kib(self) -> int:
        """Return the peak memory after everything that any call needs is loaded."""
        self.ask("tools/call", name="echo", arguments={"text": "hello"})
        until(self.is_idle, "the rules are loaded")
        return self.peak_kib()

    def is_idle(self) -> bool:
        """True if all threads of the run slept at two looks, and none ran in between."""
        first, end = threads(self.running()), monotonic() + 0.15  # ticks are 10 ms
        until(lambda: monotonic() > end, "the second look")
        # A thread that is kept off a busy processor, or waits for a disk, does not sleep.
        return threads(self.running()) == first and all(one[0] == b"S" for one in first.values())


def stdin(wrapped: Wrapped) -> IO[bytes]:
    assert wrapped.process.stdin is not None
    return wrapped.process.stdin


def line(message: Object) -> bytes:
    return json.dumps(message).encode() + b"\n"


def error_code(answer: Object) -> Json:
    """The code of an error, or None."""
    error = answer.get("error")
    return error["code"] if isinstance(error, dict) else None


def result(answer: Object) -> Object:
    found = answer.get("result")
    assert isinstance(found, dict), answer
    return found


def processes() -> list[int]:
    """All processes, zombies included."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def environment_of(process: int) -> bytes:
    """The variables of a process; empty for a zombie, or another user's."""
    gone = suppress(FileNotFoundError, ProcessLookupError, PermissionError)
    with gone, open(f"/proc/{process}/environ", "rb", buffering=0) as file:
        return file.read()
    return b""


def status_kib(process: int, name: str) -> int:
    for text in Path(f"/proc/{process}/status").read_text().splitlines():
        if text.startswith(f"{name}:"):
            return int(text.split()[1])
    raise AssertionError(name)


def threads(running: Sequence[int]) -> dict[Path, list[bytes]]:
    """Return each thread's state, and its usage so far (proc(5): fields 3 to 15)."""
    seen = {}
    for process in running:
        with suppress(FileNotFoundError, ProcessLookupError):
            for stat in Path(f"/proc/{process}/task").glob("*/stat"):
                seen[stat] = stat.read_bytes().rpartition(b")")[2].split()[:13]
    return seen
