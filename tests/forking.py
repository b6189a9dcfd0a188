"""Processes that begin as copies of one that has imported everything (tests/forks.py).

They differ from started ones in what they need not do: read modules. Tests of starts, of memory, of
walls and of packages start theirs: with the fixture `started`, or a program of their own.
"""

import atexit
import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from tests.tools import ENVIRONMENT

HERE = Path(__file__).resolve().parent
PIPEGUARD = (sys.executable, "-E", "-P", "-m", "pipeguard")
MODULES = (  # of guards, and of what a person decides
    *("pipeguard.cli.wrap", "pipeguard.cli.serve", "pipeguard.gateway.serving"),
    *("pipeguard.transports.http.server.listener", "pipeguard.rulebook.cache", "aiohttp.web"),
    *("pipeguard.runtime.start", "pipeguard.state.retention", "hyperscan"),
    *("pipeguard.detect.scanning.engine", "pipeguard.detect.checks.registry"),
    *("pipeguard.detect.commands.own", "pipeguard.cli.approve", "pipeguard.cli.allow"),
)


class Forks:
    """A process that forks copies of a program."""

    def __init__(self, python: Sequence[str], program: str, *modules: str) -> None:
        self._lock = threading.Lock()
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [*python, str(HERE / "forks.py"), program, *modules]
        with theirs:
            self._process = subprocess.Popen(command, stdin=theirs.fileno(), env=ENVIRONMENT)
        self.works = self.channel.recv(16) == b"ready"
        atexit.register(self.end)

    def fork(self, asked: Mapping[str, object], descriptors: list[int]) -> int:
        """Fork a copy; return its process id."""
        with self._lock:
            socket.send_fds(self.channel, [json.dumps(asked).encode()], descriptors)
            return int(self.channel.recv(16))

    def end(self) -> None:
        """End the process, not its copies."""
        self.channel.close()
        self._process.wait()


class ForkedProcess(subprocess.Popen[Any]):
    """A copy, as `Popen` has a process that it started."""

    def __init__(
        self, forks: Forks, command: Sequence[str], arguments: Sequence[str], **given: Any
    ) -> None:
        self._forks, self._arguments = forks, [*arguments]
        self._is_leader = bool(given.get("start_new_session"))
        super().__init__([*command], **given)

    def _execute_child(  # as CPython 3.11 to 3.14 call it
        self, args: Sequence[str], _executable: object, _preexec: object, _close: object,
        _pass: object, cwd: str | Path | None, env: Mapping[str, str] | None, _info: object,
        _flags: object, _shell: object, p2cread: int, p2cwrite: int, c2pread: int, c2pwrite: int,
        errread: int, errwrite: int, *_: object,
    ) -> None:  # fmt: skip
        asked = {
            "command": args,
            "arguments": self._arguments,
            "environment": dict(os.environ if env is None else env),
            "folder": os.path.abspath(cwd or os.curdir),
            "session": self._is_leader,
        }
        self._status, told = os.pipe()
        streams = [
            ours if theirs == -1 else theirs
            for ours, theirs in enumerate((p2cread, c2pwrite, errwrite))
        ]
        self.pid = self._forks.fork(asked, [*streams, told])
        os.close(told)
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)  # type: ignore[attr-defined]

    def _internal_poll(self, *_: object, **__: object) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self._wait(0)
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        if self.returncode is None:
            ready, _, _ = select.select([self._status], [], [], timeout)
            if not ready:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            with open(self._status, "rb") as told:
                self.returncode = os.waitstatus_to_exitcode(int(told.read()))
        return self.returncode


@cache
def _forks_of(program: tuple[str, ...], modules: tuple[str, ...]) -> Forks | None:
    """A process that forks a program; None where it cannot, or where lines are counted."""
    if not sys.platform.startswith("linux") or "COVERAGE_PROCESS_CONFIG" in os.environ:
        return None
    *python, name = (word for word in program if word != "-m")
    forks = Forks(python, name, *modules)
    return forks if forks.works else None


def start(
    command: Sequence[str | Path],
    program: tuple[str, ...] = PIPEGUARD,
    modules: tuple[str, ...] = MODULES,
    launcher: Sequence[str] = (),
    **given: Any,
) -> subprocess.Popen[Any]:
    """Do the same as `Popen`; a command that begins with `program` becomes a copy.

    Args:
        command: the command.
        program: a Python, its options, and a script or `-m` and a module.
        modules: what the first process imports.
        launcher: words in front of a command that becomes no copy.
        given: what else `Popen` takes.
    """
    words = [*map(str, command)]
    size = len(program)
    if tuple(words[:size]) == program and (forks := _forks_of(program, modules)):
        return ForkedProcess(forks, words, words[size:], **given)
    return subprocess.Popen([*launcher, *command], **given)
