"""The tables of the store; knows only SQL."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pipeguard.errors import StateError

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

MAX_NAME_CHARS = 200  # of a client's, a method's or a tool's name in a row: a peer chooses those
STRICT_SINCE = (3, 37, 0)  # https://www.sqlite.org/stricttables.html

IS_STOPPED = "action IN ('block', 'ask', 'cut', 'redact')"
# A file that an isolated server did not get: its answer failed and passed, with a finding.
IS_TO_DECIDE = f"({IS_STOPPED} OR (action = 'warn' AND instr(findings, '\"rule\":\"isolation.')))"

# A row that stopped, changed or noticed something: few are.
IS_NOTICED = "(action <> 'allow' OR findings <> '[]')"
SLOW_MS = 500
# The time at which a call came, in seconds, by the row of its request or of its answer.
CALL_CAME = "(julianday(time) * 86400 - coalesce(duration_ms, 0) / 1000)"

VERSION = 11  # of the tables (PRAGMA user_version)
# All that a store of version 10 lacks.
NEW_INDEXES = (
    f"CREATE INDEX audit_noticed ON audit (id) WHERE {IS_NOTICED}",
    "CREATE INDEX audit_warned ON audit (id) WHERE action = 'warn'",
    # Of slow calls, which may have any number of rows between request and answer.
    f"""CREATE INDEX audit_slow ON audit (chain, request_bytes, {CALL_CAME})
        WHERE duration_ms >= {SLOW_MS}""",
)
TABLES = (
    """CREATE TABLE pins (
        server TEXT NOT NULL,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        approved TEXT,
        approved_fingerprint TEXT,
        approved_at TEXT NOT NULL DEFAULT '',
        held TEXT,
        held_fingerprint TEXT,
        held_at TEXT NOT NULL DEFAULT '',
        reason TEXT NOT NULL DEFAULT '',
        is_reviewed INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (server, kind, name),
        CHECK (approved IS NOT NULL OR held IS NOT NULL)
    ) STRICT""",
    """CREATE TABLE chains (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        chain TEXT NOT NULL UNIQUE,
        server TEXT NOT NULL,
        started TEXT NOT NULL,
        previous TEXT NOT NULL,
        first TEXT NOT NULL,
        head TEXT NOT NULL,
        length INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE audit (
        id INTEGER PRIMARY KEY,
        chain TEXT NOT NULL,
        seq INTEGER NOT NULL,
        time TEXT NOT NULL,
        server TEXT NOT NULL,
        client TEXT NOT NULL,
        direction TEXT NOT NULL,
        kind TEXT NOT NULL,
        method TEXT NOT NULL,
        tool TEXT NOT NULL,
        action TEXT NOT NULL,
        event TEXT NOT NULL,
        frame_sha256 TEXT NOT NULL,
        frame_bytes INTEGER NOT NULL,
        findings TEXT NOT NULL,
        prev_hash TEXT NOT NULL,
        hash TEXT NOT NULL,
        token TEXT,
        request_bytes INTEGER,
        duration_ms REAL,
        UNIQUE (chain, seq)
    ) STRICT""",
    "CREATE INDEX audit_event ON audit (event) WHERE event <> ''",
    # The few rows that stopped or changed something, with the files that isolated servers did not
    # get, for the page.
    f"CREATE INDEX audit_stopped ON audit (id) WHERE {IS_TO_DECIDE}",
    *NEW_INDEXES,
    # Which server has which name. A name with pins and no server goes to the first to start.
    """CREATE TABLE servers (
        server TEXT NOT NULL PRIMARY KEY,
        name TEXT NOT NULL,
        identity TEXT NOT NULL,
        launched TEXT NOT NULL,
        since TEXT NOT NULL,
        UNIQUE (name, identity)
    ) STRICT""",
    # Bearer tokens of the gateway's clients, only by their digests.
    """CREATE TABLE tokens (
        name TEXT NOT NULL PRIMARY KEY,
        sha256 BLOB NOT NULL,
        servers TEXT NOT NULL,
        tools TEXT NOT NULL,
        effect TEXT NOT NULL,
        per_minute INTEGER NOT NULL,
        created TEXT NOT NULL,
        expires TEXT NOT NULL,
        manages INTEGER NOT NULL DEFAULT 0
    ) STRICT""",
    # Servers that agents proposed for the gateway.
    """CREATE TABLE proposals (
        name TEXT NOT NULL PRIMARY KEY,
        definition TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        state TEXT NOT NULL,
        proposed_by TEXT NOT NULL,
        reason TEXT NOT NULL,
        proposed TEXT NOT NULL,
        decided TEXT NOT NULL
    ) STRICT""",
    # Calls that a person allowed for one time, by their marks (firewall.session.guard).
    """CREATE TABLE grants (
        mark TEXT NOT NULL PRIMARY KEY,
        event TEXT NOT NULL,
        server TEXT NOT NULL,
        tool TEXT NOT NULL,
        why TEXT NOT NULL,
        made TEXT NOT NULL,
        expires TEXT NOT NULL
    ) STRICT""",
    # Cards that a person dismissed, by their keys (ui.cards).
    "CREATE TABLE dismissals (key TEXT NOT NULL PRIMARY KEY, made TEXT NOT NULL) STRICT",
)


def create_tables(connection: sqlite3.Connection, path: Path | str, wait_seconds: float) -> None:
    """Create the tables in a new file, even while another process does the same.

    Raises:
        StateError: another version of PipeGuard wrote the file, or SQLite is too old.
    """
    _use_wal(connection, wait_seconds)
    if _version(connection) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection)
        if version not in (0, VERSION - 1, VERSION):
            raise StateError(
                f"the store {path} was written by another version of PipeGuard (form {version}).\n"
                "  Use that one, or name another folder in PIPEGUARD_STATE_DIR."
            )
        for statement in {0: TABLES, VERSION - 1: NEW_INDEXES}.get(version, ()):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    finally:
        rollback(connection)


def rollback(connection: sqlite3.Connection) -> None:
    """Undo a transaction if it is open; on a full disk SQLite has ended it already."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _version(connection: sqlite3.Connection) -> int:
    import sqlite3

    if sqlite3.sqlite_version_info < STRICT_SINCE:
        raise StateError(
            f"this Python has SQLite {sqlite3.sqlite_version}; the store needs 3.37.\n"
            "  Use a Python built with a newer SQLite."
        )
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    assert isinstance(version, int)  # noqa: S101  SQLite's own
    return version


def _use_wal(connection: sqlite3.Connection, wait_seconds: float) -> None:
    """Set write-ahead logging, which persists in the file.

    Two processes that do so at once get SQLITE_BUSY without a call of the busy handler, because
    waiting would be a deadlock (https://www.sqlite.org/c3ref/busy_handler.html).
    """
    import sqlite3

    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
                # A file system without shared memory keeps another mode, which works as well.
                connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
