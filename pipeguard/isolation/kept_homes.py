"""A server's kept home, and the mount points in it.

Mount points are made from outside without following links. The engine would follow a link that the
server left at its last run, and make folders and files wherever that leads.
"""

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from os.path import dirname, isdir, join

from pipeguard.isolation.view import Mount

IDENTITY_DIGITS = 24
NAME_FILE = "server"  # next to a home: its owner
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def make_places(kept_home: str, seen_at: str, mounts: Iterable[Mount]) -> None:
    """Remove links on the way to mount points in a home.

    Args:
        kept_home: the folder that is the home.
        seen_at: its path as the server sees it.
        mounts: all of them.

    Raises:
        OSError: a mount point cannot be made.
    """
    for mount in mounts:
        if mount.path.startswith(seen_at + "/"):
            *above, last = mount.path[len(seen_at) + 1 :].split("/")
            folder = os.open(kept_home, _FOLDER)
            for name in above:
                folder = _enter_folder(folder, name)
            _clear(folder, last, is_for_folder=isdir(mount.source or mount.path))
            os.close(folder)


def _enter_folder(folder: int, name: str) -> int:
    """Open a subfolder, made if there is none, and close the folder that it is in."""
    try:
        _clear(folder, name, is_for_folder=True)
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=folder)
        return os.open(name, _FOLDER, dir_fd=folder)
    finally:
        os.close(folder)


def _clear(folder: int, name: str, *, is_for_folder: bool) -> None:
    """Remove an entry that cannot be a mount point; keep others, which another run may use."""
    with suppress(FileNotFoundError):
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode) or (is_for_folder and not stat.S_ISDIR(mode)):
            os.unlink(name, dir_fd=folder)


def home_path(folder: str, identity: str) -> str:
    """The folder that is a server's home if that is kept; it need not exist.

    Args:
        folder: the folder of kept homes.
        identity: of the server, whose name is its first line.
    """
    from hashlib import sha256

    digest = sha256(identity.encode()).hexdigest()[:IDENTITY_DIGITS]
    return join(folder, digest, "home")


def make_home(folder: str, identity: str) -> str:
    """Make the folder that is a server's home, unless it exists, and return it."""
    home = home_path(folder, identity)
    os.makedirs(home, mode=0o700, exist_ok=True)
    with open(join(dirname(home), NAME_FILE), "w", encoding="utf-8") as file:
        file.write(identity.partition("\n")[0])
    return home
