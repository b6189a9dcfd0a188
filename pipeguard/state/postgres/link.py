"""A replica's link to the others: a thread that reads and writes what they share.

Nothing waits for it on an event loop but `settle`, and that for a second at most: then the replica
goes on with what it knows. A round is a few statements, however many calls wait for it.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg

from pipeguard.errors import StateError
from pipeguard.records import NamedTuple
from pipeguard.state.paths import outbox_file
from pipeguard.state.postgres.database import UNWRITABLE, PostgresStore
from pipeguard.state.postgres.shared_key import read_shared_key
from pipeguard.state.postgres.shipping import Shipping
from pipeguard.state.timestamps import now_text, parse_moment
from pipeguard.state.tokens import (
    SharedTokens,
    StoredToken,
    are_required,
    revoked_subjects,
    stored_tokens,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeguard.firewall.pins.fingerprint import Pin
    from pipeguard.state.shared import Keys

T = TypeVar("T")

SESSION_SECONDS = 10.0  # for which a session's end is shared; each replica looks once a second
POLL_SECONDS = 0.5  # between two looks at the number of changes
GROUP_SECONDS = 0.002  # in which the jobs of one round come together
WAIT_SECONDS = 1.0  # that a call waits for the database
RETRY_SECONDS = 0.5
MOST_JOBS = 10_000  # that wait for the database
MOST_BYTES = 32 * 2**20  # of their texts: two of the largest frames
MOST_TRIES = 3  # of one job, each by a database that answered before


_NEW_SESSIONS = "SELECT digest, home FROM sessions WHERE made > now() - ? * interval '1 second'"


class SharedState(NamedTuple):
    """The decisions that replicas keep in memory, as of the last change.

    Attributes:
        number: of the changes so far.
        tokens: of the gateway's clients.
        are_required: whether clients need one.
        grants: the marks of calls that a person allowed.
        refused: the events of waiting calls that a person refused.
        sessions: the homes of sessions that just ended (""), or just got one.
        revoked: since when the sign-ins of subjects no longer hold.
        pins: of each server that this replica has.
    """

    number: int = 0
    tokens: tuple[StoredToken, ...] = ()
    are_required: bool = False
    grants: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    sessions: Mapping[bytes, str] = {}
    revoked: Mapping[str, str] = {}
    pins: Mapping[str, Mapping[tuple[str, str], Pin]] = {}


class Link:
    """One replica's link. Its methods are safe for any thread.

    Args:
        address: of the database.
        keys: that seal for it.
        outage_seconds: for which the replica goes on without the database.
        tell: takes a line about the database, for people.

    Attributes:
        keys: the same.
        outage_seconds: the same.
        name: of the replica, until it ends.
        contents_key: of fingerprints, the one of all replicas.
        shared: as of the last look; replaced as a whole.
        chores: done in the link's thread after each look.
        is_away: True from the first wait in vain until the database answers again.
    """

    def __init__(
        self, address: str, keys: Keys, outage_seconds: float, tell: Callable[[str], None]
    ) -> None:
        self.keys = keys
        self.name = os.urandom(8).hex()
        self.contents_key = b""
        self.shared = SharedState()
        self.chores: list[Callable[[PostgresStore], object]] = []
        self.is_away = False
        self._address, self.outage_seconds, self._tell = address, outage_seconds, tell
        self._servers = set[str]()
        self._jobs: deque[_Job] = deque()
        self._length = 0  # of the texts in them
        self._lock, self._wake = threading.Lock(), threading.Event()
        self._heard_at = monotonic()
        self._polled_at = monotonic()
        self._is_closing = self._is_closed = self._is_told = False
        self._store: PostgresStore | None = None
        self._shipping: Shipping | None = None
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)

    def begin(self) -> None:
        """Connect, read what is shared, and follow it from now on.

        Raises:
            StateError: the database cannot be used.
        """
        store = self._open()
        try:
            self._poll(store)
            self.contents_key = read_shared_key(store, self.keys)
        except BaseException:
            self._close_store()
            raise
        self._shipping = Shipping(outbox_file(), self._address, self._tell)
        self._shipping.begin()
        self._thread.start()

    def close(self) -> None:
        """Do what waits, if the database answers within a second, and end; the rest fails."""
        self._is_closing = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(WAIT_SECONDS)
        with self._lock:
            self._is_closed = True
        self._fail_jobs(StateError("the link to the shared store was closed"))
        if self._shipping is not None:
            self._shipping.close()

    def why_out(self) -> str:
        """Explain why calls are refused; empty unless the database was away for too long."""
        seconds = monotonic() - self._heard_at
        if seconds < self.outage_seconds:
            return ""
        return f"the shared store has not answered for {seconds:.0f} s"

    def follow(self, server: str) -> None:
        """Keep the pins of a server in `shared`."""
        with self._lock:
            self._servers.add(server)

    def read_tokens(self) -> SharedTokens:
        """The tokens as of the last look, whether clients need one, and the revoked subjects."""
        return self.shared.tokens, self.shared.are_required, self.shared.revoked

    def do(
        self, work: Callable[[PostgresStore], T], *, is_kept: bool = True, length: int = 0
    ) -> Future[T]:
        """Do work in the link's thread, in the order in which it came.

        If the connection is lost meanwhile, nobody knows whether the work was committed: it is
        done again. So it inserts with `ON CONFLICT`, or sets what it would set again. Work that
        fails by itself is not repeated, and stops no other.

        Args:
            work: to do in one transaction.
            is_kept: whether it waits for a database that is away; else it fails.
            length: of the texts in it, in bytes.
        """
        done = Future[T]()
        with self._lock:
            is_full = len(self._jobs) >= MOST_JOBS or self._length + length > MOST_BYTES
            if not (is_full or self._is_closed):
                self._jobs.append(_Job(work, done, is_kept, length))
                self._length += length
                self._wake.set()
                return done
        done.set_exception(StateError("too much waits for the shared store"))
        return done

    def run_now(self, work: Callable[[PostgresStore], T]) -> T:
        """Do work, and wait for it: for a second at most, and not at all while it is away.

        Raises:
            StateError: the database does not answer; the work is not done later.
        """
        done = self.do(work, is_kept=False)
        try:
            return done.result(0 if self.is_away else WAIT_SECONDS)
        except TimeoutError:
            self.is_away = True
            done.cancel()
            raise StateError("the shared store does not answer") from None

    async def settle(self, done: Future[T]) -> T | None:
        """Wait for work, for a second at most; None if it failed, or the database is away."""
        if not (done.done() or self.is_away):
            waiting = asyncio.wrap_future(done)
            waiting.add_done_callback(has_failed)
            finished, _ = await asyncio.wait({waiting}, timeout=WAIT_SECONDS)
            if not finished:
                self.is_away = True
        return done.result() if done.done() and not has_failed(done) else None

    # --- in the thread ---

    def _run(self) -> None:
        is_last = False
        while not is_last:
            self._wake.wait(max(0.0, self._polled_at + POLL_SECONDS - monotonic()))
            is_last = self._is_closing
            self._wake.clear()
            sleep(GROUP_SECONDS)
            try:
                self._round()
            except Exception as error:  # noqa: BLE001  whatever it is, the next round is tried
                self._leave(error)
                if not is_last:
                    sleep(RETRY_SECONDS)
        self._close_store()

    def _round(self) -> None:
        for job in self._waiting():
            self._attempt(job)
            self._drop(job)
        if monotonic() - self._polled_at >= POLL_SECONDS:
            self._poll(self._open())
        self.is_away = False
        if self._is_told:
            self._is_told = False
            self._tell("the shared store answers again")

    def _attempt(self, job: _Job) -> None:
        """Do a job.

        Raises:
            StateError: the database is to blame, and the job can be done again.
        """
        if job.done.cancelled():
            return
        store = self._open()
        job.tries += 1
        try:
            with store.batch():
                value = job.work(store)
        except Exception as error:
            is_unwritable = isinstance(error.__cause__, UNWRITABLE)  # whatever the job is
            if is_about_database(error) and (is_unwritable or job.tries < MOST_TRIES):
                raise
            _end(job.done, error)
        else:
            _end(job.done, None, value)
            self._heard_at = monotonic()

    def _leave(self, error: Exception) -> None:
        self._close_store()
        self.is_away = True
        if not self._is_told:
            self._is_told = True
            self._tell(f"{error} PipeGuard goes on with what it knows.")
        self._fail_jobs(error, are_kept=True)

    def _fail_jobs(self, error: Exception, *, are_kept: bool = False) -> None:
        """Fail what waits, or only what does not wait for a database that is away."""
        for job in self._waiting():
            if not (are_kept and job.is_kept):
                self._drop(job)
                _end(job.done, error)

    def _waiting(self) -> tuple[_Job, ...]:
        with self._lock:
            return tuple(self._jobs)

    def _drop(self, job: _Job) -> None:
        with self._lock, suppress(ValueError):  # one that was dropped by `close`
            self._jobs.remove(job)
            self._length -= job.length

    def _open(self) -> PostgresStore:
        if self._store is None:
            self._store = PostgresStore(self._address)
        elif not self._store.is_in_place():
            self._store = self._store.reopen()
        self._store.check_writable()
        return self._store

    def _close_store(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _poll(self, store: PostgresStore) -> None:
        """Read what is shared, if it has changed or a server has come."""
        with self._lock:
            servers = frozenset(self._servers)
        number = store.change_counter()
        seconds = monotonic() - self._polled_at + SESSION_SECONDS
        sessions = dict(store.read(_NEW_SESSIONS, seconds))
        if number != self.shared.number or servers != self.shared.pins.keys():
            self.shared = SharedState(
                number,
                tuple(stored_tokens(store)),
                are_required(store),
                frozenset(
                    mark
                    for (mark,) in store.read(
                        "SELECT mark FROM grants WHERE expires > ?", now_text()
                    )
                ),
                frozenset(
                    key
                    for (key,) in store.read(
                        "SELECT key FROM dismissals WHERE made >= ?", parse_moment("1d")
                    )
                ),
                sessions,
                revoked_subjects(store),
                {server: store.pins(server) for server in servers},
            )
        else:
            self.shared = self.shared._replace(sessions=sessions)
        for chore in self.chores:
            chore(store)
        self._polled_at = self._heard_at = monotonic()


@dataclass(slots=True, eq=False)
class _Job:
    work: Callable[[PostgresStore], Any]
    done: Future[Any]
    is_kept: bool
    length: int
    tries: int = 0


def is_about_database(error: Exception) -> bool:
    """True if the database is to blame and not the work, so that it can be done again."""
    cause = error.__cause__
    if not isinstance(error, StateError) or isinstance(cause, psycopg.errors.ProgramLimitExceeded):
        return False
    return isinstance(cause, (psycopg.OperationalError, psycopg.InterfaceError, *UNWRITABLE))


def _end(done: Future[Any], error: Exception | None, value: object = None) -> None:
    """Set the outcome of work, unless nobody waits for it any longer."""
    with suppress(InvalidStateError):
        if error is None:
            done.set_result(value)
        else:
            done.set_exception(error)


def has_failed(done: asyncio.Future[Any] | Future[Any]) -> bool:
    """True if work failed or was given up; asyncio reports errors that nobody looked at."""
    return done.cancelled() or done.exception() is not None
