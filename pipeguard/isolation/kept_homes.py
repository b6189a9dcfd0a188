"""A server's home: the places where something is mounted in a kept one, the files of one in memory.

Places are made from outside without following links. What makes the sandbox would follow a link
that the server put there at its last run, and make folders and files wherever that leads.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from pipeguard.isolation.sensitive import is_inside
from pipeguard.isolation.view import Mount, MountKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pipeguard.isolation.shipped import ShippedProfile
    from pipeguard.isolation.view import FileView

IDENTITY_DIGITS = 24
MOST_LOST = 3  # files of one run that are told
MOST_NAMES = 2000  # that are looked at for them
CACHES = frozenset({".cache", ".npm", "__pycache__", "node_modules"})
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def find_lost(engine: int, view: FileView) -> list[str]:
    """Find files that a server made in a home in memory, and that end with it.

    Args:
        engine: the process of bwrap, whose child has the server's root folder.
        view: the files that the server sees.
    """
    if Mount(MountKind.EMPTY, view.home) not in view.mounts:
        return []
    children = b""
    with suppress(OSError), open(f"/proc/{engine}/task/{engine}/children", "rb") as file:
        children = file.read()
    roots = (f"/proc/{child.decode()}/root" for child in children.split())
    found = [path for root in roots if _is_sandbox(root) for path in _files_in_memory(root, view)]
    return sorted(found, key=lambda path: "/." in path)[:MOST_LOST]  # settings last


def _is_sandbox(root: str) -> bool:
    """True if it is not this machine's root folder, which the process has that mounts later."""
    with suppress(OSError):
        return os.stat(root).st_dev != os.stat("/").st_dev
    return False


def _files_in_memory(root: str, view: FileView) -> Iterator[str]:
    """Files of a home that are neither mounted nor a cache."""
    known = {mount.path for mount in view.mounts if mount.kind is not MountKind.FOLDER}
    waiting, left = [view.home], MOST_NAMES
    while waiting and left > 0:
        entries = _entries(root + waiting.pop(0), left)
        left -= len(entries)
        for entry in entries:
            path = entry.path.removeprefix(root)
            if path in known or entry.name in CACHES:
                continue
            if entry.is_file(follow_symlinks=False):
                yield path
            elif entry.is_dir(follow_symlinks=False):
                waiting.append(path)


def _entries(folder: str, most: int) -> list[os.DirEntry[str]]:
    """The first entries of a folder; none of one that is not ours to read, or has gone."""
    with suppress(OSError), os.scandir(folder) as listed:
        return [*islice(listed, most)]
    return []


def make_places(kept_home: str, seen_at: str, mounts: Iterable[Mount]) -> None:
    """Remove links on the way to what is mounted in a home.

    Args:
        kept_home: the folder that is the home.
        seen_at: where the server sees it.
        mounts: all of them.

    Raises:
        OSError: a place cannot be made.
    """
    for mount in mounts:
        if mount.path.startswith(seen_at + "/"):
            *above, last = mount.path[len(seen_at) + 1 :].split("/")
            folder = os.open(kept_home, _FOLDER)
            for name in above:
                folder = _enter_folder(folder, name)
            _clear(folder, last, is_for_folder=os.path.isdir(mount.source or mount.path))
            os.close(folder)


def _enter_folder(folder: int, name: str) -> int:
    """The folder of a name in a folder, which is closed; made where there is none."""
    try:
        _clear(folder, name, is_for_folder=True)
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=folder)
        return os.open(name, _FOLDER, dir_fd=folder)
    finally:
        os.close(folder)


def _clear(folder: int, name: str, *, is_for_folder: bool) -> None:
    """Remove what would not be mounted on; what is, as in another run of the server, stays."""
    with suppress(FileNotFoundError):
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode) or (is_for_folder and not stat.S_ISDIR(mode)):
            os.unlink(name, dir_fd=folder)


def home_path(folder: Path, identity: str) -> Path:
    """The folder that is a server's home where that is kept, whether it is there or not.

    Args:
        folder: where kept homes are.
        identity: of the server, whose name is its first line.
    """
    from hashlib import sha256

    return folder / sha256(identity.encode()).hexdigest()[:IDENTITY_DIGITS] / "home"


def make_home(folder: Path, identity: str, name_file: str) -> str:
    """The folder that is a server's home, made if it is not there.

    Args:
        folder: where kept homes are.
        identity: of the server, whose name is its first line.
        name_file: beside the home: whose it is.
    """
    home = home_path(folder, identity)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    (home.parent / name_file).write_text(identity.partition("\n")[0], "utf-8")
    return str(home)


def old_home_warning(
    shipped: ShippedProfile,
    variables: Mapping[str, str],
    home_folder: str,
    given: Sequence[str] = (),
) -> str:
    """The warning before the first isolated start; empty where nothing is left behind.

    Args:
        shipped: the server's profile.
        variables: of the server's entry, or of its environment.
        home_folder: of the user.
        given: paths that it may change.
    """
    if not shipped.keeps_home:
        return ""
    said = "Its home starts empty: what it stored until now stays where it is"
    path = next(filter(None, (variables.get(name) for name, _ in shipped.variables)), "")
    if path:
        path = os.path.join(home_folder, path)
        folder = os.path.dirname(path)
        if any(is_inside(os.path.realpath(folder), each) for each in given):
            return ""
        said = "It begins empty: what it stored until now stays where it is"
        if _has_nothing_else(folder, path, home_folder):
            return f"{said}, in {path}. To go on with that: --write {folder}"
    path = path or _newest(shipped.kept_before, home_folder)
    if not path:
        return f"{said}."
    name, folder = shipped.variables[0][0], os.path.join(home_folder, "kept")
    return (
        f"{said}, in {path}. To go on with that, copy it into a folder, as {folder}, give it that"
        f" folder, --write {folder}, and set {name}={os.path.join(folder, os.path.basename(path))}"
        " in its entry."
    )


def _has_nothing_else(folder: str, path: str, home_folder: str) -> bool:
    """True if a folder may be given as a whole for the sake of one file."""
    if is_inside(os.path.realpath(home_folder), os.path.realpath(folder)):
        return False
    try:
        return all(name.startswith(os.path.basename(path)) for name in os.listdir(folder))
    except OSError:
        return True  # none is there yet


def _newest(patterns: Sequence[str], home_folder: str) -> str:
    import glob

    found = []
    for pattern in patterns:
        for path in glob.glob(glob.escape(home_folder) + pattern.removeprefix("~")):
            try:
                found.append((os.path.getmtime(path), path))
            except OSError:
                continue  # it was removed meanwhile
    return max(found)[1] if found else ""
