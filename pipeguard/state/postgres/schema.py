"""The form of the shared store, and the steps to it.

A migration only adds, so that older replicas go on; it holds an advisory lock.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from pipeguard.errors import StateError

if TYPE_CHECKING:
    from psycopg import Connection

VERSION = 1
LOCK = 7_309_446_120  # of migrations, partitions and the chains of decisions
_USED = set[str]()  # by this process, which goes on if another completes the tables meanwhile
STEPS = {0: "schema.sql"}  # by the form that each finds


def create_tables(connection: Connection[tuple[object, ...]], name: str) -> None:
    """Create or complete the tables, while other processes may do the same.

    Args:
        connection: to the database.
        name: of the database, for errors.

    Raises:
        StateError: a newer version of PipeGuard made them, before this process used them.
    """
    if (version := _version(connection)) < VERSION:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            while (version := _version(connection)) < VERSION:
                step = files(__package__) / STEPS[version]
                connection.execute(step.read_bytes())
    if version > VERSION and name not in _USED:
        raise StateError(f"{name} was made by a newer PipeGuard (form {version}): use that one.")
    _USED.add(name)


def _version(connection: Connection[tuple[object, ...]]) -> int:
    # A table of the catalogue is read anew, names are remembered as they were before the lock.
    ((is_there,),) = connection.execute(
        "SELECT count(*) > 0 FROM pg_class WHERE relname = 'pipeguard' AND pg_table_is_visible(oid)"
    )
    if not is_there:
        return 0
    ((version,),) = connection.execute("SELECT version FROM pipeguard")
    assert isinstance(version, int)  # noqa: S101  by its type
    return version
