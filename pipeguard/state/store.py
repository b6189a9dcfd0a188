"""Opens the store: one file of the user's own, or the database that replicas share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipeguard.state.database import connect
from pipeguard.state.paths import STORE_NAME, existing_store, store_file
from pipeguard.state.pins import Store
from pipeguard.state.shared import shared_address

if TYPE_CHECKING:
    from pathlib import Path


def open_store(setting: Path | str | None = None) -> Store:
    """Open a store, and create it if it is missing.

    A file of the user's own name stands for the store that replicas share, if there is one.

    Args:
        setting: the path of its file; None for the user's own.

    Raises:
        StateError: it cannot be read or written, another user could have written it, or another
            version of PipeGuard wrote it.
    """
    path = setting or store_file()
    if os.path.basename(path) == STORE_NAME and (address := shared_address()):
        from pipeguard.state.postgres.database import PostgresStore

        return PostgresStore(address)
    return Store(path, connect(path))


def open_existing_store() -> Store | None:
    """Open the user's own store if there is one; creates nothing.

    Raises:
        StateError: as `open_store`.
    """
    path = existing_store()
    return None if path is None else open_store(path)
