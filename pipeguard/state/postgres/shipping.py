"""Sends the audit of a replica from its own file, the outbox, to the shared store.

A row leaves the outbox once the database has committed it, and one that is sent again changes
nothing: each is there once, whichever process is killed when. The next start sends what a killed
replica left, and of the processes that share an outbox each may send the rows of all. While the
database is away, rows wait on the disk; on a full one the recorder counts what is missing, as for
any store.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import psycopg

from pipeguard.errors import StateError
from pipeguard.state.audit import COLUMNS
from pipeguard.state.database import connect
from pipeguard.state.pins import Store
from pipeguard.state.postgres.database import DAY_CHARS, UNWRITABLE, PostgresStore
from pipeguard.state.timestamps import now_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SEND_SECONDS = 1.0  # between two looks at the outbox
BATCH_ROWS = 1000  # in one transaction
CLOSE_SECONDS = 2.0  # for the last rows
_COLUMNS = COLUMNS.split(", ")
_CHAIN, _SEQ, _TIME, _HASH = map(_COLUMNS.index, ("chain", "seq", "time", "hash"))
_TYPES = {
    "seq": "bigint",
    "frame_bytes": "bigint",
    "request_bytes": "bigint",
    "duration_ms": "double precision",
}
_LISTS = ", ".join(f"?::{_TYPES.get(name, 'text')}[]" for name in _COLUMNS)
_READ = f"SELECT {COLUMNS} FROM audit ORDER BY id LIMIT ?"  # noqa: S608  constants
_SEND = f"INSERT INTO audit ({COLUMNS}) SELECT * FROM unnest({_LISTS}) ON CONFLICT DO NOTHING"  # noqa: S608  constants
_READ_CHAIN = "SELECT number, chain, server, started, previous, first FROM chains WHERE chain = ?"
_BEGIN_CHAIN = """
    INSERT INTO chains (replica, number, chain, server, started, previous, first, head, length)
    VALUES (?, ?, ?, ?, ?, ?, ?, '', 0) ON CONFLICT DO NOTHING"""
_MOVE_HEADS = """
    UPDATE chains SET head = newest.head, length = newest.length
    FROM unnest(?::text[], ?::text[], ?::bigint[]) AS newest (chain, head, length)
    WHERE chains.chain = newest.chain AND chains.length < newest.length"""
_NAME = "replica "  # begins the key of the outbox's name, among its own dismissals


class Shipping:
    """Sends the rows of an outbox, from a thread of its own.

    Args:
        outbox: the file.
        address: of the database.
        tell: takes a line for people, if rows cannot be sent although the database answers.
    """

    def __init__(self, outbox: Path | str, address: str, tell: Callable[[str], None]) -> None:
        self._path = outbox
        self._outbox: Store | None = None
        self._address, self._tell = address, tell
        self._store: PostgresStore | None = None
        self._told = ""
        self._begun, self._days = set[str](), set[str]()  # in the database, for certain
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shipping", daemon=True)

    def begin(self) -> None:
        """Send from now on, first what an earlier start left."""
        self._thread.start()

    def close(self) -> None:
        """Send the rest, if the database answers at once; else the next start sends it."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)

    # --- in the thread ---

    def _run(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._ended.wait(SEND_SECONDS)
            try:
                while self._send_batch() == BATCH_ROWS:  # more wait
                    pass
            except StateError as error:
                self._close_store()
                self._explain(error)
        self._close_store()
        if self._outbox is not None:
            self._outbox.close()

    def _explain(self, error: StateError) -> None:
        """Tell people why rows wait, once; of a database that is away, the link does."""
        cause = error.__cause__
        is_away = isinstance(cause, psycopg.OperationalError) and not isinstance(cause, UNWRITABLE)
        if not is_away and str(error) != self._told:
            self._told = str(error)
            self._tell(f"rows of the audit wait in {self._path}: {error}")

    def _send_batch(self) -> int:
        """Send the oldest rows; their number."""
        outbox = self._outbox = self._open_outbox()
        rows = outbox.read(_READ, BATCH_ROWS)
        if not rows:
            return 0
        if self._store is None:
            self._store = PostgresStore(self._address)
        days = {row[_TIME][:DAY_CHARS] for row in rows}
        self._store.prepare_days(days - self._days)
        newest = {row[_CHAIN]: row for row in rows}
        replica = _name_replica(outbox)
        with self._store.batch():
            for chain in newest.keys() - self._begun:
                for begun in outbox.read(_READ_CHAIN, chain):
                    self._store.write(_BEGIN_CHAIN, replica, *begun)
            self._store.write(_SEND, *map(list, zip(*rows, strict=True)))
            ends = [(chain, row[_HASH], row[_SEQ]) for chain, row in newest.items()]
            self._store.write(_MOVE_HEADS, *map(list, zip(*ends, strict=True)))
        with outbox.transaction():
            for chain, row in newest.items():  # ids are given again, numbers in a chain are not
                outbox.write("DELETE FROM audit WHERE chain = ? AND seq <= ?", chain, row[_SEQ])
        self._begun.update(newest)
        self._days.update(days)
        return len(rows)

    def _open_outbox(self) -> Store:
        if self._outbox is None:
            return Store(self._path, connect(self._path))
        return self._outbox if self._outbox.is_in_place() else self._outbox.reopen()

    def _close_store(self) -> None:
        self._begun.clear()
        self._days.clear()
        if self._store is not None:
            self._store.close()
            self._store = None


def _name_replica(outbox: Store) -> str:
    """The name under which the chains of an outbox are numbered; made with its first row."""
    query = "SELECT key FROM dismissals WHERE key GLOB ?"
    with outbox.transaction():
        for (key,) in outbox.read(query, f"{_NAME}*"):
            return str(key).removeprefix(_NAME)
        name = os.urandom(8).hex()
        outbox.write("INSERT INTO dismissals VALUES (?, ?)", f"{_NAME}{name}", now_text())
    return name
