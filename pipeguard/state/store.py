"""Opens the store: one file of the user's own, or the database that replicas share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

from pipeguard.errors import InputError
from pipeguard.launch.environment import STORE_VARIABLE
from pipeguard.state.database import connect
from pipeguard.state.paths import existing_store, is_shared, store_file
from pipeguard.state.pins import Store
from pipeguard.state.replica import REPLICA
from pipeguard.state.shared import SECRET_VARIABLE, read_keys, shared_address, shared_keys

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipeguard.state.postgres.link import Link

T = TypeVar("T")


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
    if is_shared(path):
        return open_database(shared_address())
    return Store(path, connect(path))


def open_database(address: str) -> Store:
    """Open the store in a database.

    Raises:
        InputError: the address is wrong, or the extra is not installed.
        StateError: it cannot be used.
    """
    from pipeguard.installation import require_extra

    require_extra("fleet", "shared stores", InputError)
    from pipeguard.state.postgres.database import PostgresStore

    return PostgresStore(address)


def open_existing_store() -> Store | None:
    """Open the user's own store if there is one; creates nothing.

    Raises:
        StateError: as `open_store`.
    """
    path = existing_store()
    return None if path is None else open_store(path)


# --- shared by replicas -----------------------------------------------------------------


def share_store(address: str | None, secret_file: str | None) -> None:
    """Let this process share a store with other replicas; without an address, it shares none.

    Args:
        address: of the database.
        secret_file: with the keys that seal for it.

    Raises:
        InputError: one of them is wrong or missing, or the extra is not installed.
    """
    if not address and not secret_file:
        return
    if not address or not secret_file:
        raise InputError("--store URL and --secret-file FILE need each other.")
    from pipeguard.installation import require_extra

    require_extra("fleet", "shared stores", InputError)
    from pipeguard.state.postgres.database import check_address

    check_address(address)
    read_keys(secret_file)
    os.environ |= {STORE_VARIABLE: address, SECRET_VARIABLE: os.path.abspath(secret_file)}


def open_link(outage_seconds: float, tell: Callable[[str], None]) -> Link | None:
    """Open this replica's link to the store that it shares; None if it shares none.

    Args:
        outage_seconds: for which the replica goes on without the database.
        tell: takes a line about the database, for people.

    Raises:
        InputError: the keys cannot be read.
        StateError: the database cannot be used.
    """
    if not (address := shared_address()):
        return None
    from pipeguard.state.postgres.link import Link

    link = Link(address, shared_keys(), outage_seconds, tell)
    link.begin()
    REPLICA.link = link
    return link


def ask_store(path: Path | str, work: Callable[[Store], T]) -> T:
    """Do work with a store. A replica waits a second for its shared one, and no longer.

    Raises:
        StateError: it cannot be used.
    """
    if REPLICA.link is not None:
        return REPLICA.link.run_now(work)
    with open_store(path) as store:
        return work(store)
