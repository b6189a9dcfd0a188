"""Files replaced as a whole: a reader sees the old content or the new, never a part.

The draft is next to the file, so that the move stays within one file system; a failure removes it.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OWNER_ONLY = 0o600
FREE_SPACE = "The disk is full: free some space, then try again."
_TRIES = 4  # on Windows a file that is open for reading cannot be replaced
_PAUSE_SECONDS = 0.05


def is_full(error: OSError) -> bool:
    """True if a disk, or the user's part of it, has no room."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def replace_file(path: Path | str, content: bytes, mode: int = OWNER_ONLY) -> None:
    """Replace a file, or create it, with these permissions.

    Raises:
        OSError: it could not be written; a file that was there is unchanged.
    """
    with write_draft(path, content) as draft:
        os.chmod(draft, mode)


def open_file(path: Path | str) -> int:
    """Open a file for reading and writing, without waiting; only its owner may open a new one.

    Raises:
        OSError: it cannot be used, or is a link.
    """
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    return os.open(path, flags | os.O_CREAT, OWNER_ONLY)


def lock_file(descriptor: int, *, waits: bool = True) -> None:
    """Lock a file for as long as it is open.

    Raises:
        OSError: another process has locked it.
    """
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_LOCK if waits else msvcrt.LK_NBLCK, 1)
    else:
        from fcntl import LOCK_EX, LOCK_NB, flock

        flock(descriptor, LOCK_EX | (0 if waits else LOCK_NB))


def flush_folder(folder: Path) -> None:
    """Flush a folder, so that the disk has the names of new files."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system that cannot sync folders
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def write_draft(path: Path | str, content: bytes) -> Iterator[str]:
    """Write a draft next to a file, readable only by its owner, and move it there at the end.

    Yields:
        The draft's path, for work and checks before the move; an exception leaves the file as it
        was.

    Raises:
        OSError: it could not be written or moved.
    """
    folder, name = os.path.split(path)
    draft = os.path.join(folder, f".{name}.{os.urandom(4).hex()}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(draft, flags, OWNER_ONLY)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            yield draft
            os.fsync(file.fileno())
        _move(draft, os.fspath(path))
    except BaseException:
        with suppress(OSError):
            os.unlink(draft)
        raise


def _move(draft: str, path: str) -> None:
    """Put the draft in the file's place; on Windows this needs a moment without readers."""
    for _ in range(_TRIES - 1 if sys.platform == "win32" else 0):
        try:
            os.replace(draft, path)
        except PermissionError:
            from time import sleep

            sleep(_PAUSE_SECONDS)
        else:
            return
    os.replace(draft, path)
