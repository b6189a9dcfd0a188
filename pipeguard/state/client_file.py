"""The file that one client's guards share: there while any of them runs.

Each process that uses it holds a shared lock on it (flock(2)). A process that gets an exclusive
lock removes it: the last to leave, or, if that one was killed, the next process to enter any such
file. Linux and macOS.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from hashlib import blake2b

from pipeguard.config.atomic_write import lock_file, open_file
from pipeguard.errors import StateError
from pipeguard.state.paths import believe, clients_folder, state_folder_text

SUFFIX = ".notes-2"  # another form has another name
# Suffix of the file that whoever reads or writes locks. It is opened only after `enter`.
GATE = ".lock"
TRIES = 50  # while somebody else removes it
PAUSE_SECONDS = 0.002


def client_path(client: str) -> str:
    """The path of a client's file, in a folder that is created if it is missing.

    Raises:
        OSError: the folder cannot be created.
        StateError: another user may write to the folder.
    """
    folder = clients_folder()
    os.makedirs(folder, mode=0o700, exist_ok=True)
    believe(folder, os.lstat(folder))
    name = f"{state_folder_text()}\0{client}".encode()
    return os.path.join(folder, blake2b(name, digest_size=16).hexdigest() + SUFFIX)


def enter(path: str) -> int:
    """Create a file if it is missing, and use it together with others.

    Returns:
        Its descriptor, to be given to `leave`.

    Raises:
        OSError: it cannot be used, or is a link.
        StateError: another process keeps it for itself.
    """
    from fcntl import LOCK_NB, LOCK_SH, flock

    for _ in range(TRIES):
        file = open_file(path)
        with suppress(FileNotFoundError, BlockingIOError):
            flock(file, LOCK_SH | LOCK_NB)
            if os.path.samestat(os.stat(path), os.fstat(file)):
                return file
        os.close(file)
        time.sleep(PAUSE_SECONDS)
    raise StateError(f"{path} is locked.")


def leave(path: str, file: int) -> None:
    """Use a file no more; the last one removes it."""
    with suppress(OSError):  # others use it, and this process has given up its lock
        lock_file(file, waits=False)
        if os.path.samestat(os.lstat(path), os.fstat(file)):  # nobody can replace it now
            with suppress(FileNotFoundError):
                os.unlink(path + GATE)  # first, so that nobody who enters has opened it
            os.unlink(path)
    os.close(file)


def must_leave_room(file: int) -> None:
    """Keep half of a process's descriptors for its connections.

    Raises:
        StateError: this one is of that half.
    """
    import resource

    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 < most < 2 * file:
        raise StateError(f"{file} files are open, of {most}.")


def remove_abandoned(folder: str) -> None:
    """Remove the files that no process uses, because the last one was killed."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if name.endswith(SUFFIX):
            with suppress(OSError):
                leave(path, open_file(path))
