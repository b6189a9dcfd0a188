"""A small MCP client for `pipeguard demo`: one server process, one request at a time.

It stores each frame as it was sent or received, so that a demonstration can compare bytes. It
judges nothing, and starts any command.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from pipeguard.errors import PipeGuardError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Self

Json = dict[str, object]

REVISION = "2025-06-18"
ANSWER_SECONDS = 60.0  # the first answer waits for the rules to compile, once per machine
END_SECONDS = 10.0  # more than `wrap` gives a server to end by itself
LAST_WORDS = 20  # lines of stderr shown when a process is gone


class DemoError(PipeGuardError):
    """The demonstration itself failed: the other side is silent or gone."""


@dataclass(frozen=True, slots=True)
class DemoExchange:
    """A request and its answer.

    Attributes:
        sent: the request's frame.
        got: the answer's frame.
        answer: the answer, parsed.
    """

    sent: str
    got: str
    answer: Json

    @property
    def result(self) -> Json:
        """The answer's result; empty if it is an error."""
        return mapping(self.answer.get("result"))


class DemoClient:
    """One conversation with a server process, from its start to its end.

    Attributes:
        notifications: the methods of received notifications, in order.
    """

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path
    ) -> None:
        """Start the process.

        Args:
            command: the command to run.
            folder: its working directory.
            environment: all of its variables.
            log: a file for its standard error.
        """
        self.notifications: list[str] = []
        self._id = 0
        self._frames: SimpleQueue[str | None] = SimpleQueue()
        self._stderr = log.open("w+b")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            cwd=folder,
            env=environment,
        )
        self._reader = threading.Thread(target=self._read, name="demo-reader", daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def initialize(self) -> DemoExchange:
        """Open the conversation (MCP 2025-06-18, basic/lifecycle).

        Raises:
            DemoError: the server did not open it.
        """
        opened = self.request(
            "initialize",
            {
                "protocolVersion": REVISION,
                "capabilities": {},
                "clientInfo": {"name": "pipeguard-demo", "version": "1.0"},
            },
        )
        if not opened.result:
            why = mapping(opened.answer.get("error")).get("message")
            raise DemoError(f"the server does not open a conversation: {why}\n{self._last_words()}")
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return opened

    def request(self, method: str, params: Json) -> DemoExchange:
        """Send a request, and wait for the answer.

        Raises:
            DemoError: no answer came, or the server is gone.
        """
        self._id += 1
        number = self._id
        sent = self._send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        while True:
            frame = self._next(method)
            message = mapping(json.loads(frame))
            if message.get("id") == number:
                return DemoExchange(sent, frame, message)
            if "id" not in message:
                self.notifications.append(str(message.get("method")))

    def close(self) -> int:
        """Hang up, and wait for the process to end; returns its exit code."""
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):  # the process hung up first
                self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._stderr.close()
        return self._process.returncode

    def _send(self, message: Json) -> str:
        frame = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        if self._process.stdin is None:
            raise DemoError("the process has no standard input")
        try:
            self._process.stdin.write(frame.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise DemoError(f"the server is gone.\n{self._last_words()}") from None
        return frame

    def _next(self, method: str) -> str:
        try:
            frame = self._frames.get(timeout=ANSWER_SECONDS)
        except Empty:
            frame = None
        if frame is None:
            raise DemoError(f"no answer to {method}.\n{self._last_words()}")
        return frame

    def _read(self) -> None:
        if self._process.stdout is not None:
            for line in self._process.stdout:
                self._frames.put(line.decode().rstrip("\n"))
        self._frames.put(None)

    def _last_words(self) -> str:
        self._stderr.seek(0)
        lines = deque(self._stderr, LAST_WORDS)
        return b"".join(lines).decode(errors="replace").rstrip() or "  (it wrote nothing on stderr)"


def mapping(value: object) -> Json:
    """A JSON value if it is an object; else an empty object."""
    return value if isinstance(value, dict) else {}
