"""Mounts for a server, staged before the engine starts where nobody else can change them.

A view names paths; anyone who may write the folders above one could put a link there after it was
checked. So each path is opened without following links, and mounted with its contents in a mount
namespace of this process's own. The engine takes it from there.
"""

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from pipeguard.isolation.mounting import (
    bind,
    make_read_only,
    mount_in_memory,
    open_below,
    open_folder,
)
from pipeguard.isolation.sensitive import is_inside
from pipeguard.isolation.view import ETC_FOLDERS, SYSTEM, FileView, Mount, MountKind

# Covered only in a namespace of our own: it is never granted, and no engine needs it.
STAGE = "/sys"
_STAGED = (MountKind.READ, MountKind.WRITE)
_OF_SYSTEM = (*SYSTEM, *(f"/etc/{name}" for name in ETC_FOLDERS))  # root's own


class Staged(NamedTuple):
    """A granted file or folder, with the mounts in it.

    Attributes:
        outer: the file or folder.
        inside: the mounts in it, outer folders first.
        absent: paths in it that do not exist, except through a link.
    """

    outer: Mount
    inside: tuple[Mount, ...]
    absent: tuple[str, ...]


def stage_view(view: FileView) -> tuple[tuple[Mount, ...], tuple[Staged, ...]]:
    """The mounts that are left to an engine, and the staged ones."""
    left = []
    staged: list[tuple[Mount, list[Mount]]] = []
    holders: dict[str, int | None] = {}  # by the path of a mount: the staged one that it is in
    for mount in view.mounts:
        around = [path for path in holders if path != mount.path and is_inside(mount.path, path)]
        holder = holders[max(around, key=len)] if around else None
        if holder is not None:
            staged[holder][1].append(mount)
        elif mount.kind in _STAGED and mount.path not in _OF_SYSTEM:
            holder = len(staged)
            left.append(Mount(MountKind.WRITE, mount.path, f"{STAGE}/{holder}"))
            staged.append((mount, []))
        else:
            left.append(mount)
        if mount.kind is not MountKind.LINK:
            holders[mount.path] = holder
    return tuple(left), tuple(
        Staged(
            outer, tuple(inside), tuple(path for path in view.absent if is_inside(path, outer.path))
        )
        for outer, inside in staged
    )


def stage(staged: Sequence[Staged]) -> None:
    """Mount all of it; this process has a mount namespace of its own.

    Raises:
        OSError: something changed after it was checked (ESTALE), or the kernel refuses.
    """
    if not staged:
        return
    covered = open_folder(STAGE)
    mount_in_memory(covered, "mode=0700,size=1m")
    os.close(covered)
    folder = open_folder(STAGE)
    for number, each in enumerate(staged):
        top = each.outer
        name = str(number)
        _mount_source(top, folder, name, is_new=True)
        place = open_below(folder, name)
        for mount in each.inside:
            _mount_inside(place, top, mount)
        for path in each.absent:
            _check_absent(place, path[len(top.path) :])
        os.close(place)
    os.close(folder)


def _check_absent(outer: int, path: str) -> None:
    try:
        os.close(open_below(outer, path))
    except OSError:
        return
    raise OSError(errno.ESTALE, "something else put it there in the meantime", path)


def _mount_source(mount: Mount, folder: int, name: str, *, is_new: bool) -> None:
    """Mount the source of a mount at a name in a folder, made there if it is new."""
    source = open_folder(mount.source)
    if is_new:
        _make_place(folder, name, source)
    _bind(source, folder, name, is_fixed=mount.kind is MountKind.READ)
    os.close(source)


def _mount_inside(outer: int, top: Mount, mount: Mount) -> None:
    above, _, name = mount.path[len(top.path) :].strip("/").rpartition("/")
    folder = open_below(outer, above)
    is_same = top.source == top.path  # else it is a kept home, in which places may be made
    if mount.kind is MountKind.HIDDEN:
        _hide(folder, name)
    elif mount.kind is MountKind.LINK:
        with suppress(FileExistsError):
            os.symlink(mount.source, name, dir_fd=folder)
    elif mount.kind is MountKind.FOLDER:
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=folder)
    elif mount.kind is MountKind.READ and is_same and mount.source == mount.path:
        source = open_below(folder, name)  # the present file: it can no longer be replaced
        _bind(source, folder, name, is_fixed=True)
        os.close(source)
    else:
        _mount_source(mount, folder, name, is_new=not is_same)
    os.close(folder)


def _bind(source: int, folder: int, name: str, *, is_fixed: bool) -> None:
    place = open_below(folder, name)
    bind(source, place)
    os.close(place)
    if is_fixed:
        place = open_below(folder, name)
        make_read_only(place)
        os.close(place)


def _hide(folder: int, name: str) -> None:
    place = open_below(folder, name)
    if stat.S_ISDIR(os.fstat(place).st_mode):
        mount_in_memory(place, "mode=0000,size=4k", read_only=True)
    else:
        nothing = open_folder(os.devnull)
        bind(nothing, place)
        os.close(nothing)
    os.close(place)


def _make_place(folder: int, name: str, source: int) -> None:
    """Make a mount point, if there is none."""
    with suppress(FileExistsError):
        if stat.S_ISDIR(os.fstat(source).st_mode):
            os.mkdir(name, 0o700, dir_fd=folder)
        else:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(name, flags, 0o600, dir_fd=folder))
