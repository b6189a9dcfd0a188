"""Covers again what a server must not change or see, if it is replaced while the server runs.

A mount stands on a file itself. A program outside that puts another file in its place, as editors
and git do, takes the mount away in every sandbox (rename(2), unlink(2)), and the new file would be
as free as the folder that it is in. So these names are watched (inotify(7)), and mounted again.
What cannot be mounted ends the server.

Nobody in a sandbox may mount, and who starts it has no rights in it. So a process that is forked
before the engine starts stays behind in the user namespace that the sandbox's was made from, with
mounts of its own. It ends with the engine or the warden, and runs in a fork without threads.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import signal
import stat
from contextlib import suppress
from time import monotonic, sleep
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.isolation import mounting
from pipeguard.isolation.mounting import open_folder
from pipeguard.isolation.sensitive import is_inside
from pipeguard.isolation.staging import STAGE, stage_view
from pipeguard.isolation.view import MountKind
from pipeguard.launch.lifeline import Lifeline
from pipeguard.launch.warden import outlive_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import NoReturn

    from pipeguard.isolation.staging import Staged
    from pipeguard.isolation.view import FileView

# linux/inotify.h
CREATED, MOVED_TO, ONLY_FOLDERS, NO_LINKS, OVERFLOWN = 0x100, 0x80, 0x01000000, 0x02000000, 0x4000
NONE_LEFT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.ENOMEM})  # inotify(7)
HEAD_BYTES = 16
MOST_BYTES = 65536
UNCOVERED = 2  # the exit code of what mounts, if something could not be covered again
_LIBRARY = ctypes.CDLL(None, use_errno=True)
INFO_BYTES = 4096
READY_SECONDS, PAUSE_SECONDS = 3.0, 0.005


class Cover(NamedTuple):
    """A path in a given folder that is covered, or may only be read.

    Attributes:
        path: of it.
        is_hidden: whether nothing of it is seen.
        outer: the folder that is given.
        pins: folders between both that are mounts, so that they cannot be moved.
    """

    path: str
    is_hidden: bool
    outer: str
    pins: tuple[str, ...]


def covers_in_view(view: FileView) -> tuple[Cover, ...]:
    """Paths to keep covered in what a view gives."""
    return tuple(cover for staged in stage_view(view)[1] for cover in _folder_covers(staged))


def _folder_covers(staged: Staged) -> Iterator[Cover]:
    """Paths to keep covered in one folder that is given."""
    outer = staged.outer
    if outer.source != outer.path:
        return  # a kept home, which only the server writes
    written = [mount.path for mount in staged.inside if mount.kind is MountKind.WRITE]
    for mount in staged.inside:
        is_hidden = mount.kind is MountKind.HIDDEN
        is_fixed = mount.kind is MountKind.READ and outer.kind is MountKind.WRITE
        if is_hidden or (is_fixed and mount.source == mount.path):
            pins = tuple(path for path in written if is_inside(mount.path, path))
            yield Cover(mount.path, is_hidden, outer.path, pins)


class CoverWatch:
    """Tells when a covered name gets another file.

    It watches nothing until it follows something.

    Raises:
        OSError: the system has none left.

    Attributes:
        descriptor: readable if something was made or moved.
    """

    def __init__(self) -> None:
        self.descriptor: int = _LIBRARY.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._names: set[bytes] = set()
        self._watches: dict[str, int] = {}  # numbers, by the folder

    def follow(self, covers: Sequence[Cover]) -> None:
        """Watch for these from now on, in the folders that are at the paths now.

        Raises:
            OSError: the system has no watches left for some of them; the others are watched.
        """
        folders = dict.fromkeys(folder for each in covers for folder in _between(each))
        paths = (*(each.path for each in covers), *folders)
        self._names = {os.fsencode(os.path.basename(path)) for path in paths}
        before, self._watches = self._watches, {}
        lacking = 0
        for folder in folders:
            number, error = self._add(folder)
            if error in NONE_LEFT and folder in before:  # which may be of a folder that is gone
                self._remove(before.pop(folder))
                number, error = self._add(folder)
            if error in NONE_LEFT:
                lacking = error
            if number >= 0:
                self._watches[folder] = number
        for number in {*before.values()} - {*self._watches.values()}:
            self._remove(number)
        if lacking:
            raise OSError(lacking, os.strerror(lacking))

    def _add(self, folder: str) -> tuple[int, int]:
        """The number of a folder's watch, or of the error."""
        wanted = CREATED | MOVED_TO | ONLY_FOLDERS | NO_LINKS
        number = _LIBRARY.inotify_add_watch(self.descriptor, os.fsencode(folder), wanted)
        return number, 0 if number >= 0 else ctypes.get_errno()

    def _remove(self, number: int) -> None:
        _LIBRARY.inotify_rm_watch(self.descriptor, number)  # none any more if its folder is gone

    def is_concerned(self) -> bool:
        """True if the events since the last call are about a covered name."""
        data = b""
        with suppress(BlockingIOError):
            data = os.read(self.descriptor, MOST_BYTES)
        concerned = False
        while data:
            mask = int.from_bytes(data[4:8], "little")
            size = HEAD_BYTES + int.from_bytes(data[12:HEAD_BYTES], "little")
            name = data[HEAD_BYTES:size].rstrip(b"\0")
            concerned = concerned or bool(mask & OVERFLOWN) or name in self._names
            data = data[size:]
        return concerned


def _between(cover: Cover) -> Iterator[str]:
    """The folders from the one that is given to the one that a path is in."""
    folder = cover.path
    while folder != cover.outer:
        folder = os.path.dirname(folder)
        yield folder


def hidden_trees() -> tuple[int, int]:
    """Detached mounts of nothing: one for a folder, one for a file.

    Raises:
        OSError: the kernel refuses.
    """
    place = open_folder(STAGE)
    mounting.mount_in_memory(place, "mode=0000,size=4k", read_only=True)
    os.close(place)
    try:
        place = open_folder(STAGE)
        folder = mounting.copy_detached(place)
        os.close(place)
    finally:
        mounting.detach(STAGE)
    nothing = open_folder(os.devnull)
    file = mounting.copy_detached(nothing)
    os.close(nothing)
    return folder, file


def cover_again(cover: Cover, trees: tuple[int, int]) -> None:
    """Cover a path that is not, in the mounts that this process sees; one that is gone stays so.

    Args:
        cover: the path.
        trees: as `hidden_trees` gives them; they are used up if this one is hidden.

    Raises:
        OSError: the kernel refuses.
    """
    try:
        _cover_unless_it_is(cover, trees)
    except OSError as error:
        # Nothing is there, or a link, by which no more is reached than what is given; or it was
        # moved meanwhile, and is heard of again.
        if error.errno not in {errno.ESTALE, errno.ENOENT}:
            raise


def _cover_unless_it_is(cover: Cover, trees: tuple[int, int]) -> None:
    place = open_folder(cover.path)
    status = os.fstat(place)
    is_there = _is_covered(place, status, is_hidden=cover.is_hidden)
    os.close(place)
    if is_there:
        return
    for pin in cover.pins:
        _attach_itself(pin, read_only=False)
    if not cover.is_hidden:
        _attach_itself(cover.path, read_only=True)
        return
    place = open_folder(cover.path)
    mounting.attach(trees[not stat.S_ISDIR(status.st_mode)], place)
    os.close(place)


def _is_covered(place: int, status: os.stat_result, *, is_hidden: bool) -> bool:
    is_fixed = bool(os.fstatvfs(place).f_flag & os.ST_RDONLY)
    if not is_hidden:
        return is_fixed
    if stat.S_ISDIR(status.st_mode):
        return is_fixed and not stat.S_IMODE(status.st_mode)
    return stat.S_ISCHR(status.st_mode)


def _attach_itself(path: str, *, read_only: bool) -> None:
    place = open_folder(path)
    tree = mounting.copy_detached(place)
    if read_only:
        mounting.make_read_only(tree)
    mounting.attach(tree, place)
    os.close(tree)
    os.close(place)


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
            say(
                "PipeGuard cannot watch what is covered in the folders that this server is given"
                f" (inotify: {error.strerror}). If a program of yours replaces a file there that"
                " the server must not read or change, as git does with .git/config, the new one is"
                " not covered until the server is started again."
            )
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
