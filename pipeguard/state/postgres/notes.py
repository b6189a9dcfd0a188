"""Notes that the ledgers of one client have for each other at all replicas: sealed rows.

An urgent note is stored at once, with all that comes in the same round: one INSERT. Calls that need
notes read together, too: one SELECT. A note that is not urgent waits for the next INSERT, or a
second. If the database is away, each replica goes on with what it knows.
"""

from __future__ import annotations

import json
import os
import zlib
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any

from pipeguard.detect.flows.ledger import RESULT_BYTES, RESULT_SECONDS
from pipeguard.firewall.session.memory import Note
from pipeguard.transports.judging import RemoteMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from pipeguard.state.postgres.database import PostgresStore
    from pipeguard.state.postgres.link import Link

WAITING_BYTES = 4 * RESULT_BYTES  # of notes that wait for a database that is away
LAZY_SECONDS = 1.0  # that notes wait if nothing is urgent
TIDY_SECONDS = 60.0
QUICK = 1  # zlib's least level: another replica reads a result once

_PUT = """INSERT INTO notes (client, ledger, body)
    SELECT * FROM unnest(?::bytea[], ?::text[], ?::bytea[])"""
# What is not committed yet is of no older transaction than the oldest one that is open.
_READ = """SELECT pg_snapshot_xmin(pg_current_snapshot())::text, asked.at, new.id, new.xid::text,
        new.body, new.age
    FROM unnest(?::bytea[], ?::text[], ?::text[]) WITH ORDINALITY
        AS asked (client, ledger, seen, at)
    LEFT JOIN LATERAL (
        SELECT id, xid, body, sum(octet_length(body)) OVER (ORDER BY id DESC) AS bytes,
            extract(epoch FROM clock_timestamp() - made)::double precision AS age
        FROM notes WHERE notes.client = asked.client AND notes.xid >= asked.seen::xid8
            AND notes.ledger <> asked.ledger
    ) AS new ON new.bytes <= ?
    ORDER BY new.id DESC"""
_TIDY = """DELETE FROM notes WHERE made < now() - make_interval(secs => ?) OR id IN (
    SELECT id FROM (
        SELECT id, sum(octet_length(body)) OVER (PARTITION BY client ORDER BY id DESC) AS bytes
        FROM notes
    ) AS sized WHERE bytes > ?)"""


class FleetMemory(RemoteMemory):
    """The notes of one client's ledgers, as one of them sees them.

    Args:
        fleet: of all clients.
        client: the digest of its name.

    Attributes:
        client: the same.
        ledger: names the ledger.
        seen: all notes of older transactions were read.
        read: the ids of other notes that were read.
    """

    is_remote = True
    latest: tuple[Future[None]] | None = None  # a new one each time, also within a round

    def __init__(self, fleet: FleetNotes, client: bytes) -> None:
        self._fleet = fleet
        self.client, self.ledger = client, os.urandom(8).hex()
        self.seen = "0"
        self.read = frozenset[int]()
        self._new = deque[Note]()

    def put(self, notes: Sequence[Note]) -> None:
        """Put notes, which are stored a little later."""
        rows = [(self.client, self.ledger, self._seal(note)) for note in notes]
        stored = self._fleet.put(rows, is_urgent=any(note.is_urgent for note in notes))
        if stored is not None:
            self.latest = (stored,)

    def read_new(self) -> list[Note]:
        """Take what was fetched, the oldest first."""
        return [self._new.popleft() for _ in range(len(self._new))]

    async def fetch(self) -> None:
        """Wait until `read_new` has what the others have put; not for long."""
        if not self._fleet.link.is_away:
            await self._fleet.link.settle(self._fleet.ask(self))

    async def settle(self) -> None:
        """Wait until what was put is stored; not for long."""
        if self.latest is not None:
            await self._fleet.link.settle(*self.latest)

    def take(self, rows: list[tuple[int, int, bytes, float]], seen: int) -> None:
        """Take what a SELECT found, the newest first; what is more than ledgers keep is dropped.

        Args:
            rows: the id, transaction, body and age of each note.
            seen: the oldest transaction that was open.
        """
        notes: list[Note] = []
        left = RESULT_BYTES
        for number, _, body, age in rows:
            if number in self.read or left < 0:
                continue
            text = self._open(body)
            left -= len(text)
            if text:
                head, _, frame = text.partition(b"\n")
                server, *fields = json.loads(head)
                notes.insert(0, Note(server, fields, frame, age))
        self._new.extend(notes)
        self.read = frozenset(number for number, xid, _, _ in rows if xid >= seen)
        self.seen = str(seen)

    def _seal(self, note: Note) -> bytes:
        text = json.dumps([note.server, *note.fields]).encode() + b"\n" + note.frame
        return self._fleet.link.keys.seal(zlib.compress(text, QUICK), self.client)

    def _open(self, body: bytes) -> bytes:
        text = self._fleet.link.keys.open(body, self.client)
        if text is None:
            self._fleet.tell_sealed()
            return b""
        return zlib.decompress(text)


@dataclass(slots=True)
class _Round:
    """Work that the link does at once, and its outcome; None until it is asked for."""

    rows: list[tuple[bytes, str, bytes]] = field(default_factory=list)
    readers: dict[FleetMemory, None] = field(default_factory=dict)
    size: int = 0
    done: Future[None] | None = None


class FleetNotes:
    """The notes of all clients. Safe for any thread.

    Args:
        link: to the store that replicas share.
        tell: takes a line about it, for people.
    """

    def __init__(self, link: Link, tell: Callable[[str], object]) -> None:
        self.link = link
        self._tell = tell
        self._lock = Lock()
        self._putting, self._reading = _Round(), _Round()
        self._is_told = False
        self._tidied_at = self._put_at = monotonic()
        link.chores.append(self._do_chores)

    def find_memory(self, token: str, session_id: str) -> FleetMemory:
        """The memory of a token or subject, else of a session, else of all clients without."""
        name = f"token\0{token}" if token else f"session\0{session_id}"
        return FleetMemory(self, sha256(name.encode("utf-8", "surrogateescape")).digest())

    def put(
        self, rows: Sequence[tuple[bytes, str, bytes]], *, is_urgent: bool
    ) -> Future[None] | None:
        """Put rows; the outcome if they are urgent. Of too many, the oldest are dropped."""
        with self._lock:
            current = self._putting
            current.rows += rows
            current.size += sum(len(body) for _, _, body in rows)
            while current.size > WAITING_BYTES:
                current.size -= len(current.rows.pop(0)[2])
            return self._begin_putting() if is_urgent else None

    def ask(self, reader: FleetMemory) -> Future[None]:
        """Fetch what is new to a memory."""
        with self._lock:
            current = self._reading
            current.readers[reader] = None
            if current.done is None or current.done.done():
                current.done = self.link.do(partial(self._read, current), is_kept=False)
            return current.done

    def tell_sealed(self) -> None:
        """Report once that a note does not open."""
        if not self._is_told:
            self._is_told = True
            self._tell("notes in the shared store do not open: replicas have other secret files")

    def _begin_putting(self) -> Future[None]:
        """Let the link store what waits; under the lock."""
        current = self._putting
        if current.done is None or current.done.done():
            current.done = self.link.do(partial(self._put, current))
        return current.done

    # --- in the link's thread ---

    def _put(self, current: _Round, store: PostgresStore) -> None:
        with self._lock:
            if self._putting is current:  # what comes from now on is of the next round
                self._putting = _Round()
        self._put_at = monotonic()
        store.write(_PUT, *map(list, zip(*current.rows, strict=True)))

    def _read(self, current: _Round, store: PostgresStore) -> None:
        with self._lock:
            if self._reading is current:
                self._reading = _Round()
        readers = [*current.readers]
        asked = zip(*((each.client, each.ledger, each.seen) for each in readers), strict=True)
        rows: list[Any] = store.read(_READ, *map(list, asked), 2 * RESULT_BYTES)
        found: list[list[tuple[int, int, bytes, float]]] = [[] for _ in readers]
        for _, at, number, xid, body, age in rows:
            if number is not None:
                found[at - 1].append((number, int(xid), bytes(body), age))
        for reader, new in zip(readers, found, strict=True):
            reader.take(new, int(rows[0][0]))

    def _do_chores(self, store: PostgresStore) -> None:
        """Store what has waited for long enough, and drop what no ledger would keep."""
        now = monotonic()
        with self._lock:
            if self._putting.rows and now > self._put_at + LAZY_SECONDS:
                self._begin_putting()
        if now > self._tidied_at + TIDY_SECONDS:
            self._tidied_at = now
            store.write(_TIDY, RESULT_SECONDS, RESULT_BYTES)
