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
    folders_above,
    is_below,
    is_in_any,
    outermost,
    read_start,
)

GIT = ".git"
DEPTH = 10  # of folders in the one that is given
MOST_FOUND = 5000  # files and folders in it that are run later
MOST_ENTRIES = 20_000  # names that are looked at, in all of its folders
FOLDER_COST = 10  # names, in time
SHARE = 8  # one folder takes no larger part of what is left than one in so many
FEW_ENTRIES = 64  # that are looked at in any folder
LEFT_OUT = {GIT, "node_modules", ".venv", ".cache", ".tox", "__pycache__"}  # of programs
MOST_BYTES = 256 * 1024 * 1024  # of an index
_LINK = 0o160000  # the mode of a submodule
_LINK_BYTES = struct.pack(">I", _LINK)
_NAME_BITS, _EXTENDED = 0xFFF, 0x4000
_COMPRESSED = 4  # the version whose names omit common prefixes
_HASHES = (20, 32)  # bytes: SHA-1, SHA-256
_TO_MODE, _TO_HASH = 24, 40


def find_named(folder: str, names: Collection[str]) -> Iterator[str]:
    """Find files, folders and links with these names in a folder and the scanned levels below it.

    Outer ones come first. In a folder with too many entries, each name is looked up instead.

    Args:
        folder: the folder to search.
        names: of files and folders.
    """
    level = [folder]
    left = MOST_ENTRIES
    names = frozenset(names)
    for depth in range(DEPTH + 1):
        below = []
        for each in level:
            found, inner, seen = _scan_folder(each, names, left if depth < DEPTH else 0)
            yield from found
            below += inner
            left -= seen + FOLDER_COST
        level = sorted(below, key=lambda path: basename(path).startswith("."))


def list_submodules(git: str) -> Iterator[str]:
    """Submodules of a repository, recursively: `.git` in each, or its folder if it has none.

    Args:
        git: the repository's own folder or file.
    """
    waiting = [git]
    known = {git}
    while waiting and len(known) < MOST_FOUND:
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
    limit = max(most // SHARE, FEW_ENTRIES)
    entries = []
    with suppress(OSError), os.scandir(folder) as listed:  # a file, or not ours to read
        entries = [*islice(listed, limit)]
    if not 0 < len(entries) < limit:
        found = [path for name in names if lexists(path := join(folder, name))]
    else:
        found = [entry.path for entry in entries if entry.name in names]
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
    for path in islice(find_named(folder, RUN_LATER), MOST_FOUND):
        if basename(path) != GIT:
            paths.append(path)
        elif changes_git:
            paths += (join(path, name) for name in OF_GIT_SERVERS)
        else:
            paths += (path, *list_submodules(path))
    covered = _covered_paths(folder, sensitive)
    for path in dict.fromkeys(paths):
        target = realpath(path)
        is_inner = is_below(target, (folder,)) and not is_below(path, (target,))
        if lexists(target) and is_inner and not is_below(target, covered):
            yield target


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
    held = [path for path in mounted if path not in given and is_below(path, given)]
    for folder in outermost(given):
        for path in (*find_named(folder, RUN_LATER), *_home_files(folder, home_folder)):
            is_known = path in known or is_below(path, held)
            if not is_known and any(_is_new(each, since) for each in _movable(path, folder)):
                yield path


def _movable(path: str, folder: str) -> Iterator[str]:
    """A path, and the folders that it may have been moved with.

    Links, and the `.git` files of git servers, are found without a mount of their own: for these,
    a change of a folder says nothing.
    """
    yield path
    if not islink(path) and (isdir(path) or basename(path) != GIT):
        yield from [*folders_above(path, folder)][:-1]


def _is_new(path: str, since: float) -> bool:
    with suppress(OSError):
        return os.lstat(path).st_ctime >= since
    return False


def is_held_back(path: str, folder: str, home_folder: str, sensitive: Sequence[str]) -> bool:
    """True if a path in a folder must be granted by name, although the folder may be changed.

    Something that stays covered there, or that is run later and only read.
    """
    if not RUN_LATER.isdisjoint(path.removeprefix(folder).split("/")):
        return True
    later = find_run_later(folder, home_folder, sensitive, changes_git=False)
    covered = _covered_paths(folder, sensitive)
    return is_in_any(path, (*_home_files(folder, home_folder), *covered, *later))


def _home_files(folder: str, home_folder: str) -> list[str]:
    """Paths in a folder that would be a home's files to run later."""
    names = PATHS.in_order("RUN_LATER_IN_HOME") if folder == home_folder else ()
    return [join(folder, name) for name in names]


def _covered_paths(folder: str, sensitive: Sequence[str]) -> list[str]:
    """Paths that stay covered in a folder."""
    return [each for each in sensitive if is_below(each, (folder,))]


def is_of_git(path: str) -> bool:
    """True if a path is a repository's own folder or file, or inside one."""
    return GIT in path.split("/")


def holder_of_later(path: str, home_folder: str) -> str | None:
    """The file to run later that is or contains a path, whatever folder is granted."""
    for each in reversed([path, *folders_above(path)]):
        if basename(each) in RUN_LATER:
            return each
    return find_holder(path, _home_files(home_folder, home_folder))


def changed_git(write: Sequence[str], fixed: Collection[str]) -> Iterator[str]:
    """Git's own files and folders in repositories that a server may change.

    Args:
        write: paths that it may change.
        fixed: paths in these that it may only read.
    """
    for folder in write:
        found = (folder,) if is_of_git(folder) else find_named(folder, (GIT,))
        yield from (each for each in found if each not in fixed and not islink(each))
