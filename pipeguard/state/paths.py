"""Where what is kept lies on this system; knows folders and their rights, not what is in them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pipeguard.errors import StateError

STATE_DIR_VARIABLE = "PIPEGUARD_STATE_DIR"
STORE_NAME = "pipeguard.db"
_OWNER_ONLY = 0o700  # XDG base directory specification, on files that are private to a user


def state_folder() -> Path:
    """The folder of pins and audit, made where it does not exist yet.

    `PIPEGUARD_STATE_DIR` names another one than the system's own.

    Raises:
        StateError: it cannot be made, or everybody may write to it.
    """
    override = os.environ.get(STATE_DIR_VARIABLE)
    if override:
        folder = Path(override).expanduser()
    else:
        from platformdirs import user_state_dir  # 15 ms

        folder = Path(user_state_dir("pipeguard", appauthor=False))
    try:
        folder.mkdir(mode=_OWNER_ONLY, parents=True, exist_ok=True)
        mode = folder.stat().st_mode
    except OSError as error:
        raise StateError(
            f"the state folder {folder} cannot be used: {error.strerror}.\n"
            f"  Mend its rights, or name another folder in {STATE_DIR_VARIABLE}."
        ) from error
    if os.name == "posix" and mode & stat.S_IWOTH:
        raise StateError(
            f"everybody may write to the state folder {folder}, so its pins prove nothing.\n"
            f"  Close it:  chmod go-w {folder}"
        )
    return folder


def store_path() -> Path:
    """The file of pins and audit; it need not exist yet."""
    return state_folder() / STORE_NAME
