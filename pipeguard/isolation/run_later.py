"""Files in writable folders that programs outside the sandbox run later: mounted read-only.

Git runs the programs that its settings, hooks and index lead to, whoever wrote them (git-config(1),
`core.fsmonitor`); editors, clients and shells run the commands in their own files.
"""

import os
import struct
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from os.path import abspath, basename, dirname, isdir, islink, join, lexists, realpath

from pipeguard.isolation.sensitive import (
    PATHS,
    find_holder,
    is_below,
    is_in_any,
    is_inside,
    outermost,
    read_start,
)

GIT = ".git"
DEPTH = 6  # of folders in the one that is given
MOST_ENTRIES = 5000  # names in all of them, and folders, that are looked at
FEW_ENTRIES = 64  # that are looked at in any folder
LEFT_OUT = {GIT, "node_modules", ".venv", ".cache", ".tox", "__pycache__"}  # of programs
MOST_BYTES = 256 * 1024 * 1024  # of an index
_LINK = 0o160000  # the mode of a submodule
_LINK_BYTES = struct.pack(">I", _LINK)
_NAME_BITS, _EXTENDED = 0xFFF, 0x4000
_COMPRESSED = 4  # the version whose names omit common prefixes
_HASHES = (20, 32)  # bytes: SHA-1, SHA-256
_TO_MODE, _TO_HASH = 24, 40


def find_named(folder: str, names: Collection[str], *, with_links: bool = False) -> Iterator[str]:
    """Find files and folders with these names in a folder and in the scanned levels below it.

    Outer ones come first. In a folder with too many entries, each name is looked up instead.

    Args:
        folder: the folder to search.
        names: of files and folders.
        with_links: True to find links, too.
    """
    level = [folder]
    left = MOST_ENTRIES
    names = frozenset(names)
    for depth in range(DEPTH + 1):
        below = []
        for each in level:
            found, inner, seen = _scan_folder(each, names, left if depth < DEPTH else 0)
            yield from (path for path in found if with_links or not islink(path))
            below += inner
            left -= seen + 1
        level = sorted(below, key=lambda path: basename(path).startswith("."))


def list_submodules(git: str) -> Iterator[str]:
    """Submodules of a repository, recursively: `.git` in each, or its folder if it has none.

    Args:
        git: the repository's own folder or file.
    """
    waiting = [git]
    known = {git}
    while waiting and len(known) < MOST_ENTRIES:
        each = waiting.pop()
        top = dirname(each)
        for name in _index_submodules(_own_folder(each)):
            folder = join(top, name)
            inner = join(folder, GIT)
            if inner in known or not isdir(folder) or realpath(folder) != folder:
                continue
            known.add(inner)
            if lexists(inner):
                waiting.append(inner)
                yield inner
            else:
                yield folder


def _scan_folder(
    folder: str, names: Collection[str], most: int
) -> tuple[list[str], list[str], int]:
    """The members of a folder with these names, the subfolders to scan next, and their number."""
    limit = max(most, FEW_ENTRIES)
    entries = None
    with suppress(OSError), os.scandir(folder) as listed:  # a file, or not ours to read
        entries = [*islice(listed, limit)]
    if entries is None or len(entries) == limit:
        found = [path for name in names if lexists(path := join(folder, name))]
    else:
        found = [entry.path for entry in entries if entry.name in names]
    entries = entries or []
    searched = (entry for entry in entries if most > 0 and entry.name not in LEFT_OUT)
    inner = [entry.path for entry in searched if entry.is_dir(follow_symlinks=False)]
    return found, inner, len(entries)


def _own_folder(git: str) -> str:
    """The folder of a repository; a `.git` file names it (gitrepository-layout(5))."""
    if isdir(git):
        return git
    data = read_start(git, 4096 + len("gitdir: "))
    if data is None or b"\0" in data:
        return git
    named = os.fsdecode(data).removeprefix("gitdir: ").rstrip("\r\n")
    return abspath(join(dirname(git), named))


def _index_submodules(own_folder: str) -> Iterator[str]:
    """The paths of submodules in an index, or in the shared index that it refers to."""
    try:
        names = os.listdir(own_folder)
    except OSError:
        return
    for name in names:
        if name == "index" or name.startswith("sharedindex."):
            yield from _read_links(join(own_folder, name))


def _read_links(path: str) -> Sequence[str]:
    data = read_start(path, MOST_BYTES)
    if not data or _LINK_BYTES not in data:
        return ()  # of nearly all: no entry has to be read
    for size in _HASHES:
        try:
            entries = list(_entries(data, size))
        except (ValueError, struct.error):
            continue  # of another kind of hash
        return [os.fsdecode(name) for mode, name in entries if mode == _LINK and name]
    return ()


def _entries(data: bytes, size: int) -> Iterator[tuple[int, bytes]]:
    """The modes and names in an index.

    Raises:
        ValueError: its hashes have another size, or it is not an index.
        struct.error: the same.
    """
    version, count = struct.unpack_from(">II", data, 4)
    place = 12
    name = b""
    for _ in range(count):
        (mode,) = struct.unpack_from(">I", data, place + _TO_MODE)
        (flags,) = struct.unpack_from(">H", data, place + _TO_HASH + size)
        start = place + _TO_HASH + size + (4 if flags & _EXTENDED else 2)
        if version == _COMPRESSED:
            dropped, start = _number(data, start)
            end = data.index(0, start)
            name = name[: len(name) - dropped] + data[start:end]
            place = end + 1
        else:
            end = data.index(0, start)
            name = data[start:end]
            place += (end - place + 8) & ~7
        if flags & _NAME_BITS != min(len(name), _NAME_BITS):
            raise ValueError
        yield mode, name


def _number(data: bytes, place: int) -> tuple[int, int]:
    """A variable-length number (gitformat-pack(5), offset encoding), and the position after it."""
    value = data[place : place + 1]
    number = int.from_bytes(value, "big")
    total = number & 0x7F
    while number & 0x80:
        place += 1
        number = int.from_bytes(data[place : place + 1], "big")
        total = ((total + 1) << 7) | (number & 0x7F)
    return total, place + 1


RUN_LATER = PATHS.RUN_LATER
OF_GIT_SERVERS = ("hooks", "config")  # of `.git`, that a server of git itself only reads


def find_run_later(
    folder: str, home_folder: str, sensitive: Sequence[str], *, changes_git: bool
) -> Iterator[str]:
    """Find files that are run later in a folder and below it.

    Args:
        folder: a folder that a server may change.
        home_folder: the user's home.
        sensitive: paths that stay covered and are not searched.
        changes_git: True if the server may change repositories except for hooks and settings.
    """
    if is_of_git(folder):
        return  # named by hand
    paths = _home_files(folder, home_folder)
    for path in islice(find_named(folder, RUN_LATER), MOST_ENTRIES):
        if basename(path) != GIT:
            paths.append(path)
        elif changes_git:
            paths += (join(path, name) for name in OF_GIT_SERVERS)
        else:
            paths += (path, *list_submodules(path))
    covered = _covered_paths(folder, sensitive)
    for path in dict.fromkeys(paths):
        is_there = lexists(path) and realpath(path) == path
        if is_there and not is_below(path, covered):
            yield path


def find_made(
    given: Collection[str], mounted: Collection[str], home_folder: str, since: float
) -> Iterator[str]:
    """Find files that are run later and that appeared while a server could change the folders.

    Args:
        given: the folders.
        mounted: paths with a mount of their own, which existed when the server started.
        home_folder: the user's home.
        since: the server's start, in seconds since 1970. Programs cannot set the time of a file's
            last change or move (`st_ctime`, inode(7)).
    """
    known = {each for path in mounted for each in (path, dirname(path))}
    for folder in outermost(given):
        found = find_named(folder, RUN_LATER, with_links=True)
        paths = (*islice(found, MOST_ENTRIES), *_home_files(folder, home_folder))
        yield from (path for path in paths if path not in known and _is_new(path, since))


def _is_new(path: str, since: float) -> bool:
    with suppress(OSError):
        return os.lstat(path).st_ctime >= since
    return False


def is_held_back(path: str, folder: str, home_folder: str, sensitive: Sequence[str]) -> bool:
    """True if a path must be granted by name, although its folder may be changed.

    Something that stays covered there, or that is run later and only read.
    """
    later = _home_files(folder, home_folder)
    covered = _covered_paths(folder, sensitive)
    names = path[len(folder) :].split("/") if is_inside(path, folder) else ()
    is_later = any(name in RUN_LATER for name in names)
    return is_later or is_in_any(path, (*later, *covered))


def _home_files(folder: str, home_folder: str) -> list[str]:
    """Paths in a folder that would be a home's files to run later."""
    names = PATHS.in_order("RUN_LATER_IN_HOME") if folder == home_folder else ()
    return [join(folder, name) for name in names]


def _covered_paths(folder: str, sensitive: Sequence[str]) -> list[str]:
    """Paths that stay covered in a folder."""
    return [each for each in sensitive if each != folder and is_inside(each, folder)]


def is_of_git(path: str) -> bool:
    """True if a path is a repository's own folder or file, or inside one."""
    return GIT in path.split("/")


def holder_of_later(path: str, home_folder: str) -> str | None:
    """The file to run later that is or contains a path, whatever folder is granted."""
    parts = path.split("/")
    for count, name in enumerate(parts, 1):
        if name in RUN_LATER:
            return "/".join(parts[:count])
    return find_holder(path, _home_files(home_folder, home_folder))


def changed_git(write: Sequence[str], fixed: Collection[str]) -> Iterator[str]:
    """Git's own files and folders in repositories that a server may change.

    Args:
        write: paths that it may change.
        fixed: paths in these that it may only read.
    """
    for folder in write:
        found = (folder,) if is_of_git(folder) else find_named(folder, (GIT,))
        yield from (each for each in found if each not in fixed)
