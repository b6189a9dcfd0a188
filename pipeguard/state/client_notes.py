"""The notes of one client's ledgers: a SQLite file in the folder that they share."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from pipeguard.detect.flows.ledger import RESULT_BYTES, RESULT_SECONDS
from pipeguard.errors import StateError
from pipeguard.firewall.finding import Action, Finding
from pipeguard.firewall.session.memory import ClientMemory, Note
from pipeguard.launch.feeders import find_client
from pipeguard.state.audit import UNSHARED
from pipeguard.state.client_folder import FILE, client_folder, enter, leave, remove_abandoned

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BUSY_SECONDS = 0.05  # how long one waits for another that writes, which takes microseconds
LATE_SECONDS = 0.2  # until a note that is not due is put
NOTE_BYTES = 4096  # for which a note counts, with its frame: a page or two
UNCHECKED_BYTES = 2**20  # which one process puts before it looks at the bounds
_TABLE = """CREATE TABLE IF NOT EXISTS notes (
    number INTEGER PRIMARY KEY,
    ledger BLOB NOT NULL,
    time REAL NOT NULL,
    server TEXT NOT NULL,
    fields TEXT NOT NULL,
    frame BLOB NOT NULL,
    bytes INTEGER NOT NULL
) STRICT"""
_PUT = "INSERT INTO notes (ledger, time, server, fields, frame, bytes) VALUES (?, ?, ?, ?, ?, ?)"
_READ = """SELECT number, time, server, fields, iif(ledger = ?, NULL, frame) FROM notes
    WHERE number > ? AND time > ? ORDER BY number"""
# Each server keeps its newest ones, and none loses any to another that has more. The last stays,
# so that no number comes twice.
_DROP = """DELETE FROM notes WHERE number < (SELECT max(number) FROM notes)
    AND (time < ? OR number IN (SELECT number FROM (
    SELECT number, sum(bytes) OVER (ORDER BY own, number) AS total FROM (
        SELECT number, bytes, sum(bytes) OVER (PARTITION BY server ORDER BY number DESC) AS own
        FROM notes)) WHERE total > ?))"""
# Whatever a file may have in it, another process of this user may have written.
_FAILURES = OSError, ValueError, TypeError, RecursionError, sqlite3.Error, StateError


class StoredNotes:
    """The notes of one client's ledgers, as one of them sees them (`ClientMemory`).

    Args:
        file: that has them.
    """

    def __init__(self, file: NotesFile) -> None:
        self._file = file
        self._ledger = os.urandom(8)
        self._changes = b""  # of the file, as of the last look
        self._last = 0

    def put(self, notes: Sequence[Note]) -> None:
        """Put notes for the others: at once if one of them is due, or else soon."""
        self._file.put(self._ledger, notes)

    def read_new(self) -> list[Note]:
        """Read what the others have put since the last time, the oldest first."""
        return self._file.use(self._read, creates=False) or []

    def _read(self, connection: sqlite3.Connection) -> list[Note]:
        if self._file.read_counter() == self._changes:
            return []
        now = time.time()
        connection.execute("BEGIN")
        with connection:  # nobody else can change the counter until it ends
            rows = connection.execute(_READ, (self._ledger, self._last, now - RESULT_SECONDS))
            found = rows.fetchall()
            self._changes = self._file.read_counter()
        if found:
            self._last = found[-1][0]
        return [
            Note(server, json.loads(fields), frame, age_seconds=max(0.0, now - since))
            for _, since, server, fields, frame in found
            if frame is not None
        ]


class ClientNotes:
    """The memories of this process that others share, by client.

    Args:
        tell: takes a finding if that fails.
        is_used: False if there are none.
    """

    def __init__(self, tell: Callable[[Finding], object], *, is_used: bool = True) -> None:
        self._tell, self._is_used = tell, is_used
        self._files: dict[str, NotesFile] = {}

    def of_process(self, _token: str = "") -> ClientMemory | None:
        """The memory of the process that started this one."""
        return self._open("", find_client)

    def of_token(self, token: str) -> ClientMemory | None:
        """The memory of one token; None without a token."""
        return self._open(token, lambda: f"token {token}") if token and os.name == "posix" else None

    def _open(self, name: str, find: Callable[[], str]) -> ClientMemory | None:
        if not self._is_used:
            return None
        if name not in self._files:
            self._files[name] = NotesFile(find, self._tell)
        return StoredNotes(self._files[name])

    def close(self) -> None:
        """Leave all of it."""
        for file in self._files.values():
            file.close()


class NotesFile:
    """The file of one client, for all ledgers of this process. Safe for any thread.

    It is opened once there is something to put or to read. If it fails, it is left for good.

    Args:
        find_client: names the client; empty if nothing is shared.
        tell: takes a finding if it fails.
    """

    def __init__(self, find_client: Callable[[], str], tell: Callable[[Finding], object]) -> None:
        self._find_client, self._tell = find_client, tell
        self._lock = Lock()
        self._path: str | None = None  # empty once it is over
        self._folder = -1
        self._connection: sqlite3.Connection | None = None
        self._counter = -1
        self._unchecked = 0
        self._late: list[tuple[bytes, Note]] = []
        self._has_late = Event()
        self._thread: Thread | None = None

    def put(self, ledger: bytes, notes: Sequence[Note]) -> None:
        """Put the notes of a ledger, with those of others that wait, or let them wait."""
        if self._path == "":
            return
        with self._lock:
            self._late += [(ledger, note) for note in notes]
            self._unchecked += sum(NOTE_BYTES + len(note.frame) for note in notes)
        if self._unchecked > UNCHECKED_BYTES or any(note.is_due for note in notes):
            self.use(self._put_all)
        elif not self._has_late.is_set():
            self._has_late.set()
            if self._thread is None:
                self._thread = Thread(target=self._put_late, name="notes", daemon=True)
                self._thread.start()

    def _put_late(self) -> None:
        while self._has_late.wait() and self._path != "":
            time.sleep(LATE_SECONDS)
            self._has_late.clear()
            self.use(self._put_all)
            if self._late:  # somebody else wrote
                self._has_late.set()

    def _put_all(self, connection: sqlite3.Connection) -> None:
        """Put all that waits."""
        if not self._late:
            return
        now = time.time()
        rows = [
            (
                ledger,
                now,
                note.server,
                json.dumps(note.fields),
                note.frame,
                NOTE_BYTES + len(note.frame),
            )
            for ledger, note in self._late
        ]
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            connection.executemany(_PUT, rows)
            if self._unchecked > UNCHECKED_BYTES:
                self._unchecked = 0
                connection.execute(_DROP, (now - RESULT_SECONDS, RESULT_BYTES))
        self._late.clear()

    def read_counter(self) -> bytes:
        """Read the number of changes, which is in its head (sqlite.org/fileformat.html, 1.3.7)."""
        return os.pread(self._counter, 4, 24)

    def close(self) -> None:
        """Leave it; the client's last process removes the file."""
        with self._lock:
            self._leave()

    def use(
        self, work: Callable[[sqlite3.Connection], list[Note] | None], *, creates: bool = True
    ) -> list[Note] | None:
        """Work on the file; None if that fails, or there is none."""
        with self._lock:
            try:
                connection = self._connection or self._open(creates=creates)
                return None if connection is None else work(connection)
            except _FAILURES as error:
                self._lose(error)
        return None

    def _open(self, *, creates: bool) -> sqlite3.Connection | None:
        """Enter the client's folder, and open the file if there is one."""
        if self._path is None:
            client = self._find_client()
            self._path = client and client_folder(client)
            if self._path:
                self._folder = enter(self._path)
                remove_abandoned(os.path.dirname(self._path))
        path = os.path.join(self._path, FILE)
        if not self._path or not (creates or os.path.exists(path)):
            return None
        if self._counter < 0:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
            self._counter = os.open(path, flags, 0o600)
        connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA synchronous = OFF")  # nobody reads it after a power cut
        # In memory, for a third of the time. Not SQLite's log: another process can cut its index,
        # which is mapped memory, short. Whoever is killed within 20 µs may leave a damaged file.
        connection.execute("PRAGMA journal_mode = MEMORY")
        connection.execute(_TABLE)
        self._connection = connection
        return connection

    def _lose(self, error: Exception) -> None:
        """Leave the file for good, unless somebody else only writes to it."""
        is_busy = getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_BUSY
        if is_busy and self._unchecked < RESULT_BYTES:
            return
        note = f"flows are followed in this run alone: {error}"
        self._tell(Finding(UNSHARED, "envelope", action=Action.WARN, note=note))
        self._leave()

    def _leave(self) -> None:
        """Leave the file for good; under the lock."""
        path, self._path = self._path, ""
        self._late.clear()
        self._has_late.set()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._counter >= 0:
            os.close(self._counter)  # not before: it takes the locks of the connection with it
            self._counter = -1
        if path and self._folder >= 0:
            leave(path, self._folder)
