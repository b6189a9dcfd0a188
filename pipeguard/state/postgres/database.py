"""One connection to the store that replicas share: transactions, with errors explained."""

from __future__ import annotations

import itertools
from contextlib import contextmanager, suppress
from datetime import date
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

import psycopg
from psycopg.pq import TransactionStatus

from pipeguard.errors import InputError, StateError
from pipeguard.state.pins import Store
from pipeguard.state.postgres.dialect import translate
from pipeguard.state.postgres.schema import LOCK, VERSION, create_tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

CONNECT_SECONDS = 10
OLDEST = 140_000  # version of PostgreSQL
RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")
DAY_CHARS = len("2026-01-01")
# Attached, because creating it as a partition would wait for whoever reads the audit.
_PARTITION = """
    CREATE TABLE {name} (LIKE audit INCLUDING DEFAULTS INCLUDING INDEXES);
    ALTER TABLE audit ATTACH PARTITION {name} FOR VALUES FROM ('{day}') TO ('{day}~')"""
PATIENCE_SECONDS = 5.0  # for one statement; a database that is stopped keeps its connections
ROWS_AT_ONCE = 1000
_READ_ONLY = "in_hot_standby", "default_transaction_read_only"  # the server reports them unasked
# A database that answers, and takes nothing.
UNWRITABLE = (
    psycopg.errors.DiskFull,
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.ReadOnlySqlTransaction,
)
_IS_THERE = "SELECT 1 FROM pg_class WHERE relname = ? AND pg_table_is_visible(oid)"
_TABLES = f"""
    SELECT relname, {" AND ".join(f"has_table_privilege(oid, '{right}')" for right in RIGHTS)}
    FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = current_schema()::regnamespace
        AND NOT relispartition ORDER BY relname"""  # noqa: S608  constants


class _PatientConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that waits only so long for an answer."""

    patience = PATIENCE_SECONDS

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for the end of a generator of psycopg's."""
        try:
            return super().wait(gen, interval, self.patience if timeout is None else timeout)
        except psycopg.errors._WaitTimeout:
            self.pgconn.finish()  # its answer would be taken for that of the next statement
            raise psycopg.OperationalError("it does not answer") from None


class PostgresStore(Store):
    """The store in PostgreSQL. Belongs to the thread that opened it.

    Args:
        address: `postgresql://user@host/database`.
        patience: how long a statement may take, in seconds.

    Raises:
        InputError: the address is not one, or has a password.
        StateError: the database cannot be used.
    """

    IDS_ARE_DENSE = False
    REPLICA = "replica"
    NEWEST_CHAINS = "started DESC"

    def __init__(self, address: str, patience: float = PATIENCE_SECONDS) -> None:
        self.path = check_address(address)
        self._patience = patience
        self._numbers = itertools.count()
        self._session = self._connect()

    def _connect(self) -> _PatientConnection:
        with self.explaining():
            session = _PatientConnection.connect(
                str(self.path),
                autocommit=True,
                connect_timeout=CONNECT_SECONDS,
                prepare_threshold=None,  # as a pooler by transactions has it
                cursor_factory=psycopg.ClientCursor,
                application_name="pipeguard",
            )
            session.patience = self._patience
            try:
                self._check_server(session)
                create_tables(session, str(self.path))
            except BaseException:
                session.close()
                raise
        return session

    def _check_server(self, session: _PatientConnection) -> None:
        version = session.info.server_version
        encoding = session.info.parameter_status("server_encoding")
        if version < OLDEST or encoding != "UTF8":
            raise StateError(
                f"the store {self.path} is in PostgreSQL {version // 10_000}, {encoding}:"
                f" {OLDEST // 10_000} or newer is needed, and UTF8."
            )

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def is_in_place(self) -> bool:
        """False once the connection is lost."""
        return not self._session.closed

    def check_writable(self) -> None:
        """Check that the database is no standby, and not read-only; asks it nothing.

        Raises:
            StateError: it is.
        """
        with self.explaining():
            if "on" in map(self._session.info.parameter_status, _READ_ONLY):
                raise psycopg.errors.ReadOnlySqlTransaction("it is read-only")

    def reopen(self) -> Self:
        """Another connection to the same database.

        Raises:
            StateError: it cannot be used.
        """
        self.close()
        return type(self)(str(self.path), self._patience)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything or nothing; a transaction inside another becomes part of that one.

        Only one process at a time decides, as with a file: what a transaction has read holds.

        Raises:
            StateError: the database could not be written; nothing was committed.
        """
        with self.batch():
            self.read("SELECT pg_advisory_xact_lock(?)", LOCK)
            yield

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Commit everything or nothing, while others write.

        Raises:
            StateError: the database could not be written; nothing was committed.
        """
        if self._session.info.transaction_status is not TransactionStatus.IDLE:
            yield
            return
        with self.explaining(), self._session.transaction():
            yield

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read the store as it is at one moment."""
        with self.batch():
            self.write("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield

    def read(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Read the rows of a query.

        Raises:
            StateError: the database cannot be read.
        """
        with self.explaining():
            return self._session.execute(translate(query), values).fetchall()

    def stream(self, query: str, values: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        """Read the rows of a query, as the caller takes them.

        Raises:
            StateError: the database cannot be read.
        """
        with self.explaining(), self.batch():
            text = psycopg.ClientCursor(self._session).mogrify(translate(query), values)
            with self._session.cursor(f"rows{next(self._numbers)}") as rows:
                rows.itersize = ROWS_AT_ONCE
                with suppress(GeneratorExit):  # the transaction may be another's, too
                    yield from rows.execute(text)

    def write(self, statement: str, *values: object) -> int:
        """Change rows, in a transaction of their own or in the one that is open; their number.

        Raises:
            StateError: the database could not be written.
        """
        with self.explaining():
            return self._session.execute(translate(statement), values).rowcount

    def write_many(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Change rows by one statement, with the values of each.

        Raises:
            StateError: the database could not be written.
        """
        with self.batch(), self._session.cursor() as cursor:
            cursor.executemany(translate(statement), rows)

    def limit_wait(self, milliseconds: int) -> None:
        """Wait only so long for another process to write; here nothing but decisions wait."""

    def replace_invalid(self) -> None:
        """Read text that is not UTF-8 with replacements; the database refuses such text."""

    def prepare_days(self, times: Iterable[str]) -> None:
        """Make a partition of the audit for the day of each row.

        Raises:
            StateError: the database could not be written.
        """
        for day in sorted({time[:DAY_CHARS] for time in times}):
            name = f"audit_{_check_day(day):%Y%m%d}"
            if self.read(_IS_THERE, name):
                continue
            with self.transaction():
                if not self.read(_IS_THERE, name):
                    self.write(_PARTITION.format(name=name, day=day))

    def continue_ids(self) -> None:
        """Number new rows of the audit after those that were copied."""
        query = "SELECT setval(pg_get_serial_sequence('audit', 'id'), coalesce(max(id), 0) + 1, ?)"
        self.read(f"{query} FROM audit", False)  # noqa: FBT003  SQL's

    def inspect(self) -> dict[str, Any]:
        """Describe the store: its form, what is wrong with it, and what it consists of."""
        tables = self.read(_TABLES)
        ((may_add,),) = self.read("SELECT has_schema_privilege(current_schema(), 'CREATE')")
        locked = [name for name, may_use in tables if not may_use]
        problems = [f"{self._session.info.user} may not use {', '.join(locked)}"] if locked else []
        problems += [] if may_add else [f"{self._session.info.user} may add no partition"]
        version = self._session.info.server_version
        return {
            "engine": f"PostgreSQL {version // 10_000}.{version % 10_000}",
            "form": VERSION,
            "tables": len(tables),
            "problem": "; ".join(problems),
            "partitions": len(self.list_days("9999")),
        }

    def list_days(self, before: str) -> list[str]:
        """The partitions of the audit for days before a moment."""
        query = (
            "SELECT relname FROM pg_class JOIN pg_inherits ON oid = inhrelid"
            " WHERE inhparent = to_regclass('audit') AND relkind = 'r' AND relname < ?"
            " ORDER BY relname"
        )
        end = f"audit_{before[:DAY_CHARS].replace('-', '')}"
        return [name for (name,) in self.read(query, end)]

    def damage(self) -> str:
        """Empty: the database looks after its files."""
        return ""

    def change_counter(self) -> int:
        """A number that changes once anything has changed of what replicas keep in memory."""
        ((number,),) = self.read("SELECT number FROM changes")
        return int(number)

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Turn psycopg's errors into ours.

        Raises:
            StateError: instead of any of them.
        """
        try:
            yield
        except psycopg.Error as error:
            with suppress(AttributeError):
                if not error.sqlstate:  # nothing of the server's: the connection is of no use
                    self._session.close()
            why = str(error).strip().partition("\n")[0] or type(error).__name__
            raise StateError(f"the store {self.path}: {why}.") from error


def _check_day(day: str) -> date:
    try:
        return date.fromisoformat(day)
    except ValueError:
        raise StateError(f"a row of the audit has no day: {day!r}.") from None


def check_address(address: str) -> str:
    """The address of a database.

    Raises:
        InputError: it is not one, or has a password.
    """
    try:
        parts = urlsplit(address)
        psycopg.conninfo.conninfo_to_dict(address)
    except (ValueError, psycopg.Error):
        raise InputError("--store takes postgresql://user@host/database") from None
    if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/"):
        raise InputError("--store takes postgresql://user@host/database")
    if parts.password is not None or {"password", "sslpassword"} & parse_qs(parts.query).keys():
        raise InputError("--store takes no password: PGPASSWORD or a passfile has it.")
    return address
