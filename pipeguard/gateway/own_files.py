"""Reads files that say what to start: only those that nobody else could have written."""

from __future__ import annotations

from pathlib import Path

from pipeguard.config.directories import closing_command, other_writer, read_own
from pipeguard.errors import InputError, PolicyError

MOST_BYTES = 1024 * 1024


def read_own_text(path: str) -> str:
    """The text of a file that says what to start.

    Raises:
        InputError: there is no such file.
        PolicyError: others could have written it, it is too large, no regular file, or no text.
    """
    if not Path(path).exists():
        raise InputError(f"{path}: there is no such file.")
    try:
        return read_own(path, MOST_BYTES, PolicyError).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise PolicyError(f"{path}: it is not in UTF-8.") from None


def check_own(path: Path) -> None:
    """Refuse a file or folder that others could have written, and that says what to start.

    Raises:
        InputError: there is no such file or folder.
        PolicyError: others could have written it.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}.") from None
    if who := other_writer(status):
        raise PolicyError(
            f"{who} may write to {path}, which says what to start.\n"
            f"  Close it:  {closing_command(str(path), status)}"
        )
