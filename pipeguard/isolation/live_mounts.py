"""Covers files again in a sandbox that runs (isolation.covers).

Nobody in a sandbox may mount, and who starts it has no rights in it. So a process that is forked
before the engine starts stays behind in the user namespace that the sandbox's was made from, with
mounts of its own. It ends with the engine or the warden.

It runs in a fork of PipeGuard without threads, and never returns.
"""

from __future__ import annotations

import errno
import os
import select
import signal
from contextlib import suppress
from time import monotonic, sleep
from typing import TYPE_CHECKING

from pipeguard.isolation import mounting
from pipeguard.isolation.covers import (
    UNCOVERED,
    CoverWatch,
    cover_again,
    hidden_trees,
    unwatched_message,
)
from pipeguard.launch.lifeline import Lifeline
from pipeguard.launch.warden import outlive_run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

    from pipeguard.isolation.covers import Cover

INFO_BYTES = 4096
READY_SECONDS, PAUSE_SECONDS = 3.0, 0.005


class Doorway:
    """The descriptors by which the process that covers again is told things.

    Covers are watched from here on, before anything is mounted: later replacements are seen.

    Args:
        covers: what it covers again if that is replaced.
        say: tells the user that they cannot be watched.

    Attributes:
        covers: the same.
        watch: tells of replaced covers; None if the system has none left.
        watched: its descriptor, if there is one.
        info: what the engine says of the sandbox (bwrap(1), --info-fd).
        said: where it says that.
        lifeline: by whose end the warden ends the server.

    Raises:
        OSError: the system has no descriptors left.
    """

    def __init__(self, covers: tuple[Cover, ...], say: Callable[[str], None]) -> None:
        self.covers = covers
        self.watch: CoverWatch | None = None
        try:
            self.watch = CoverWatch()
            self.watch.follow(covers)
        except OSError as error:
            say(unwatched_message(error.errno or 0))
        self.watched = () if self.watch is None else (self.watch.descriptor,)
        self.info, self.said = os.pipe()
        self.lifeline = Lifeline()

    def open(self) -> None:
        """Fork the process that covers again; to be called in the one that becomes the engine.

        Nobody waits for it: what is replaced before it runs, the watch has noted. bwrap lets
        children alone that it has from before.

        Raises:
            OSError: there is no process left.
        """
        watched = [os.pidfd_open(os.getpid()), os.pidfd_open(os.getppid())]
        if os.fork() == 0:
            _wait(self, watched)
        for descriptor in (*watched, *self.watched, self.info, *self.lifeline.ends):
            os.close(descriptor)


def _wait(doorway: Doorway, watched: Sequence[int]) -> NoReturn:
    try:
        outlive_run((*doorway.watched, doorway.info, doorway.lifeline.held, *watched))
        _serve(doorway, watched)
    finally:
        os._exit(0)


def _serve(doorway: Doorway, watched: Sequence[int]) -> None:
    """Cover again until the engine or the warden has ended."""
    poll = select.poll()
    watch, heard = doorway.watch, {*doorway.watched}
    for descriptor in (*watched, *heard):
        poll.register(descriptor, select.POLLIN)
    sandbox: _SandboxMounts | None = None
    while {descriptor for descriptor, _ in poll.poll()} <= heard:
        sandbox = sandbox or _SandboxMounts(doorway)
        if watch is not None and watch.is_concerned():
            sandbox.cover_again()
            with suppress(OSError):  # whose place another program took at once
                watch.follow(doorway.covers)
            sandbox.cover_again()  # what was replaced before it was followed


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
        self._covers = doorway.covers

    def cover_again(self) -> None:
        """Cover what is not covered any more; a server that sees such a file all the same ends.

        Raises:
            OSError: the sandbox has ended.
        """
        for cover in self._covers:
            trees = hidden_trees() if cover.is_hidden else (-1, -1)
            self._enter()
            try:
                cover_again(cover, trees)
            except OSError:
                self._lifeline.note(UNCOVERED)
                os.kill(self._process, signal.SIGKILL)
                raise
            finally:
                mounting.enter_mounts(self._own)
                for tree in trees if cover.is_hidden else ():
                    os.close(tree)

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
