"""Real processes for the tests of launch: small servers, and a search for leftovers."""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from pipeguard.launch.child import Child, Command, start

PATIENCE_SECONDS = 240.0  # a package may have to be fetched first


def python(source: str, *arguments: str) -> list[str]:
    """A command that runs the source in an interpreter that nothing around it can change."""
    return [sys.executable, "-I", "-c", source, *arguments]


def launch(argv: list[str], **env: str) -> Child:
    """Start a server and wait until it runs."""
    child = start(Command(argv, {"PATH": os.environ["PATH"], **env}))
    child.wait_started()
    return child


def read_line(descriptor: int) -> bytes:
    """Read one line of a pipe."""
    line = b""
    while not line.endswith(b"\n"):
        data = os.read(descriptor, 1)
        if not data:
            return line
        line += data
    return line[:-1]


def read_all(descriptor: int) -> bytes:
    """Read a pipe to its end."""
    parts = []
    while data := os.read(descriptor, 65536):
        parts.append(data)
    return b"".join(parts)


def fill(descriptor: int) -> None:
    """Write into a pipe until nothing more fits."""
    os.set_blocking(descriptor, False)
    try:
        while True:
            os.write(descriptor, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(descriptor, True)


def until(holds: Callable[[], bool], what: str) -> None:
    """Poll a fact that no descriptor announces; the pause only spares the processor."""
    deadline = monotonic() + PATIENCE_SECONDS
    while not holds():
        assert monotonic() < deadline, f"waited in vain until {what}"
        sleep(0.005)


def is_running(process: int) -> bool:
    """True if a process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{process}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(b")")[2].split()[0] not in (b"Z", b"X")


def none_is_left(*processes: int) -> None:
    """Fail, and clean up, if one of the processes does not end soon."""
    try:
        until(lambda: not any(map(is_running, processes)), f"{processes} are gone")
    finally:
        for process in filter(is_running, processes):
            os.kill(process, signal.SIGKILL)


def command_lines() -> list[bytes]:
    """The command lines of this machine's processes (proc(5))."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            found.append(path.read_bytes())
    return found
