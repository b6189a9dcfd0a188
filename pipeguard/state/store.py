"""The pins on disk: what is trusted of each server, and what waits for a person.

One SQLite file for all servers and all processes at once; knows nothing of what a drift means.
"""

# pathlib costs 5 ms, and a server is waiting
# ruff: noqa: PTH101, PTH116
from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.core.pins.fingerprint import Pin
from pipeguard.errors import StateError
from pipeguard.state.paths import believe
from pipeguard.state.schema import migrate, rollback

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from pathlib import Path

    from pipeguard.core.finding import PinChange
    from pipeguard.identity.server_name import Launched

BUSY_SECONDS = 5.0  # a writer waits so long for another; a batch takes milliseconds
CACHE_KIB = 512  # of pages per connection, in place of SQLite's 2000: rows are read once

_SELECT = """
    SELECT kind, name, approved, approved_fingerprint, held, held_fingerprint, reason,
        approved_at, held_at
    FROM pins"""
_PIN = """
    INSERT INTO pins (server, kind, name, approved, approved_fingerprint, approved_at)
    VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET approved = excluded.approved,
        approved_fingerprint = excluded.approved_fingerprint,
        approved_at = iif(pins.approved IS NULL, excluded.approved_at, pins.approved_at),
        held = NULL, held_fingerprint = NULL, held_at = '', reason = ''
    WHERE pins.approved IS NULL OR pins.held IS NOT NULL"""
_HOLD = """
    INSERT INTO pins (server, kind, name, held, held_fingerprint, held_at, reason)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET held = excluded.held, held_fingerprint = excluded.held_fingerprint,
        held_at = excluded.held_at, reason = excluded.reason
    WHERE pins.held_fingerprint IS NOT excluded.held_fingerprint
        OR pins.reason <> excluded.reason"""
_APPROVE = """
    UPDATE pins SET approved = held, approved_fingerprint = held_fingerprint, approved_at = ?,
        held = NULL, held_fingerprint = NULL, held_at = '', reason = ''
    WHERE server = ? AND kind = ? AND name = ?"""
_REJECT = """
    UPDATE pins SET held = NULL, held_fingerprint = NULL, held_at = '', reason = ''
    WHERE server = ? AND kind = ? AND name = ?"""
_DELETE = "DELETE FROM pins WHERE server = ? AND kind = ? AND name = ?"


class NamedServer(NamedTuple):
    """Under which name a server is kept.

    Attributes:
        server: that of its pins, its audit and its policy.
        holder: what has the name that was asked for, where that is another server; else empty.
        since: when it got it.
    """

    server: str
    holder: str = ""
    since: str = ""


class Store:
    """The pins of all servers, in one file.

    Belongs to the thread that opened it. Each method is one transaction; several are one inside
    of `with store.transaction()`.
    """

    def __init__(self, path: Path | str, connection: sqlite3.Connection) -> None:
        self.path = path
        self.connection = connection
        self._inode = _inode(path)

    @classmethod
    def open(cls, path: Path | str) -> Store:
        """Open a store, make it where there is none, and bring it to this version's form.

        Raises:
            StateError: it cannot be read or written, somebody else could have written it, or it
                is of a newer PipeGuard.
        """
        import sqlite3

        _make_private(path)
        with told(path):
            connection = sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None, cached_statements=32
            )
            try:
                connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
                connection.execute("PRAGMA synchronous = NORMAL")  # WAL: whole, if not the last
                migrate(connection, path, BUSY_SECONDS)
            except BaseException:
                connection.close()
                raise
        return cls(path, connection)

    def close(self) -> None:
        """Let go of the file.

        The last connection to close removes `-wal` by its name, which another store has where that
        took the place of ours (https://www.sqlite.org/howtocorrupt.html, section 2.4). Then ours
        stays open.
        """
        if _inode(self.path) in (None, self._inode):
            self.connection.close()
            return
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.connection))

    def is_in_place(self) -> bool:
        """False once another file stands at its path, or none: nobody reads what is written."""
        return _inode(self.path) == self._inode

    def reopened(self) -> Store:
        """The store that is in its place now, made where there is none.

        Raises:
            StateError: as `open`.
        """
        self.close()
        os.makedirs(os.path.dirname(self.path) or ".", mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120  as above
        return Store.open(self.path)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; inside of another one it is a part of that.

        Raises:
            StateError: the store could not be written; nothing was.
        """
        if self.connection.in_transaction:
            yield
            return
        with told(self.path):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.connection.execute("COMMIT")
            finally:
                rollback(self.connection)

    def servers(self) -> tuple[str, ...]:
        """The servers of which anything is kept, by name."""
        with told(self.path):
            rows = self.connection.execute("SELECT DISTINCT server FROM pins ORDER BY server")
            return tuple(server for (server,) in rows)

    def known_as(self, name: str, launched: Launched, *, register: bool = True) -> NamedServer:
        """Under which name a server is kept: the one asked for, unless another one has it.

        Then it is kept beside that one, with a few digits of what it launches behind the name.

        Args:
            name: that is asked for.
            launched: what has it, by its command or address.
            register: whether to keep that; False only looks.
        """
        from pipeguard.core.digest import sha256

        identity = sha256(launched.identity.encode("utf-8", "surrogateescape")).hexdigest()
        with told(self.path):
            known = self._known(name, identity)
        if known is not None or not register:
            return known or NamedServer(name)
        with self.transaction():
            known = self._known(name, identity)  # somebody else may have been faster
            if known is not None:
                return known
            server, digits = name, 6
            while self.connection.execute(
                "SELECT 1 FROM servers WHERE server = ?", (server,)
            ).fetchone():
                server, digits = f"{name}-{identity[:digits]}", digits + 2
            self.connection.execute(
                "INSERT INTO servers (server, name, identity, launched, since)"
                " VALUES (?, ?, ?, ?, ?)",
                (server, name, identity, launched.told, _now()),
            )
            return self._known(name, identity) or NamedServer(server)

    def _known(self, name: str, identity: str) -> NamedServer | None:
        row = self.connection.execute(
            "SELECT own.server, coalesce(other.launched, ''), coalesce(other.since, '')"
            " FROM servers own LEFT JOIN servers other"
            " ON other.server = own.name AND other.server <> own.server"
            " WHERE own.name = ? AND own.identity = ?",
            (name, identity),
        ).fetchone()
        return NamedServer(*row) if row else None

    def forget_launch(self, name: str) -> tuple[str, ...]:
        """Forget what has a name, and no pin: what starts next under it takes the pins over.

        Returns:
            What had it.
        """
        with self.transaction():
            rows = self.connection.execute(
                "DELETE FROM servers WHERE name = ? OR server = ? RETURNING launched", (name, name)
            ).fetchall()
        return tuple(launched for (launched,) in rows)

    def pins(self, server: str) -> dict[tuple[str, str], Pin]:
        """What is kept of a server, by kind and name."""
        with told(self.path):
            rows = self.connection.execute(
                f"{_SELECT} WHERE server = ? ORDER BY kind, name",
                (server,),
            )
            return {(row[0], row[1]): Pin(*row) for row in rows}

    def remember(self, server: str, changes: Iterable[PinChange]) -> None:
        """Keep what a session saw.

        First use trusts once: a definition that another process pinned in the meantime is not
        replaced by a different one, which is held in its stead. What a person approved in the
        meantime is not held again.
        """
        now = _now()
        with self.transaction():
            for change in changes:
                if change.pinned:
                    self._pin(server, change, now)
                elif change.held:
                    self._hold(server, change, change.reason, now)

    def approve(
        self,
        server: str,
        kind: str | None = None,
        name: str | None = None,
        fingerprint: str | None = None,
    ) -> list[Pin]:
        """Trust what is held.

        Args:
            server: whose definitions.
            kind: only these, as `tool`; None for every kind.
            name: only this one; None for all.
            fingerprint: only the definition with this one: what a person was shown, whatever
                the server has sent since.

        Returns:
            The pins as they stand now, of those that were held.
        """
        with self.transaction():
            held = self._held(server, kind, name, fingerprint)
            now = _now()
            for pin in held:
                self.connection.execute(_APPROVE, (now, server, pin.kind, pin.name))
        return [
            Pin(pin.kind, pin.name, pin.held, pin.held_fingerprint, None, None, "", now)
            for pin in held
        ]

    def reject(
        self,
        server: str,
        kind: str | None = None,
        name: str | None = None,
        fingerprint: str | None = None,
    ) -> list[Pin]:
        """Throw away what is held; if the server offers it again, it is held again.

        Returns:
            The pins as they were before.
        """
        with self.transaction():
            held = self._held(server, kind, name, fingerprint)
            for pin in held:
                statement = _DELETE if pin.approved is None else _REJECT
                self.connection.execute(statement, (server, pin.kind, pin.name))
        return held

    def forget(self, server: str, kind: str | None = None, name: str | None = None) -> int:
        """Forget pins, so that the next sight is the first; returns how many.

        Where none is left, the name is free for another server as well.
        """
        with self.transaction():
            count = self.connection.execute(
                "DELETE FROM pins WHERE server = ? AND kind = coalesce(?, kind)"
                " AND name = coalesce(?, name)",
                (server, kind, name),
            ).rowcount
            self.connection.execute(
                "DELETE FROM servers WHERE server = ?"
                " AND NOT EXISTS (SELECT 1 FROM pins WHERE pins.server = servers.server)",
                (server,),
            )
        return count

    def change_counter(self) -> int:
        """A number that differs once another connection has changed the file (data_version)."""
        with told(self.path):
            (version,) = self.connection.execute("PRAGMA data_version").fetchone()
        assert isinstance(version, int)  # noqa: S101  SQLite's own
        return version

    def _held(
        self, server: str, kind: str | None, name: str | None, fingerprint: str | None
    ) -> list[Pin]:
        rows = self.connection.execute(
            f"{_SELECT} WHERE server = ? AND held IS NOT NULL AND kind = coalesce(?, kind)"
            " AND name = coalesce(?, name) AND held_fingerprint = coalesce(?, held_fingerprint)"
            " ORDER BY kind, name",
            (server, kind, name, fingerprint),
        )
        return [Pin(*row) for row in rows]

    def _approved(self, server: str, change: PinChange) -> str | None:
        row = self.connection.execute(
            "SELECT approved_fingerprint FROM pins WHERE server = ? AND kind = ? AND name = ?",
            (server, change.kind, change.name),
        ).fetchone()
        return row[0] if row else None

    def _pin(self, server: str, change: PinChange, now: str) -> None:
        approved = self._approved(server, change)
        if approved not in {None, change.fingerprint}:
            self._hold(server, change, "differs from what another session pinned", now)
            return
        self.connection.execute(
            _PIN,
            (server, change.kind, change.name, change.definition, change.fingerprint, now),
        )

    def _hold(self, server: str, change: PinChange, reason: str, now: str) -> None:
        if self._approved(server, change) == change.fingerprint:
            return
        self.connection.execute(
            _HOLD,
            (server, change.kind, change.name, change.definition, change.fingerprint, now, reason),
        )


def written(moment: datetime, timespec: str = "milliseconds") -> str:
    """A moment as it is kept and compared: ISO 8601, in UTC, with a Z."""
    from datetime import UTC

    return moment.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def _now() -> str:
    from datetime import UTC, datetime

    return written(datetime.now(UTC), "seconds")


def _inode(path: Path | str) -> tuple[int, int] | None:
    """What tells a file from another one at the same path; None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _make_private(path: Path | str) -> None:
    """Make the file ours alone before SQLite opens it; its -wal and -shm take the same rights.

    A file that exists is never opened here: closing it would drop the locks that this process
    holds on it (https://www.sqlite.org/howtocorrupt.html, section 2.2).
    """
    try:
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            for part in (path, f"{path}-wal", f"{path}-shm", f"{path}-journal"):
                with suppress(FileNotFoundError):
                    believe(part, os.stat(part))
            if os.name == "posix" and os.stat(path).st_mode & 0o077:
                os.chmod(path, 0o600)
    except OSError as error:
        raise StateError(
            f"the store {path} cannot be opened: {error.strerror}.\n"
            f"  Mend its rights, or name another folder in PIPEGUARD_STATE_DIR."
        ) from error


@contextmanager
def told(path: Path | str) -> Iterator[None]:
    """Tell SQLite's errors in one sentence of what happened, and one of what to do.

    Raises:
        StateError: in place of any error of SQLite's.
    """
    import sqlite3

    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        remedy = next((advice for code, advice in _REMEDIES if name.startswith(code)), None)
        raise StateError(
            f"the store {path}: {error}.\n"
            f"  {remedy or 'Look at the disk and at the rights of the file, then try again.'}"
        ) from error


def is_of_a_row(error: StateError) -> bool:
    """True where what was to be written is to blame, and not the store: another row may pass."""
    import sqlite3

    kinds = (
        sqlite3.DataError,
        sqlite3.IntegrityError,
        sqlite3.InterfaceError,
        sqlite3.ProgrammingError,
    )
    return isinstance(error.__cause__, kinds)


_REMEDIES = (
    ("SQLITE_BUSY", "Another process keeps it locked: end that one, or try again."),
    ("SQLITE_LOCKED", "Another process keeps it locked: end that one, or try again."),
    ("SQLITE_FULL", "The disk is full: free some space."),
    ("SQLITE_READONLY", "It may not be written: mend the rights of the file and its folder."),
    ("SQLITE_NOTADB", "It is no SQLite file: move it away, and a new one is begun."),
    ("SQLITE_CORRUPT", "It is damaged: move it away, and a new one is begun without its pins."),
)
