"""Paths of pins and audit on this system; knows folders and permissions, not contents."""

from __future__ import annotations

import os
import sys
from itertools import chain
from typing import TYPE_CHECKING

from pipeguard.config.atomic_write import FREE_SPACE, is_full
from pipeguard.config.directories import (
    cache_folder,
    closing_command,
    config_folder,
    other_writer,
    usual_state_folder,
)
from pipeguard.errors import StateError
from pipeguard.state.shared import list_secret_files, shared_address

if TYPE_CHECKING:
    from pathlib import Path

    from pipeguard.config.options import WrapOptions

STATE_DIR_VARIABLE = "PIPEGUARD_STATE_DIR"
STORE_NAME = "pipeguard.db"
OUTBOX_NAME = "outbox.db"  # of a replica's rows of the audit, until they are sent
DEMO_STORE_NAME = "demo.db"  # of the last demonstration, for `pipeguard explain`
_OWNER_ONLY = 0o700  # XDG base directory specification, on files that are private to a user


def state_folder() -> Path:
    """The folder of pins and audit, created if it is missing.

    `PIPEGUARD_STATE_DIR` overrides the system's usual one.

    Raises:
        StateError: it cannot be created, or another user may write to it.
    """
    from pathlib import Path

    return Path(state_folder_text())


def existing_state_folder() -> Path | None:
    """The folder of pins and audit if it exists; creates nothing.

    Raises:
        StateError: another user may write to it.
    """
    from pathlib import Path

    folder = Path(_folder_path())
    if not folder.is_dir():
        return None
    believe(folder, folder.stat())
    return folder


def store_path() -> Path:
    """The file of pins and audit; it need not exist yet."""
    return state_folder() / STORE_NAME


def state_folder_text() -> str:
    """The path as text, for the start of a server.

    Raises:
        StateError: as `state_folder`.
    """
    folder = _folder_path()
    try:
        os.makedirs(folder, mode=_OWNER_ONLY, exist_ok=True)
        status = os.stat(folder)
    except OSError as error:
        advice = FREE_SPACE if is_full(error) else "Fix its permissions."
        raise StateError(
            f"the state folder {folder} cannot be used: {error.strerror}.\n"
            f"  {advice} Or name another folder in {STATE_DIR_VARIABLE}."
        ) from error
    believe(folder, status)
    return folder


def store_file() -> str:
    """The file of pins and audit, as text.

    Raises:
        StateError: as `state_folder`.
    """
    return os.path.join(state_folder_text(), STORE_NAME)


def outbox_file() -> str:
    """The file of a replica's rows of the audit, until they are sent.

    Raises:
        StateError: as `state_folder`.
    """
    return os.path.join(state_folder_text(), OUTBOX_NAME)


def clients_folder() -> str:
    """The folder of what the guards of one client share; it need not exist yet.

    In the user's runtime folder (XDG base directory specification), which is memory, if there is
    one.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    is_there = os.path.isabs(runtime) and os.path.isdir(runtime)
    if is_there and os.stat(runtime).st_uid == os.getuid():
        return os.path.join(runtime, "pipeguard")
    return os.path.join(_folder_path(), "clients")


def note_own_paths(options: WrapOptions) -> None:
    """Add the paths of PipeGuard's files in this process to those that no call may change.

    Also their names in each folder that the server is started in, or with.
    """
    from pipeguard.config.effective_policy import wrap_policy_paths, wrap_record
    from pipeguard.detect.commands import OWN_NAMES

    roots = [options.values.get("--cwd") or os.curdir, *options.command]
    folders = [os.path.join(os.path.realpath(os.path.expanduser(root)), "") for root in roots]
    program = os.path.join(sys.prefix, "bin", "pipeguard")
    own = config_folder(), cache_folder(), _folder_path(), clients_folder(), program
    secret = map(os.path.abspath, list_secret_files())
    record = [] if (settings := wrap_record(options)) is None else [os.path.abspath(settings.path)]
    for path in chain(own, secret, record, *wrap_policy_paths(options).values()):
        names = {path, path.replace(os.path.expanduser("~"), "~", 1)}
        names.update(f"\n{path.removeprefix(f)}" for f in folders if path.startswith(f))
        OWN_NAMES.update(names)


def existing_store() -> Path | None:
    """The store if it exists; creates nothing and checks no permissions.

    Raises:
        StateError: the folder cannot be read.
    """
    from pathlib import Path

    path = Path(_folder_path()) / STORE_NAME
    try:
        return path if is_shared(path) or path.exists() else None
    except OSError as error:
        raise StateError(f"{path.parent} cannot be read: {error.strerror}.") from None


def is_shared(path: Path | str) -> bool:
    """True if a path stands for the store that replicas share."""
    return os.path.basename(path) == STORE_NAME and bool(shared_address())


def has_store(path: Path) -> bool:
    """True if there is a store at a path."""
    return is_shared(path) or path.is_file()


def _folder_path() -> str:
    override = os.environ.get(STATE_DIR_VARIABLE)
    return os.path.expanduser(override) if override else usual_state_folder()


def believe(path: Path | str, status: os.stat_result) -> None:
    """Refuse a folder or a file that another user could have written.

    Args:
        path: its path, for the error.
        status: its status.

    Raises:
        StateError: it belongs to another user and not to root, or others may write to it.
    """
    if who := other_writer(status):
        raise StateError(
            f"{who} may write to {path}, so its pins prove nothing. {STATE_DIR_VARIABLE} may name"
            f" another folder.\n  Close it:  {closing_command(str(path), status)}"
        )
