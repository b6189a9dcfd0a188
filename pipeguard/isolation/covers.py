"""Covers files that a server must not change or see again when they are replaced while it runs.

A mount is attached to the file itself. If a program outside replaces the file, as editors and git
do, the mount disappears in every sandbox (rename(2), unlink(2)), and the new file is as accessible
as its folder. So these names are watched (inotify(7)) and mounted again. If that fails, the server
is ended.

Nothing in a sandbox may mount, and its starter has no rights in it. So a process that is forked
before the engine starts stays behind in the user namespace that the sandbox's was made from, with
mounts of its own. It ends with the engine or the warden, and runs in a fork without threads.
"""

import ctypes
import errno
import os
import select
import signal
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from time import monotonic, sleep
from typing import NamedTuple, NoReturn

from pipeguard.isolation import mounting
from pipeguard.isolation.mounting import open_folder
from pipeguard.isolation.sensitive import folders_above, is_inside
from pipeguard.isolation.staging import STAGE, stage_view
from pipeguard.isolation.view import FileView, MountKind, Say
from pipeguard.launch import command, warden

# linux/inotify.h
CREATED, MOVED_TO, ONLY_FOLDERS, NO_LINKS, OVERFLOWN = 0x100, 0x80, 0x01000000, 0x02000000, 0x4000
NONE_LEFT = {errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.ENOMEM}  # inotify(7)
HEAD_BYTES = 16
MOST_BYTES = 65536
UNCOVERED = 2  # exit code of the covering process if it failed to cover a path again
_LIBRARY = ctypes.CDLL(None, use_errno=True)
INFO_BYTES = 4096
READY_SECONDS = 3.0
PAUSE_SECONDS = 0.005


class Cover(NamedTuple):
    """A covered or read-only path in a granted folder.

    Attributes:
        is_hidden: True if it is invisible.
        outer: the granted folder.
        pins: folders between both that are mounts, so that they cannot be moved.
    """

    path: str
    is_hidden: bool
    outer: str
    pins: tuple[str, ...]


def find_covers(view: FileView) -> Iterator[Cover]:
    """Paths of a view that must stay covered."""
    for staged in stage_view(view)[1]:
        outer = staged.outer
        if outer.source != outer.path:
            continue  # a kept home, which only the server writes
        written = [mount.path for mount in staged.inside if mount.kind is MountKind.WRITE]
        for mount in staged.inside:
            is_hidden = mount.kind is MountKind.HIDDEN
            is_fixed = mount.kind is MountKind.READ and outer.kind is MountKind.WRITE
            if is_hidden or (is_fixed and mount.source == mount.path):
                pins = tuple(path for path in written if is_inside(mount.path, path))
                yield Cover(mount.path, is_hidden, outer.path, pins)


class CoverWatch:
    """Watches for replacements of covered names.

    It watches nothing until it follows something.

    Raises:
        OSError: the system has no inotify instances left.

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
        """Watch these covers from now on, in the present folders at their paths.

        Raises:
            OSError: the system has no watches left for some of them; the others are watched.
        """
        folders = dict.fromkeys(
            folder for each in covers for folder in folders_above(each.path, each.outer)
        )
        paths = (*(each.path for each in covers), *folders)
        self._names = {os.fsencode(os.path.basename(path)) for path in paths}
        before = self._watches
        self._watches = {}
        lacking = 0
        for folder in folders:
            number, error = self._add(folder)
            if error in NONE_LEFT and folder in before:  # which may be of a folder that is gone
                _LIBRARY.inotify_rm_watch(self.descriptor, before.pop(folder))
                number, error = self._add(folder)
            if error in NONE_LEFT:
                lacking = error
            if number >= 0:
                self._watches[folder] = number
        for number in {*before.values()} - {*self._watches.values()}:
            _LIBRARY.inotify_rm_watch(self.descriptor, number)  # invalid if its folder is gone
        if lacking:
            raise OSError(lacking, os.strerror(lacking))

    def _add(self, folder: str) -> tuple[int, int]:
        """The number of a folder's watch, or of the error."""
        wanted = CREATED | MOVED_TO | ONLY_FOLDERS | NO_LINKS
        number = _LIBRARY.inotify_add_watch(self.descriptor, os.fsencode(folder), wanted)
        return number, 0 if number >= 0 else ctypes.get_errno()

    def is_concerned(self) -> bool:
        """True if an event since the last call concerns a covered name."""
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


def hidden_trees() -> tuple[int, int]:
    """Detached empty mounts: one for a folder, one for a file.

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


def cover_again(cover: Cover, trees: tuple[int, ...]) -> None:
    """Cover an uncovered path in the mounts that this process sees; ignore a deleted one.

    Args:
        cover: the path.
        trees: as returned by `hidden_trees`; used up if this path is hidden.

    Raises:
        OSError: the kernel refuses.
    """
    try:
        place = open_folder(cover.path)
        status = os.fstat(place)
        is_there = _is_covered(place, status, is_hidden=cover.is_hidden)
        os.close(place)
        for pin in () if is_there else cover.pins:
            _attach_itself(pin, read_only=False)
        if cover.is_hidden and not is_there:
            place = open_folder(cover.path)
            mounting.attach(trees[not stat.S_ISDIR(status.st_mode)], place)
            os.close(place)
        elif not is_there:
            _attach_itself(cover.path, read_only=True)
    except OSError as error:
        # The path is missing, or a link, which reaches no more than the grants; or it was just
        # moved, which causes another event.
        if error.errno not in {errno.ESTALE, errno.ENOENT}:
            raise


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
    """The descriptors by which the covering process receives its information.

    Covers are watched from here on, before anything is mounted: later replacements are seen.

    Args:
        covers: the paths to cover again after a replacement.
        say: tells the user that they cannot be watched.

    Attributes:
        watch: reports replaced covers; None if the system has no watches left.
        watched: the descriptor of `watch`, if there is one.
        info: the end that reads the engine's information on the sandbox (bwrap(1), --info-fd).
        said: the end that the engine writes it to.
        lifeline: its closing tells the warden to end the server.

    Raises:
        OSError: the system has no descriptors left.
    """

    def __init__(self, covers: tuple[Cover, ...], say: Say) -> None:
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
        self.lifeline = command.Lifeline()

    def open(self) -> None:
        """Fork the covering process; to be called in the process that becomes the engine.

        It is not waited for: the watch notes replacements that happen before it runs. bwrap ignores
        children that it already has.

        Raises:
            OSError: the process limit is reached.
        """
        watched = [os.pidfd_open(os.getpid()), os.pidfd_open(os.getppid())]
        if os.fork() == 0:
            _wait(self, watched)
        for descriptor in (*watched, *self.watched, self.info, *self.lifeline.ends):
            os.close(descriptor)


def _wait(doorway: Doorway, watched: Sequence[int]) -> NoReturn:
    try:
        warden.outlive_run((*doorway.watched, doorway.info, doorway.lifeline.held, *watched))
        _serve(doorway, watched)
    finally:
        os._exit(0)


def _serve(doorway: Doorway, watched: Sequence[int]) -> None:
    """Cover again until the engine or the warden has ended."""
    poll = select.poll()
    watch = doorway.watch
    heard = {*doorway.watched}
    for descriptor in (*watched, *heard):
        poll.register(descriptor, select.POLLIN)
    sandbox: _SandboxMounts | None = None
    while {descriptor for descriptor, _ in poll.poll()} <= heard:
        sandbox = sandbox or _SandboxMounts(doorway)
        if watch and watch.is_concerned():
            sandbox.cover_again()
            with suppress(OSError):  # replaced at once
                watch.follow(doorway.covers)
            sandbox.cover_again()  # for replacements before it was followed


class _SandboxMounts:
    """The mounts of one sandbox, and ours.

    Args:
        doorway: gives the sandbox's first process, and the covers.

    Raises:
        OSError: the sandbox has ended.
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
        """Cover uncovered paths again; kill a server that could still see one.

        Raises:
            OSError: the sandbox has ended.
        """
        for cover in self._covers:
            trees = hidden_trees() if cover.is_hidden else ()
            self._enter()
            try:
                cover_again(cover, trees)
            except OSError:
                self._lifeline.note(UNCOVERED)
                os.kill(self._process, signal.SIGKILL)
                raise
            finally:
                mounting.enter_namespace(self._own)
                for tree in trees:
                    os.close(tree)

    def _enter(self) -> None:
        """Enter the sandbox's mounts once they are complete: until then its root is this machine's.

        They stay complete. Completeness is checked once: later the server could imitate its signs.

        Raises:
            OSError: they are still incomplete after some time.
        """
        give_up = monotonic() + READY_SECONDS
        mounting.enter_namespace(self._theirs)
        while not self._is_ready and (
            os.stat("/").st_dev == self._own_root or os.path.lexists("/oldroot")
        ):
            mounting.enter_namespace(self._own)
            if monotonic() > give_up:
                raise OSError(errno.ETIMEDOUT, "the sandbox is not ready")
            sleep(PAUSE_SECONDS)
            mounting.enter_namespace(self._theirs)
        self._is_ready = True
