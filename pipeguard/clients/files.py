"""Writes clients' files without loss: all or nothing, with their owner and permissions.

Knows folders, permissions and links, but not the content of a file.
"""

# Path.resolve would follow links that matter.
import hashlib
import os
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeguard.clients.machine import Machine, repository
from pipeguard.config.atomic_write import flush_folder, write_draft
from pipeguard.errors import PipeGuardError

_OWNER_MAY_WRITE = stat.S_IWUSR
LOCK_SECONDS = 5.0  # how long to wait for another program
STALE_LOCK_SECONDS = 10.0  # Cline's own limit, after which it removes a lock
_PAUSE_SECONDS = 0.05


class FileError(PipeGuardError):
    """A file that cannot or must not be written; the message says why."""


def target(path: Path, machine: Machine) -> Path:
    """Resolve a path to the file to replace: a link stays a link.

    Raises:
        FileError: it leads out of the home folder or project, or cannot be written.
    """
    plain = Path(os.path.abspath(path))
    real = Path(os.path.realpath(path))
    project = machine.project and (repository(machine.project) or machine.project)
    # A project's file must stay in its project: a link in a repository may lead anywhere.
    bases = (base for base in (project, machine.home) if base and base in plain.parents)
    base = next(bases, None)
    if base and Path(os.path.realpath(base)) not in real.parents:
        raise FileError(f"it is a link to {real}, out of {base}.")
    if base is None and plain.is_symlink():
        raise FileError(f"it is a link to {real}, and neither in your home folder nor project.")
    try:
        status = real.stat()
        folder = real.parent.stat()
    except OSError as error:
        raise FileError(f"it cannot be read: {error.strerror}.") from None
    if not stat.S_ISREG(status.st_mode):
        raise FileError("it is not a regular file.")
    if not status.st_mode & _OWNER_MAY_WRITE or not os.access(real, os.W_OK):
        raise FileError("it is write-protected.")
    if not folder.st_mode & _OWNER_MAY_WRITE or not os.access(real.parent, os.W_OK):
        raise FileError("its folder is write-protected.")
    return real


def replace(real: Path, content: bytes, expected_sha256: str) -> None:
    """Replace a file's content atomically; permissions and owner stay.

    Args:
        real: the file itself, not a link (`target`).
        content: the new content.
        expected_sha256: the hash of the present content.

    Raises:
        FileError: the file has changed, or cannot be written. Nothing was changed.
    """
    try:
        status = real.stat()
        with write_draft(real, content) as draft:
            _like(draft, status)
            if sha256(real) != expected_sha256:
                raise FileError("it changed in the meantime; nothing was written. Run it again.")
    except OSError as error:
        raise FileError(f"it cannot be written: {error.strerror}.") from None
    flush_folder(real.parent)
    if sha256(real) != hashlib.sha256(content).hexdigest():
        raise FileError("another program wrote it at the same moment: close the client, run again.")


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal; empty if there is no file."""
    with suppress(FileNotFoundError):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return ""


@contextmanager
def lock_client(real: Path, ending: str) -> Iterator[None]:
    """Take the client's own lock, a folder next to its file, if it has one.

    Raises:
        FileError: another program holds it.
    """
    if not ending:
        yield
        return
    lock = real.with_name(real.name + ending)
    limit = time.monotonic() + LOCK_SECONDS
    while not _make_lock(lock):
        if time.monotonic() > limit:
            raise FileError(f"its client is writing it ({lock.name}): close it, run again.")
        time.sleep(_PAUSE_SECONDS)
    try:
        yield
    finally:
        with suppress(OSError):
            lock.rmdir()


def _make_lock(lock: Path) -> bool:
    """Make the folder, replacing a stale one; return False if another program holds the lock.

    Raises:
        FileError: it cannot be made.
    """
    with suppress(OSError):
        if time.time() - lock.stat().st_mtime > STALE_LOCK_SECONDS:
            shutil.rmtree(lock, ignore_errors=True)
    try:
        lock.mkdir()
    except FileExistsError:
        return False
    except OSError as error:
        raise FileError(f"it cannot be locked: {error.strerror}.") from None
    return True


def _like(draft: str, status: os.stat_result) -> None:
    """Give a draft the permissions and the owner of the file that it replaces."""
    if sys.platform != "win32":
        made = Path(draft).stat()
        if (made.st_uid, made.st_gid) != (status.st_uid, status.st_gid):
            os.chown(draft, status.st_uid, status.st_gid)
    Path(draft).chmod(stat.S_IMODE(status.st_mode))
