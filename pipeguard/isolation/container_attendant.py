"""Attends a container from its start to its end: makes its network, and ends it with PipeGuard.

A container's processes belong to its engine, not to the warden. So a process that is forked before
the engine starts waits for the container, enters its namespaces to make the way out, and then
watches: when the engine's client or the warden has died and the container has not, it is killed.
The warden ends the attendant last.

It runs in a fork of PipeGuard without threads, and never returns.
"""

import fcntl
import os
import secrets
import select
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from os.path import isdir, join
from time import monotonic, sleep
from typing import NoReturn, Self

from pipeguard.isolation.cgroups import read_setting
from pipeguard.isolation.mounting import enter_namespace
from pipeguard.isolation.namespace import CLONE_NEWNET, CLONE_NEWUSER, open_network, pass_sockets
from pipeguard.launch.warden import outlive_run

RECORDS = "containers"  # in the folder of isolation
PREFIX = "pipeguard-"
PAUSE_SECONDS = 0.005
JOIN_SECONDS = 10.0
Descriptors = Sequence[int]
ORPHAN_SECONDS = 5.0  # for a container to appear that an engine began to make before it ended

assert sys.platform == "linux"  # noqa: S101  tells mypy which system's names to look up


class ContainerRecord:
    """The record of one container: a folder, locked by PipeGuard and by the attendant.

    Attributes:
        process_file: the file that podman writes the container's process number to.
        identity_file: the file that podman writes its own name of the container to.
        lock: a descriptor that holds the lock; -1 in a process that does not own the container.
    """

    def __init__(self, folder: str, name: str) -> None:
        self.name = name
        self._folder = join(folder, RECORDS, name)
        self.process_file = join(self._folder, "process")
        self.identity_file = join(self._folder, "identity")
        self.lock = -1

    @classmethod
    def make(cls, folder: str) -> Self:
        """A record of a container that this process is about to start."""
        record = cls(folder, PREFIX + secrets.token_hex(8))
        made = join(folder, RECORDS, f"new-{record.name}")
        os.makedirs(made, mode=0o700)
        record.lock = os.open(made, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(record.lock, fcntl.LOCK_SH)
        os.rename(made, record._folder)  # others look at it from here on
        return record

    def process(self) -> int | None:
        """The number of the container's process, once podman has written it."""
        text = read_setting(self.process_file)
        return int(text) if text.isdigit() else None

    def identity(self) -> str:
        """The identity that podman gave the container; empty before."""
        return read_setting(self.identity_file)

    def is_stale(self) -> bool:
        """True if all processes that own the container are gone."""
        try:
            folder = os.open(self._folder, os.O_RDONLY)
        except OSError:  # another process removed it
            return False
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(folder)
        return True

    def exists(self) -> bool:
        """True unless the container is known to be gone."""
        return isdir(self._folder)

    def remove(self) -> None:
        """Forget a container that is gone."""
        shutil.rmtree(self._folder, ignore_errors=True)


def stale_records(folder: str) -> list[ContainerRecord]:
    """The containers of processes that were killed.

    Args:
        folder: of isolation.
    """
    names = []
    with suppress(FileNotFoundError):
        names = os.listdir(join(folder, RECORDS))
    records = (ContainerRecord(folder, name) for name in names if name.startswith(PREFIX))
    return [record for record in records if record.is_stale()]


def attend(
    record: ContainerRecord, remove: Callable[[], None], ports: Sequence[int], channel: int
) -> None:
    """Fork the attendant of the container that this process is about to start.

    To be called in the process that becomes the engine's client.

    Args:
        record: of the container.
        remove: removes the rest of the container; called if the warden cannot.
        ports: TCP ports that it may connect to.
        channel: a descriptor that its sockets are sent through.

    Raises:
        OSError: the process limit is reached.
    """
    watched = [os.pidfd_open(os.getpid()), os.pidfd_open(os.getppid())]
    if os.fork() == 0:
        _attend(record, remove, ports, channel, watched)
    for descriptor in watched:
        os.close(descriptor)


def _attend(
    record: ContainerRecord,
    remove: Callable[[], None],
    ports: Sequence[int],
    channel: int,
    watched: Descriptors,
) -> NoReturn:
    try:
        outlive_run((*watched, channel, record.lock))
        process = _await_process(record, watched)
        if process:
            _watch(process, ports, channel, watched)
        engine, warden = watched
        if _wait_for_end((warden,), 0):
            _wait_for_end((engine,), ORPHAN_SECONDS)  # it may be cleaning up
            remove()
    finally:
        os._exit(0)


def _watch(process: int, ports: Sequence[int], channel: int, watched: Descriptors) -> None:
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


def _await_process(record: ContainerRecord, watched: Descriptors) -> int | None:
    """The container's process; None if the engine ended without it."""
    engine, warden = watched
    give_up = inf
    while (process := record.process()) is None and monotonic() <= give_up:
        if give_up < inf:
            sleep(PAUSE_SECONDS)
        elif _wait_for_end((engine,), PAUSE_SECONDS):
            # While the warden lives, it owns and ends the engine's orphans.
            give_up = monotonic() + (ORPHAN_SECONDS if _wait_for_end((warden,), 0) else 0)
    return process


def _wait_for_end(descriptors: Descriptors, timeout_seconds: float | None) -> list[int]:
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
        give_up = monotonic() + JOIN_SECONDS
        while not _enter(process):
            if monotonic() > give_up:
                return
            sleep(PAUSE_SECONDS)
        open_network()
        pass_sockets(ports, channel)
    finally:
        os._exit(0)


def _enter(process: int) -> bool:
    """Enter the user and network namespaces of a process; False if that is not possible yet."""
    with suppress(PermissionError):  # unreadable while its engine prepares it
        return _join(process, "user", CLONE_NEWUSER) and _join(process, "net", CLONE_NEWNET)
    return False


def _join(process: int, name: str, kind: int) -> bool:
    """Enter one namespace; False if the process has no network of its own yet."""
    path = f"/proc/{process}/ns/{name}"
    if os.stat(path).st_ino == os.stat(f"/proc/self/ns/{name}").st_ino:
        return kind != CLONE_NEWNET
    descriptor = os.open(path, os.O_RDONLY)
    enter_namespace(descriptor, kind)
    os.close(descriptor)
    return True
