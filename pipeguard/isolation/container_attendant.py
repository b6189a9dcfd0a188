"""Beside a container from its start to its end: makes its network, and ends it with PipeGuard.

A container's processes belong to its engine, not to the warden. So a process that is forked before
the engine starts waits for the container, enters its namespaces to make the way out, and then
watches: when the engine's client or the warden has died and the container has not, it is killed.
The attendant is a child of the warden, which ends it last.

It runs in a fork of PipeGuard without threads, and never returns.
"""

from __future__ import annotations

import ctypes
import os
import re
import secrets
import select
import shutil
import signal
import sys
from contextlib import suppress
from time import monotonic, sleep
from typing import TYPE_CHECKING

from pipeguard.isolation.namespace import CLONE_NEWNET, CLONE_NEWUSER, open_network, pass_sockets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import NoReturn

RECORDS = "containers"  # in the folder of isolation
PREFIX = "pipeguard-"
OWNERS, PROCESS, IDENTITY = "owners", "process", "identity"
_IDENTITY = re.compile("[0-9a-f]{64}")  # as podman makes it


class ContainerRecord:
    """The record of one container.

    Attributes:
        name: of the container.
        process_file: where podman writes the number of its process.
    """

    def __init__(self, folder: str, name: str) -> None:
        self.name = name
        self._folder = os.path.join(folder, RECORDS, name)
        self.process_file = os.path.join(self._folder, PROCESS)

    @classmethod
    def make(cls, folder: str) -> ContainerRecord:
        """A record of a container that this process is about to start."""
        record = cls(folder, PREFIX + secrets.token_hex(8))
        os.makedirs(record._folder, mode=0o700)
        record.join_owners()
        return record

    def join_owners(self) -> None:
        """Own the container too: it is nobody's once all of its owners are gone."""
        path = os.path.join(self._folder, OWNERS)
        with suppress(FileNotFoundError), open(path, "a", encoding="ascii") as file:
            file.write(f"{os.getpid()} {_start_ticks(os.getpid())}\n")

    def process(self) -> int | None:
        """The number of the container's process, once podman has written it."""
        text = _content(self.process_file)
        return int(text) if text.isdigit() else None

    def note_identity(self, process: int) -> str:
        """Note, and return, what podman calls the container whose process this is."""
        parent = _stat(process)[1:2]
        words = _content(f"/proc/{parent[0]}/cmdline").split("\0") if parent else []
        found = next((word for word in words if _IDENTITY.fullmatch(word)), "")
        path = os.path.join(self._folder, IDENTITY)
        with suppress(FileNotFoundError), open(path, "w", encoding="ascii") as file:
            file.write(found)  # a folder that is gone was removed because PipeGuard ended
        return found

    def identity(self) -> str:
        """The identity that podman gave the container; empty where it is not known."""
        found = _content(os.path.join(self._folder, IDENTITY))
        return found if _IDENTITY.fullmatch(found) else ""

    def is_stale(self) -> bool:
        """True if all processes that own the container are gone."""
        lines = _content(os.path.join(self._folder, OWNERS)).splitlines()
        owners = (line.partition(" ") for line in lines)
        return not any(
            number.isdigit() and _start_ticks(int(number)) == started
            for number, _, started in owners
        )

    def exists(self) -> bool:
        """True unless the container is known to be gone."""
        return os.path.isdir(self._folder)

    def remove(self) -> None:
        """Forget a container that is gone."""
        shutil.rmtree(self._folder, ignore_errors=True)


def remove_stale(folder: str, remove: Callable[[ContainerRecord], bool]) -> None:
    """Remove the containers of processes that were killed.

    Args:
        folder: of isolation.
        remove: removes a container; whether it is gone.
    """
    names: list[str] = []
    with suppress(FileNotFoundError):
        names = os.listdir(os.path.join(folder, RECORDS))
    for name in names:
        record = ContainerRecord(folder, name)
        if record.is_stale() and remove(record):
            record.remove()


def is_process(number: int) -> bool:
    """True if a process with this number exists."""
    return bool(_stat(number))


def _start_ticks(process: int) -> str:
    """The start of a process, in ticks since the system's (proc(5), field 22 of stat)."""
    fields = _stat(process)
    return fields[19] if fields else ""


def _stat(process: int) -> list[str]:
    """The fields of a process after its name, which may contain anything (proc(5), stat)."""
    return _content(f"/proc/{process}/stat").rpartition(")")[2].split()


def _content(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


assert sys.platform == "linux"  # noqa: S101  tells mypy which system's names to look up

PAUSE_SECONDS = 0.005
JOIN_SECONDS = 10.0
ORPHAN_SECONDS = 5.0  # for a container to appear that an engine began to make before it ended


def attend(
    find: Callable[[], int | None],
    remove: Callable[[], None],
    ports: Iterable[int],
    channel: int,
) -> None:
    """Fork the attendant of the container that this process is about to start.

    To be called in the process that becomes the engine's client.

    Args:
        find: the process of the container once it is there.
        remove: removes what is left of the container; called where the warden cannot.
        ports: TCP ports that it may connect to.
        channel: a descriptor that its sockets are sent through.

    Raises:
        OSError: there is no process left.
    """
    watched = [os.pidfd_open(os.getpid()), os.pidfd_open(os.getppid())]
    first = os.fork()
    if first:
        for descriptor in watched:
            os.close(descriptor)
        os.waitpid(first, 0)
        return
    try:
        if os.fork() == 0:  # its parent ends at once, so that the warden becomes its parent
            _attend(find, remove, tuple(ports), channel, watched)
    finally:
        os._exit(0)


def _attend(
    find: Callable[[], int | None],
    remove: Callable[[], None],
    ports: Sequence[int],
    channel: int,
    watched: Sequence[int],
) -> NoReturn:
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _close_all_but((*watched, channel))
        process = _await_process(find, watched)
        if process is not None:
            _watch(process, ports, channel, watched)
        engine, warden = watched
        if _wait_for_end((warden,), 0):
            _wait_for_end((engine,), ORPHAN_SECONDS)  # it may be removing what it made
            remove()
    finally:
        os._exit(0)


def _watch(process: int, ports: Sequence[int], channel: int, watched: Sequence[int]) -> None:
    """Make the container's network, and kill it once the engine or the warden has ended."""
    try:
        container = os.pidfd_open(process)
    except ProcessLookupError:
        return  # it ended at once
    _make_network(process, ports, channel)
    os.close(channel)
    if container in _wait_for_end((container, *watched), None):
        return
    try:
        signal.pidfd_send_signal(container, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return  # it has ended, or is another user's: it is removed at the next start
    _wait_for_end((container,), ORPHAN_SECONDS)


def _await_process(find: Callable[[], int | None], watched: Sequence[int]) -> int | None:
    """The container's process; None where the engine ended without it."""
    engine, warden = watched
    give_up = None
    while (process := find()) is None:
        if give_up is None and engine in _wait_for_end((engine,), PAUSE_SECONDS):
            if not _wait_for_end((warden,), 0):
                return find()  # what the engine left is the warden's child, and ended by it
            give_up = monotonic() + ORPHAN_SECONDS
        elif give_up is not None:
            if monotonic() > give_up:
                return None
            sleep(PAUSE_SECONDS)
    return process


def _wait_for_end(descriptors: Sequence[int], timeout_seconds: float | None) -> list[int]:
    """Return the processes that have ended, once one has, or after the timeout."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    timeout = None if timeout_seconds is None else timeout_seconds * 1000
    return [descriptor for descriptor, _ in poll.poll(timeout)]


def _make_network(process: int, ports: Sequence[int], channel: int) -> None:
    """Make a child enter the container's network and open its way out."""
    maker = os.fork()
    if maker:
        os.waitpid(maker, 0)
        return
    try:
        _enter(process)
        open_network()
        pass_sockets(ports, channel)
    finally:
        os._exit(0)


def _enter(process: int) -> None:
    """Enter the user and network namespaces of a process.

    Raises:
        OSError: they are not ours.
    """
    give_up = monotonic() + JOIN_SECONDS
    library = ctypes.CDLL(None, use_errno=True)
    while True:
        try:
            _enter_once(process, library)
        except PermissionError:
            # While its engine prepares it, a container's process is nobody's to look into.
            if monotonic() > give_up:
                raise
            sleep(PAUSE_SECONDS)
        else:
            return


def _enter_once(process: int, library: ctypes.CDLL) -> None:
    for name, kind in (("user", CLONE_NEWUSER), ("net", CLONE_NEWNET)):
        path = f"/proc/{process}/ns/{name}"
        if os.stat(path).st_ino == os.stat(f"/proc/self/ns/{name}").st_ino:
            if name == "net":
                raise PermissionError("the container has no network of its own yet")
            continue
        descriptor = os.open(path, os.O_RDONLY)
        if library.setns(descriptor, kind):
            raise OSError(ctypes.get_errno(), "setns")
        os.close(descriptor)


def _close_all_but(descriptors: Sequence[int]) -> None:
    """Close every other descriptor; 0, 1 and 2 become /dev/null."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor, inheritable=False)
    remaining = sorted({0, 1, 2, *descriptors})
    names = os.listdir("/proc/self/fd")
    for before, after in zip(remaining, [*remaining[1:], max(map(int, names)) + 1], strict=True):
        os.closerange(before + 1, after)
