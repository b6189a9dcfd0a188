"""Files that no grant of a folder gives: each has to be named by itself.

`paths.txt` lists them, with the sources, and other paths that isolation treats alike.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from os.path import dirname, islink, join, lexists, realpath

from pipeguard.detect.words import Words

PATHS = Words("paths", dirname(__file__))


def sensitive_paths(home_folder: str, own_folders: Sequence[str]) -> tuple[str, ...]:
    """All paths that must be granted by name, whether they exist or not.

    Args:
        home_folder: the user's.
        own_folders: PipeGuard's own: settings, state and caches, wherever variables put them.
    """
    real = realpath(home_folder)
    homes = dict.fromkeys((home_folder, real))
    names = (*PATHS.in_order("SENSITIVE_IN_HOME"), "Library/Application Support")
    in_homes = (join(each, path) for each in homes for path in names)
    own = (path for folder in own_folders for path in (folder, realpath(folder)))
    of_system = PATHS.in_order("SENSITIVE")
    return tuple(dict.fromkeys((*in_homes, *_link_targets(real, names), *own, *of_system)))


def _link_targets(home_folder: str, names: Sequence[str]) -> Iterator[str]:
    """The targets of links, such as a folder of "dotfiles"."""
    above = {path[:end] for path in names for end in range(len(path)) if path[end] == "/"}
    moved = [each for each in above if islink(join(home_folder, each))]
    for name in names:
        path = join(home_folder, name)
        if islink(path) or is_in_any(name, moved):
            yield realpath(path)


def find_hidden(granted: str, sensitive: Sequence[str], named: Sequence[str]) -> Iterator[str]:
    """The hidden part of a granted folder: existing sensitive paths that are not named.

    Of one in which something is named, all the rest.
    """
    for path in sensitive:
        is_hidden = path != granted and is_inside(path, granted) and lexists(path)
        # What a link leads to is among the sensitive paths itself, and nothing covers a link.
        if is_hidden and realpath(path) == path:
            yield from _but(path, named)


def _but(path: str, named: Sequence[str]) -> Iterator[str]:
    """A path without the paths in it that are named."""
    if path in named:
        return
    if not any(is_inside(each, path) for each in named):
        yield path
        return
    for name in os.listdir(path):
        inner = join(path, name)
        if not islink(inner):
            yield from _but(inner, named)


def read_start(path: str, most_bytes: int) -> bytes | None:
    """The first bytes of a file; None if it is no file, or not ours to read."""
    try:
        with open(path, "rb") as file:
            return file.read(most_bytes)
    except OSError:
        return None


def find_holder(path: str, sensitive: Iterable[str]) -> str | None:
    """The sensitive path that is or contains a path."""
    return next((each for each in sensitive if is_inside(path, each)), None)


def is_inside(path: str, folder: str) -> bool:
    """True if a path is a folder or inside it; both absolute and without `..`."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def is_in_any(path: str, folders: Iterable[str]) -> bool:
    """True if a path is one of these folders or inside one."""
    return any(is_inside(path, each) for each in folders)


def overlaps(path: str, others: Iterable[str]) -> bool:
    """True if a path is, contains, or is inside one of these."""
    return any(is_inside(path, each) or is_inside(each, path) for each in others)


def is_below(path: str, folders: Iterable[str]) -> bool:
    """True if a path is inside one of these folders, and not only the folder itself."""
    return any(path != each and is_inside(path, each) for each in folders)


def folders_above(path: str, top: str = "/") -> Iterator[str]:
    """The folders that contain a path, from inside to outside, up to one of them."""
    while path != top:
        path = dirname(path)
        yield path


def outermost(paths: Collection[str]) -> list[str]:
    """The paths that are not inside another one of them, sorted."""
    return [path for path in sorted(paths) if not is_below(path, paths)]


def session_sockets(uid: int) -> Iterator[str]:
    """Sockets of the user's session, wherever they are: often in `/tmp`, which may be granted."""
    yield f"/tmp/tmux-{uid}"  # noqa: S108  never made here
    values = (os.environ.get(name, "") for name in ("SSH_AUTH_SOCK", "TMUX", "XAUTHORITY"))
    for path in (value.partition(",")[0] for value in values):
        if path.startswith("/"):
            yield path
