"""A real `pipeguard wrap --listen`, and the servers behind it, as their addresses.

Both print their address on a line; nothing here knows MCP. `PIPEGUARD_TEST_LISTENER` replaces
PipeGuard with another hop, to try the tests themselves.
"""

import os
import re
import select
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from time import monotonic, sleep
from typing import Self

from tests.forking import PIPEGUARD, start
from tests.launch.processes import PATIENCE_SECONDS

ADDRESS = re.compile(rb"^(?:.*listening on )?((?:http|ws)s?://[^\s\x22]+)", re.MULTILINE)
START_SECONDS = 120.0  # the first of all compiles the rules
LOOK_SECONDS = 0.01  # no descriptor announces a line in a file
END_SECONDS = 60.0  # for a process that was asked to end


def hop(*words: str, program: Sequence[str] = PIPEGUARD) -> list[str]:
    """Make a command of `pipeguard wrap` with these words, or of its replacement."""
    if other := os.environ.get("PIPEGUARD_TEST_LISTENER"):
        return [*shlex.split(other), *words]
    return [*program, "wrap", *words]


class Process:
    """A process that prints its address, and ends with the test.

    Attributes:
        process: the process itself.
        log: the file with its stderr.
    """

    def __init__(
        self,
        log: Path,
        command: Sequence[str | Path],
        environment: Mapping[str, str] | None = None,
        *,
        told_on_stderr: bool = False,
    ) -> None:
        self.log = log
        self.told_on_stderr = told_on_stderr
        with log.open("wb") as file:
            self.process = start(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if told_on_stderr else subprocess.PIPE,
                stderr=file,
                env={**os.environ, **(environment or {})},
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    @cached_property
    def url(self) -> str:
        """The address that it printed, once it has: until then others may be started."""
        return self._address()

    @property
    def port(self) -> int:
        return int(self.url.split("/")[2].rpartition(":")[2])

    def at(self, path: str) -> str:
        """The address of another path of the same server."""
        return "/".join(self.url.split("/")[:3]) + path

    def said(self) -> str:
        """Return its stderr so far."""
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """Kill it, as a crash would."""
        self.process.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
        self.process.wait(END_SECONDS)

    def _address(self) -> str:
        printed = b""
        found: re.Match[bytes] | None = None

        def is_told() -> bool:
            nonlocal printed, found
            printed = self.log.read_bytes() if self.told_on_stderr else printed + self._more()
            found = ADDRESS.search(printed[: printed.rfind(b"\n") + 1])
            assert found or self.process.poll() is None, f"it ended: {self.said()}"
            return found is not None

        deadline = monotonic() + START_SECONDS
        while not is_told():
            assert monotonic() < deadline, f"no address from {self.process.args!r}"
            sleep(LOOK_SECONDS)
        assert found is not None
        return found[1].decode()

    def _more(self) -> bytes:
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        ready, _, _ = select.select([descriptor], [], [], PATIENCE_SECONDS)
        return os.read(descriptor, 4096) if ready else b""


class Listening(Process):
    """`wrap --listen` on a free port of loopback, with a state folder of its own."""

    def __init__(
        self,
        folder: Path,
        *words: str,
        environment: Mapping[str, str] | None = None,
        host: str = "127.0.0.1",
        program: Sequence[str] = PIPEGUARD,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.store = folder / "state" / "pipeguard.db"
        super().__init__(
            folder / "listening.log",
            hop("--listen", f"{host}:0", *words, program=program),
            {"PIPEGUARD_STATE_DIR": str(folder / "state"), **(environment or {})},
            told_on_stderr=True,
        )
