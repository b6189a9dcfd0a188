"""Covers files again in a sandbox that runs (isolation.covers), and mounts the client's roots once.

Nobody in a sandbox may mount, and who starts it has no rights in it. So a process that is forked
before the engine starts stays behind in the user namespace that the sandbox's was made from, with
mounts of its own. There it puts together what is given, as before a start (isolation.staging), and
then moves it into the sandbox's mounts as one piece. It ends with the engine or the warden.

It runs in a fork of PipeGuard without threads, and never returns.
"""

from __future__ import annotations

import errno
import os
import select
import signal
from contextlib import suppress
from time import monotonic, sleep
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.isolation import mounting
from pipeguard.isolation.covers import UNCOVERED, cover_again, folder_covers, hidden_trees
from pipeguard.isolation.mounting import LINK_FREE, open_below, open_folder
from pipeguard.isolation.staging import STAGE, Staged, mount_staged
from pipeguard.isolation.view import Mount, MountKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

    from pipeguard.isolation.covers import Cover, CoverWatch
    from pipeguard.launch.lifeline import Lifeline

MAX_REQUEST_BYTES = 1_000_000
INFO_BYTES = 4096
READY_SECONDS, PAUSE_SECONDS = 3.0, 0.005
NAME = "root"  # in the stage
UNWATCHED = ""  # in an answer: the number of the error for which covers are not watched


class Doorway(NamedTuple):
    """The descriptors by which the process that mounts is told things.

    Attributes:
        covers: what it covers again where that is replaced.
        watch: tells it of that; None where the system has none left.
        requests: a Unix socket, at which it is asked for roots; None where none are given.
        info: what the engine says of the sandbox (bwrap(1), --info-fd).
        said: where it says that.
        lifeline: by whose end the warden ends the server.
    """

    covers: tuple[Cover, ...]
    watch: CoverWatch | None
    requests: int | None
    info: int
    said: int
    lifeline: Lifeline

    @property
    def watched_descriptors(self) -> frozenset[int]:
        """The descriptors that tell of something."""
        watch = None if self.watch is None else self.watch.descriptor
        return frozenset(each for each in (watch, self.requests) if each is not None)

    def open(self) -> None:
        """Fork the process that mounts; to be called in the one that becomes the engine.

        Nobody waits for it: what is replaced before it runs, the watch has noted. bwrap lets
        children alone that it has from before.

        Raises:
            OSError: there is no process left.
        """
        watched = [os.pidfd_open(os.getpid()), os.pidfd_open(os.getppid())]
        if os.fork() == 0:
            _wait(self, watched)
        for descriptor in (*watched, *self.watched_descriptors, self.info, *self.lifeline.ends):
            os.close(descriptor)


def encode_staged(staged: Staged) -> object:
    """Encode a mount for sending."""
    return [_fields(staged.outer), [_fields(each) for each in staged.inside], list(staged.absent)]


def _wait(doorway: Doorway, watched: Sequence[int]) -> NoReturn:
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        _close_all_but(
            (*doorway.watched_descriptors, doorway.info, doorway.lifeline.held, *watched)
        )
        _serve(doorway, watched)
    finally:
        os._exit(0)


def _serve(doorway: Doorway, watched: Sequence[int]) -> None:
    """Answer requests, and cover again, until the engine or the warden has ended."""
    poll = select.poll()
    watch, heard = doorway.watch, doorway.watched_descriptors
    for descriptor in (*watched, *heard):
        poll.register(descriptor, select.POLLIN)
    sandbox: _SandboxMounts | None = None
    while (ready := {descriptor for descriptor, _ in poll.poll()}) <= heard:
        sandbox = sandbox or _SandboxMounts(doorway)
        if watch is not None and watch.descriptor in ready and watch.is_concerned():
            sandbox.cover_again()
            with suppress(OSError):  # whose place another program took at once
                watch.follow(sandbox.covers)
            sandbox.cover_again()  # what was replaced before it was followed
        if doorway.requests in ready and not _answer(doorway.requests, sandbox, watch):
            poll.unregister(doorway.requests)  # PipeGuard has ended; the server does in a moment


def _answer(requests: int, sandbox: _SandboxMounts, watch: CoverWatch | None) -> bool:
    """Do what is asked; whether anybody still asks."""
    import json  # 2 ms, and most servers are given no roots

    asked = b""
    with suppress(ConnectionError):
        asked = os.read(requests, MAX_REQUEST_BYTES)
    if not asked:
        return False
    answer = sandbox.answer(json.loads(asked))
    try:
        if watch is not None:
            watch.follow(sandbox.covers)
    except OSError as error:
        answer[UNWATCHED] = str(error.errno)
    with suppress(ConnectionError):
        os.write(requests, json.dumps(answer).encode())
    return True


class _SandboxMounts:
    """The mounts of one sandbox, and ours.

    Args:
        doorway: where its engine says which process its first one is, and what stays covered.

    Raises:
        OSError: it has ended.
    """

    def __init__(self, doorway: Doorway) -> None:
        import json

        said = b""
        while more := os.read(doorway.info, INFO_BYTES):
            said += more
        self._process = int(json.loads(said)["child-pid"])
        self._theirs = os.open(f"/proc/{self._process}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        self._own = mounting.own_mounts()
        self._own_root = os.stat("/").st_dev
        self._is_ready = False
        self._lifeline = doorway.lifeline
        self.covers = doorway.covers

    def answer(self, fields: Sequence[Any]) -> dict[str, str]:
        """Mount one root; the reason by its path if that failed."""
        staged = _decode_staged(fields)
        try:
            self._add(staged)
        except OSError as error:
            return {staged.outer.path: str(error)}
        return {}

    def cover_again(self) -> None:
        """Cover what is not covered any more; a server that sees such a file all the same ends.

        Raises:
            OSError: the sandbox has ended.
        """
        for cover in self.covers:
            trees = hidden_trees() if cover.is_hidden else (-1, -1)
            self._enter()
            try:
                cover_again(cover, trees)
            except OSError:
                self._end(UNCOVERED)
                raise
            finally:
                mounting.enter_mounts(self._own)
                for tree in trees if cover.is_hidden else ():
                    os.close(tree)

    def _end(self, reason: int) -> None:
        self._lifeline.note(reason)
        os.kill(self._process, signal.SIGKILL)

    def _add(self, staged: Staged) -> None:
        covered = open_folder(STAGE)
        mounting.mount_in_memory(covered, "mode=0700,size=1m")
        os.close(covered)
        folder = open_folder(STAGE)
        tree = -1
        try:
            place = mount_staged(staged, folder, NAME)
            tree = mounting.copy_detached(place)
            os.close(place)
        finally:
            os.close(folder)
            mounting.detach(STAGE)
        self._enter()
        try:
            place = _make_folders(staged.outer.path)
            mounting.attach(tree, place)
            os.close(place)
        finally:
            os.close(tree)
            mounting.enter_mounts(self._own)
        self.covers += tuple(folder_covers(staged))

    def _enter(self) -> None:
        """See the sandbox's mounts, once they are all there: before, its root is this machine's.

        They stay there. What tells so is looked at once: by now the server may have made it.

        Raises:
            OSError: they are not after some time.
        """
        give_up = monotonic() + READY_SECONDS
        mounting.enter_mounts(self._theirs)
        while not self._is_ready and (
            os.stat("/").st_dev == self._own_root or os.path.lexists("/oldroot")
        ):
            mounting.enter_mounts(self._own)
            if monotonic() > give_up:
                raise OSError(errno.ETIMEDOUT, "the sandbox is not ready")
            sleep(PAUSE_SECONDS)
            mounting.enter_mounts(self._theirs)
        self._is_ready = True


def _make_folders(path: str) -> int:
    """A descriptor of a folder of the sandbox; what is missing of it is made, no link followed."""
    place = os.open("/", LINK_FREE)
    for name in path.strip("/").split("/"):
        with suppress(FileExistsError):
            _make(place, name)
        above = place
        try:
            place = open_below(above, name)
        finally:
            os.close(above)
    return place


def _make(folder: int, name: str) -> None:
    try:
        os.mkdir(name, 0o755, dir_fd=folder)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        with mounting.writable("/"):  # which the sandbox may not write
            os.mkdir(name, 0o755, dir_fd=folder)


def _fields(mount: Mount) -> list[str]:
    return [mount.kind.value, mount.path, mount.source]


def _decode_staged(fields: Sequence[Any]) -> Staged:
    outer, inside, absent = fields
    return Staged(_mount(outer), tuple(map(_mount, inside)), tuple(absent))


def _mount(fields: Sequence[str]) -> Mount:
    kind, path, source = fields
    return Mount(MountKind(kind), path, source)


def _close_all_but(wanted: Sequence[int]) -> None:
    """Close every other descriptor; 0, 1 and 2 become /dev/null."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor, inheritable=False)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in wanted:
            with suppress(OSError):  # the one that lists them
                os.close(int(name))
