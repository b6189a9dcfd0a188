"""Removes folders that a stranger's program filled, however deep, and whatever their modes.

A package or a server may nest folders deeper than a path can be or Python recurses, and remove all
permissions: ordinary removal would fail, and leave the folders there for good.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

OWNER_ALL = 0o700
# Of Linux: servers are isolated only there.
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
_PLACE = _FOLDER | getattr(os, "O_PATH", 0)  # needs no right to read it


def remove_tree(folder: Path) -> None:
    """Remove a folder with its contents; follow no links.

    Nested folders are moved up and emptied there, so that none is deep.

    Raises:
        OSError: something in it cannot be removed, such as another user's file.
    """
    try:
        top = _open_writable(str(folder), None)
    except FileNotFoundError:
        return
    try:
        _empty(top)
    finally:
        os.close(top)
    folder.rmdir()


def remove_what_can_be(folder: Path) -> None:
    """Remove a folder as far as possible."""
    with suppress(OSError):
        remove_tree(folder)


def tree_bytes(folder: Path) -> int:
    """The size of the files in a folder, as far as paths can reach them."""
    found = 0
    waiting = [str(folder)]
    while waiting:
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            listed = list(entries)
            waiting += [entry.path for entry in listed if entry.is_dir(follow_symlinks=False)]
            found += sum(entry.stat(follow_symlinks=False).st_size for entry in listed)
    return found


def _empty(top: int) -> None:
    used = set(os.listdir(top))
    unused = (name for name in map(str, count()) if name not in used)
    waiting = _without_files(top)
    while waiting:
        name = waiting.pop()
        inner = _open_writable(name, top)
        try:
            waiting += _moved_up(inner, top, unused)
        finally:
            os.close(inner)
        os.rmdir(name, dir_fd=top)


def _moved_up(folder: int, top: int, unused: Iterator[str]) -> list[str]:
    """The subfolders of a folder, by their new names in the outermost one."""
    moved = []
    for name in _without_files(folder):
        os.close(_open_writable(name, folder))  # read-only folders cannot be moved
        moved.append(next(unused))
        os.rename(name, moved[-1], src_dir_fd=folder, dst_dir_fd=top)
    return moved


def _open_writable(name: str, folder: int | None) -> int:
    """A descriptor of a subfolder, or of a path without a folder, made writable."""
    place = os.open(name, _PLACE, dir_fd=folder)
    try:
        path = f"/proc/self/fd/{place}"  # the opened folder, whatever has its name by now
        os.chmod(path, OWNER_ALL)
        return os.open(path, os.O_RDONLY)
    finally:
        os.close(place)


def _without_files(folder: int) -> list[str]:
    """The subfolders of a folder, after all its other entries are removed."""
    folders = []
    with os.scandir(folder) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            else:
                os.unlink(entry.name, dir_fd=folder)
    return folders
