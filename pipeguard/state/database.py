"""One SQLite file of the user's own: opened in private, in transactions, with errors explained.

Knows files, locks and errors, and no table. Other packages do not use SQLite for data that
processes share: they call the functions of the package's other modules with an open store.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

from pipeguard.config.atomic_write import FREE_SPACE, is_full
from pipeguard.errors import StateError
from pipeguard.state.paths import believe
from pipeguard.state.schema import create_tables, rollback

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

BUSY_SECONDS = 5.0  # how long a writer waits for another; a batch takes milliseconds
LEAST_BYTES = 64 * 2**10  # SQLite's index of a log grows by 32 KiB
CACHE_KIB = 512  # of pages per connection, instead of SQLite's 2000: rows are read once


class StateDatabase:
    """One open SQLite file.

    Belongs to the thread that opened it.

    Attributes:
        connection: SQLite's connection to it.
        IDS_ARE_DENSE: True if each row of the audit has the number after the last one.
        REPLICA: of a chain, in SQL: a copy of a shared store has the chains of several.
        NEWEST_CHAINS: their order, in SQL.
    """

    IDS_ARE_DENSE = True
    REPLICA = "number >> 32"
    NEWEST_CHAINS = "number DESC"

    def __init__(self, path: Path | str, connection: sqlite3.Connection) -> None:
        self.path = path
        self.connection = connection
        self._inode = _inode(path)

    def close(self) -> None:
        """Close the connection, unless another file has taken this one's place.

        The last connection to close removes `-wal` by its name, and that name then belongs to the
        other file (https://www.sqlite.org/howtocorrupt.html, section 2.4). In that case the
        connection stays open for as long as the process runs.
        """
        if _inode(self.path) in (None, self._inode):
            self.connection.close()
            return
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.connection))

    def is_in_place(self) -> bool:
        """False once the file at this path is gone or another one, so that ours has no readers."""
        return _inode(self.path) == self._inode

    def reopen(self) -> Self:
        """The file now at this path, created if it is missing.

        Raises:
            StateError: as `connect`.
        """
        self.close()
        os.makedirs(os.path.dirname(self.path) or ".", mode=0o700, exist_ok=True)
        return type(self)(self.path, connect(self.path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything or nothing; a transaction inside another becomes part of that one.

        Raises:
            StateError: the file could not be written; nothing was committed.
        """
        if self.connection.in_transaction:
            yield
            return
        with translated_errors(self.path):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.connection.execute("COMMIT")
            finally:
                rollback(self.connection)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read the file as it is at one moment."""
        self.read("BEGIN")
        try:
            yield
        finally:
            rollback(self.connection)

    def read(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Read the rows of a query.

        Raises:
            StateError: the file cannot be read.
        """
        with translated_errors(self.path):
            return self.connection.execute(query, values).fetchall()

    def stream(self, query: str, values: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        """Read the rows of a query, as the caller takes them.

        Raises:
            StateError: the file cannot be read.
        """
        with translated_errors(self.path):
            for row in self.connection.execute(query, values):  # noqa: UP028  which would close the cursor after its store
                yield row

    def write(self, statement: str, *values: object) -> int:
        """Change rows, in a transaction of their own or in the one that is open; their number.

        Raises:
            StateError: the file could not be written.
        """
        with self.transaction():
            return self.connection.execute(statement, values).rowcount

    def write_many(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Change rows by one statement, with the values of each.

        Raises:
            StateError: the file could not be written.
        """
        with self.transaction():
            self.connection.executemany(statement, rows)

    def damage(self) -> str:
        """Check the file's structure; empty if it is sound."""
        ((verdict,),) = self.read("PRAGMA quick_check(1)")
        return "" if verdict == "ok" else str(verdict)

    def content(self) -> bytes:
        """The whole file, with all that was written to it."""
        with translated_errors(self.path):
            return self.connection.serialize()

    def limit_wait(self, milliseconds: int) -> None:
        """Wait only so long for another process to write."""
        self.read(f"PRAGMA busy_timeout = {milliseconds}")

    def replace_invalid(self) -> None:
        """Read text that is not UTF-8, as a damaged file may have it, with replacements."""
        self.connection.text_factory = lambda text: text.decode(errors="replace")

    def prepare_days(self, times: Iterable[str]) -> None:
        """Make room for rows of these times; a file has it."""

    def continue_ids(self) -> None:
        """Number new rows of the audit after those that were copied; a file does."""

    def inspect(self) -> dict[str, Any]:
        """Describe the store: its form, what is wrong with it, and what it consists of."""
        ((form,),) = self.read("PRAGMA user_version")
        ((tables,),) = self.read("SELECT count(*) FROM sqlite_schema WHERE type = 'table'")
        return {"engine": "SQLite", "form": form, "tables": tables, "problem": self.damage()}

    def list_days(self, before: str) -> list[str] | None:
        """The partitions of the audit for days before a moment; None if it has none."""
        return None

    def change_counter(self) -> int:
        """A number that changes once another connection has changed the file (data_version)."""
        ((version,),) = self.read("PRAGMA data_version")
        return int(version)


def connect(path: Path | str) -> sqlite3.Connection:
    """Open a file with all tables, and create it if it is missing.

    Raises:
        StateError: it cannot be read or written, another user could have written it, or another
            version of PipeGuard wrote it.
    """
    import sqlite3

    _make_private(path)
    with translated_errors(path):
        connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, cached_statements=32
        )
        try:
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            # With WAL, a power cut can cost the last transactions but never damages the file.
            connection.execute("PRAGMA synchronous = NORMAL")
            create_tables(connection, path, BUSY_SECONDS)
        except BaseException:
            connection.close()
            raise
    return connection


def _inode(path: Path | str) -> tuple[int, int] | None:
    """Device and inode, which identify a file whatever its path; None without a file."""
    with suppress(OSError):
        status = os.stat(path)
        return status.st_dev, status.st_ino
    return None


def _make_private(path: Path | str) -> None:
    """Create the file, only for its owner, before SQLite opens it.

    SQLite gives its -wal and -shm files the same mode. A file that exists is never opened here:
    closing it would drop the locks that this process holds on it
    (https://www.sqlite.org/howtocorrupt.html, section 2.2).
    """
    try:
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            _refuse_foreign(path)
            if os.name == "posix" and os.stat(path).st_mode & 0o077:
                os.chmod(path, 0o600)
    except OSError as error:
        advice = FREE_SPACE if is_full(error) else "Fix its permissions."
        raise StateError(
            f"the store {path} cannot be opened: {error.strerror}.\n"
            f"  {advice} Or name another folder in PIPEGUARD_STATE_DIR."
        ) from error


def _refuse_foreign(path: Path | str) -> None:
    for part in _parts(path):
        with suppress(FileNotFoundError):
            believe(part, os.stat(part))


@contextmanager
def translated_errors(path: Path | str) -> Iterator[None]:
    """Turn SQLite's errors into ours, which say what happened and what to do.

    Raises:
        StateError: instead of any error of SQLite's.
    """
    import sqlite3

    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        remedy = next((advice for code, advice in _REMEDIES if name.startswith(code)), None)
        what = f"the store {path}: {error}."
        if name.startswith(_IF_UNUSABLE):
            what += " Once it is away, a new one is created, without its pins and audit."
            remedy = f"Move it away:  {move_away(path)}"
        if name.startswith(_IF_FULL) and _has_no_room(path):  # SQLite says so only of some writes
            raise StateError(f"the store {path} cannot be written.\n  {FREE_SPACE}") from error
        raise StateError(
            f"{what}\n"
            f"  {remedy or 'Check the disk and the permissions of the file, then try again.'}"
        ) from error


def move_away(path: Path | str) -> str:
    """The command that moves a store away, with the files that SQLite keeps next to it."""
    import shlex

    folder = shlex.quote(f"{path}.damaged")
    parts = " ".join(shlex.quote(part) for part in _parts(path) if os.path.exists(part))
    return f"mkdir {folder} && mv {parts} {folder}"


def _parts(path: Path | str) -> tuple[str, ...]:
    return tuple(f"{path}{end}" for end in ("", "-wal", "-shm", "-journal"))


def _has_no_room(path: Path | str) -> bool:
    """True if the disk has no room for the bytes that SQLite adds at once."""
    import shutil

    with suppress(OSError):
        return shutil.disk_usage(os.path.dirname(path) or ".").free < LEAST_BYTES
    return False


def is_about_a_row(error: StateError) -> bool:
    """True if the row is to blame and not the store, so that other rows can be written."""
    import sqlite3

    kinds = (
        sqlite3.DataError,
        sqlite3.IntegrityError,
        sqlite3.InterfaceError,
        sqlite3.ProgrammingError,
    )
    return isinstance(error.__cause__, kinds)


_IF_UNUSABLE = ("SQLITE_NOTADB", "SQLITE_CORRUPT")
_IF_FULL = ("SQLITE_IOERR", "SQLITE_CANTOPEN")
_REMEDIES = (
    ("SQLITE_BUSY", "Another process has it locked: end that process, or try again."),
    ("SQLITE_LOCKED", "Another process has it locked: end that process, or try again."),
    ("SQLITE_FULL", FREE_SPACE),
    ("SQLITE_READONLY", "It is read-only: fix the permissions of the file and its folder."),
)
