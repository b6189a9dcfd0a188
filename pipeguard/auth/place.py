"""The place of secrets, as a person chooses; and their files, of mode 0600."""

import os
import stat
from enum import StrEnum
from pathlib import Path

from pipeguard.config.atomic_write import replace_file
from pipeguard.config.directories import read_own
from pipeguard.errors import StateError


class Place(StrEnum):
    """The place of a login's secrets, or of a secret by its name."""

    KEYRING = "keyring"
    FILE = "file"


def read_private(path: Path, limit_bytes: int, *, holds: str, advice: str) -> bytes:
    """Read a file that only its owner may read.

    Args:
        path: of the file.
        limit_bytes: of its size.
        holds: names its content.
        advice: for the case that others could read it.

    Raises:
        StateError: it cannot be read, or others may read or write it.
    """
    content = read_own(str(path), limit_bytes, StateError)
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise StateError(
            f"others may read {path}, so they may know the {holds}.\n  {advice}  chmod 600 {path}"
        )
    return content


def write_private(path: Path, content: bytes) -> None:
    """Write a file, and make its folder.

    Raises:
        StateError: it cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, content)
    except OSError as error:
        raise StateError(f"{path} cannot be written: {error.strerror}.") from None


def remove_file(path: Path) -> None:
    """Remove a file; a missing one is not an error.

    Raises:
        StateError: it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StateError(f"{path} cannot be removed: {error.strerror}.") from None
