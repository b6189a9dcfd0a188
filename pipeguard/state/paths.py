"""Where what is kept lies on this system; knows folders and their rights, not what is in them."""

# pathlib costs 5 ms, and a server is waiting
# ruff: noqa: PTH103, PTH111, PTH116, PTH118
from __future__ import annotations

import os

from pipeguard.config.directories import closing_command, other_writer, usual_state_folder
from pipeguard.errors import StateError

TYPE_CHECKING = False  # as typing.TYPE_CHECKING
if TYPE_CHECKING:
    from pathlib import Path

STATE_DIR_VARIABLE = "PIPEGUARD_STATE_DIR"
STORE_NAME = "pipeguard.db"
_OWNER_ONLY = 0o700  # XDG base directory specification, on files that are private to a user


def state_folder() -> Path:
    """The folder of pins and audit, made where it does not exist yet.

    `PIPEGUARD_STATE_DIR` names another one than the system's own.

    Raises:
        StateError: it cannot be made, or somebody else may write to it.
    """
    from pathlib import Path

    return Path(_folder())


def store_path() -> Path:
    """The file of pins and audit; it need not exist yet."""
    return state_folder() / STORE_NAME


def store_file() -> str:
    """The same for whoever is in a hurry.

    Raises:
        StateError: as `state_folder`.
    """
    return os.path.join(_folder(), STORE_NAME)


def existing_store() -> Path | None:
    """The store where there is one; makes nothing, and asks nothing of its rights."""
    from pathlib import Path

    override = os.environ.get(STATE_DIR_VARIABLE)
    folder = os.path.expanduser(override) if override else usual_state_folder()
    path = Path(folder) / STORE_NAME
    return path if path.is_file() else None


def _folder() -> str:
    override = os.environ.get(STATE_DIR_VARIABLE)
    folder = os.path.expanduser(override) if override else usual_state_folder()
    try:
        os.makedirs(folder, mode=_OWNER_ONLY, exist_ok=True)
        status = os.stat(folder)
    except OSError as error:
        raise StateError(
            f"the state folder {folder} cannot be used: {error.strerror}.\n"
            f"  Mend its rights, or name another folder in {STATE_DIR_VARIABLE}."
        ) from error
    believe(folder, status)
    return folder


def believe(path: Path | str, status: os.stat_result) -> None:
    """Refuse a folder or a file that somebody else could have written.

    Args:
        path: where it stands.
        status: of it.

    Raises:
        StateError: it is another user's, and not root's; or a group or everybody may write it.
    """
    if who := other_writer(status):
        raise StateError(
            f"{who} may write to {path}, so its pins prove nothing. {STATE_DIR_VARIABLE} may name"
            f" another folder.\n  Close it:  {closing_command(str(path), status)}"
        )
