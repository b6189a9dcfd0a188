"""The folder of what one client's guards share: there while any of them runs.

Each process that uses it holds a shared lock on it (flock(2)). A process that gets an exclusive
lock removes it: the last to leave, or, if that one was killed, the next process to enter any such
folder. Linux and macOS.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from hashlib import blake2b

from pipeguard.errors import StateError
from pipeguard.state.paths import believe, clients_folder, state_folder_text

FILE = "notes-1.db"  # another form has another name
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
TRIES = 50  # while somebody else removes it
PAUSE_SECONDS = 0.002


def client_folder(client: str) -> str:
    """The path of a client's folder, in a folder that is created if it is missing.

    Raises:
        OSError: it cannot be created.
        StateError: another user may write to it.
    """
    folder = clients_folder()
    os.makedirs(folder, mode=0o700, exist_ok=True)
    believe(folder, os.lstat(folder))
    name = f"{state_folder_text()}\0{client}".encode()
    return os.path.join(folder, blake2b(name, digest_size=16).hexdigest())


def enter(path: str) -> int:
    """Create a folder if it is missing, and use it together with others.

    Returns:
        Its descriptor, to be given to `leave`.

    Raises:
        OSError: it cannot be used, or is a link.
        StateError: another user could have written it.
    """
    for _ in range(TRIES):
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)
        with suppress(FileNotFoundError, BlockingIOError):
            folder = os.open(path, _FOLDER)
            if _joins(path, folder):
                return folder
        time.sleep(PAUSE_SECONDS)
    raise StateError(f"{path} is locked.")


def _joins(path: str, folder: int) -> bool:
    """True if a folder is locked together with others, and still at its path; else it is closed."""
    from fcntl import LOCK_NB, LOCK_SH, flock

    is_joined = False
    try:
        status = os.fstat(folder)
        believe(path, status)
        flock(folder, LOCK_SH | LOCK_NB)
        is_joined = os.path.samestat(os.stat(path), status)
    finally:
        if not is_joined:
            os.close(folder)
    return is_joined


def leave(path: str, folder: int) -> None:
    """Use a folder no more; the last one removes it."""
    from fcntl import LOCK_EX, LOCK_NB, flock

    with suppress(OSError):  # others use it, and this process has given up its lock
        flock(folder, LOCK_EX | LOCK_NB)
        if os.path.samestat(os.lstat(path), os.fstat(folder)):  # nobody can replace it now
            for name in [name for name in os.listdir(folder) if name.startswith(FILE)]:
                os.unlink(name, dir_fd=folder)
            os.rmdir(path)
    os.close(folder)


def remove_abandoned(above: str) -> None:
    """Remove the folders that no process uses, because the last one was killed."""
    for name in os.listdir(above):
        path = os.path.join(above, name)
        if len(name) == 32:
            with suppress(OSError):
                leave(path, os.open(path, _FOLDER))
