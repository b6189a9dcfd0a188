"""The notes of one client's ledgers: the file that they share.

It has a head and two areas. The head says which area has the notes, and where the last one ends.
Whoever puts notes writes them behind the last one, and then the head: nobody reads what a process
that was killed has half written. From a full area, each server's newest move to the other one.
"""

from __future__ import annotations

import json
import os
import struct
import time
from collections import Counter
from threading import Lock
from typing import TYPE_CHECKING
from zlib import crc32

from pipeguard.config.atomic_write import lock_file, open_file
from pipeguard.detect.flows.ledger import RESULT_BYTES
from pipeguard.errors import StateError
from pipeguard.firewall.finding import Action, Finding
from pipeguard.firewall.session.memory import ClientMemory, Note
from pipeguard.launch.feeders import find_client
from pipeguard.records import NamedTuple
from pipeguard.state.audit import UNSHARED
from pipeguard.state.client_file import (
    GATE,
    client_path,
    enter,
    leave,
    must_leave_room,
    remove_abandoned,
)
from pipeguard.transports.recently_used import RecentlyUsed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BUSY_SECONDS = 2.0  # while others write, which takes each of them microseconds
PAUSE_SECONDS = 0.0002
MOST_FILES = 128  # of clients without a session; an open file takes two descriptors
NOTE_BYTES = 4096  # for which a note counts, with its frame: a page or two
AREA_BYTES = 3 * RESULT_BYTES  # of notes that are kept, and new ones
AREA_NOTES = 4096  # that are put until all move, if the area does not get full before
# How often the notes have moved; where the last one ends; its number.
_HEAD = struct.Struct("=qqq")
_EMPTY = _HEAD.pack(0, _HEAD.size, 0)
_LINES = 7  # of a note
# Whatever a file may have in it, another process of this user may have written.
_FAILURES = (
    *(OSError, ValueError, TypeError, ArithmeticError, RecursionError, struct.error),
    StateError,
)


class _StoredNote(NamedTuple):
    """A note in the file: a line for each of its fields, after one with their checksum.

    Attributes:
        number: greater than that of each earlier note.
        since: when it was put, in seconds since 1970.
        ledger: that put it.
        server: that it is about.
        fields: what only ledgers read, as JSON.
        frame: a whole answer or request.
    """

    number: int
    since: float
    ledger: bytes
    server: bytes
    fields: bytes
    frame: bytes

    def pack(self) -> bytes:
        """Write it."""
        lines = b"%d\n%f\n%b\n%b\n%b\n%b\n" % self
        return b"%d\n%b" % (crc32(lines), lines)


class StoredNotes:
    """The notes of one client's ledgers, as one of them sees them (`ClientMemory`).

    Args:
        file: that has them.

    Attributes:
        name: of the ledger.
        seen: the head of the file, as of the last look.
    """

    is_remote = False

    def __init__(self, file: NotesFile) -> None:
        self._file = file
        self.name = os.urandom(8).hex().encode()
        self.seen = _EMPTY

    def put(self, notes: Sequence[Note]) -> None:
        """Put notes, which the others can read at once."""
        self._file.use(self, notes)

    def read_new(self) -> list[Note]:
        """Read what the others have put since the last time, the oldest first."""
        return self._file.use(self)


class ClientNotes:
    """The memories of this process that others share, by client.

    Args:
        tell: takes a finding if that fails.
        is_used: False if there are none.

    Attributes:
        is_used: the same.
    """

    def __init__(self, tell: Callable[[Finding], object], *, is_used: bool = True) -> None:
        self._tell, self.is_used = tell, is_used
        self._files = RecentlyUsed[NotesFile](MOST_FILES)

    def of_process(self, _token: str = "", _session: str = "") -> ClientMemory | None:
        """The memory of the process that started this one."""
        return self._open("", find_client)

    def of_token(self, token: str, _session: str = "") -> ClientMemory | None:
        """The memory of one token; None without a token."""
        return self._open(token, lambda: f"token {token}") if token and os.name == "posix" else None

    def _open(self, name: str, find: Callable[[], str]) -> ClientMemory | None:
        if not self.is_used:
            return None
        return StoredNotes(self._files.find(name, lambda: NotesFile(find, self._tell)))

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
        self._file = self._gate = -1

    def use(self, ledger: StoredNotes, notes: Sequence[Note] = ()) -> list[Note]:
        """Put notes of a ledger; without any, read those that are new to it."""
        with self._lock:
            try:
                if self._path is None:
                    self._open()
                if self._path and (notes or self._read_head() != ledger.seen):
                    return self._exchange(ledger, notes)
            except _FAILURES as error:
                note = f"flows are followed in this run alone: {error}"
                self._tell(Finding(UNSHARED, "envelope", action=Action.WARN, note=note))
                self._leave()
        return []

    def _open(self) -> None:
        client = self._find_client()
        self._path = client and client_path(client)
        if client:
            self._file = enter(self._path)
            self._gate = open_file(self._path + GATE)
            must_leave_room(self._gate)
            remove_abandoned(os.path.dirname(self._path))

    def close(self) -> None:
        """Leave it; the client's last process removes the file."""
        with self._lock:
            self._leave()

    __del__ = close

    def _leave(self) -> None:
        """Leave it for good; under the lock."""
        if self._path and self._file >= 0:
            leave(self._path, self._file)
        if self._gate >= 0:
            os.close(self._gate)
        self._file = self._gate = -1
        self._path = ""

    def _read_head(self) -> bytes:
        return os.pread(self._file, _HEAD.size, 0) or _EMPTY

    def _exchange(self, ledger: StoredNotes, notes: Sequence[Note]) -> list[Note]:
        """Put notes or read them, while no other process does."""
        import fcntl

        end = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                lock_file(self._gate, waits=False)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise
                time.sleep(PAUSE_SECONDS)
        try:
            head = self._read_head()
            if _HEAD.unpack(head)[-1] < _HEAD.unpack(ledger.seen)[-1]:
                raise StateError("notes are missing")
            if not notes:
                return self._read(ledger, head)
            self._append(ledger, head, notes)
        finally:
            fcntl.flock(self._gate, fcntl.LOCK_UN)
        return []

    def _append(self, ledger: StoredNotes, head: bytes, notes: Sequence[Note]) -> None:
        """Put notes behind the others; if there is no room, move the newest with them."""
        moves, end, last = _HEAD.unpack(head)
        new = [
            _StoredNote(
                number,
                time.time(),
                ledger.name,
                note.server.encode().replace(b"\n", b" "),
                json.dumps(note.fields).encode(),
                note.frame.replace(b"\n", b" "),
            )
            for number, note in enumerate(notes, last + 1)
        ]
        data = b"".join(note.pack() for note in new)
        number = last + len(new)
        start = _find_area(moves)
        if end + len(data) > start + AREA_BYTES or last // AREA_NOTES < number // AREA_NOTES:
            kept = _choose_newest(self._load(start, end))
            data = b"".join(note.pack() for note in [*kept, *new])
            moves += 1
            end = _find_area(moves)
        new_head = _HEAD.pack(moves, end + len(data), number)
        for start, each in (end, data), (0, new_head):
            if os.pwrite(self._file, each, start) < len(each):
                raise StateError("the disk is full")
        if ledger.seen == head:
            ledger.seen = new_head

    def _read(self, ledger: StoredNotes, head: bytes) -> list[Note]:
        """Read what is new to a ledger."""
        moves, end, _ = _HEAD.unpack(head)
        last_moves, last_end, last = _HEAD.unpack(ledger.seen)
        stored = self._load(last_end if moves == last_moves else _find_area(moves), end)
        ledger.seen = head
        return [
            Note(
                note.server.decode(),
                json.loads(note.fields),
                note.frame,
                age_seconds=max(0.0, time.time() - note.since),
            )
            for note in stored
            if note.number > last and note.ledger != ledger.name
        ]

    def _load(self, start: int, end: int) -> list[_StoredNote]:
        size = end - start
        data = os.pread(self._file, size, start) if size <= AREA_BYTES else b""
        lines = data.split(b"\n")
        stored = []
        for line in range(0, len(lines) - 1, _LINES):
            checksum, *fields = lines[line : line + _LINES]
            if crc32(b"\n".join((*fields, b""))) != int(checksum):
                size = -1
            number, since, *texts = fields
            stored.append(_StoredNote(int(number), float(since), *texts))
        if len(data) != size:
            raise StateError("notes are damaged")
        return stored


def _find_area(moves: int) -> int:
    return _HEAD.size + moves % 2 * AREA_BYTES


def _choose_newest(stored: list[_StoredNote]) -> list[_StoredNote]:
    """Drop the notes over the bounds.

    Each server keeps its newest ones, and none loses any to another that has more.
    """
    own = Counter[bytes]()
    ranked = []
    for note in reversed(stored):
        size = NOTE_BYTES + sum(map(len, note[3:]))
        own[note.server] += size
        ranked.append((own[note.server], note, size))
    total, chosen = 0, []
    for _, note, size in sorted(ranked):
        total += size
        if total <= RESULT_BYTES:
            chosen.append(note)
    return sorted(chosen)
