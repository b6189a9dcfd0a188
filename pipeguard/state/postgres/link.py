"""A replica's link to the others: a thread that reads and writes what they share.

Nothing waits for it on an event loop but `settle`, and that for a second at most: then the replica
goes on with what it knows. A round is a few statements, however many calls wait for it.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, TypeVar

from pipeguard.errors import StateError
from pipeguard.records import NamedTuple
from pipeguard.state.postgres.database import PostgresStore
from pipeguard.state.timestamps import now_text
from pipeguard.state.tokens import StoredToken, are_required, stored_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeguard.firewall.pins.fingerprint import Pin
    from pipeguard.state.shared import Keys

T = TypeVar("T")

POLL_SECONDS = 0.5  # between two looks at the number of changes
GROUP_SECONDS = 0.002  # in which the jobs of one round come together
WAIT_SECONDS = 1.0  # that a call waits for the database
RETRY_SECONDS = 0.5
MOST_JOBS = 10_000  # that wait for the database


class SharedState(NamedTuple):
    """The decisions that replicas keep in memory, as of the last change.

    Attributes:
        number: of the changes so far.
        tokens: of the gateway's clients.
        are_required: whether clients need one.
        grants: the marks of calls that a person allowed.
        sessions: the homes of sessions that ended (""), or that one replica goes on with.
        revoked: since when the sign-ins of subjects no longer hold.
        pins: of each server that this replica has.
    """

    number: int = 0
    tokens: tuple[StoredToken, ...] = ()
    are_required: bool = False
    grants: frozenset[str] = frozenset()
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
        shared: as of the last look; replaced as a whole.
        is_away: True from the first wait in vain until the database answers again.
    """

    def __init__(
        self, address: str, keys: Keys, outage_seconds: float, tell: Callable[[str], None]
    ) -> None:
        self.keys = keys
        self.shared = SharedState()
        self.is_away = False
        self._address, self.outage_seconds, self._tell = address, outage_seconds, tell
        self._servers: dict[str, Callable[[], object]] = {}
        self._jobs: list[_Job] = []
        self._lock, self._wake = threading.Lock(), threading.Event()
        self._heard_at = monotonic()
        self._polled_at = float("-inf")
        self._is_closing = False
        self._store: PostgresStore | None = None
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)

    def begin(self) -> None:
        """Connect, read what is shared, and follow it from now on.

        Raises:
            StateError: the database cannot be used.
        """
        self._poll(self._open())
        self._thread.start()

    def close(self) -> None:
        """Do what waits, if the database answers, and end."""
        self._is_closing = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(WAIT_SECONDS)

    def why_out(self) -> str:
        """Explain why calls are refused; empty unless the database was away for too long."""
        seconds = monotonic() - self._heard_at
        if seconds < self.outage_seconds:
            return ""
        return f"the shared store has not answered for {seconds / 60:.0f} minutes"

    def follow(self, server: str, changed: Callable[[], object]) -> None:
        """Keep the pins of a server in `shared`; `changed` is called in the link's thread."""
        with self._lock:
            self._servers[server] = changed

    def do(self, work: Callable[[PostgresStore], T], *, is_kept: bool = True) -> Future[T]:
        """Do work in the link's thread, in the order in which it came.

        Args:
            work: to do in one transaction; may be repeated if the connection is lost.
            is_kept: whether it waits for a database that is away; else it fails.
        """
        done = Future[T]()

        def run(store: PostgresStore) -> None:
            value = work(store)
            if not done.done():
                done.set_result(value)

        with self._lock:
            if len(self._jobs) >= MOST_JOBS:
                done.set_exception(StateError("too much waits for the shared store"))
                return done
            self._jobs.append(_Job(run, done, is_kept))
        self._wake.set()
        return done

    async def settle(self, done: Future[T]) -> T | None:
        """Wait for work, for a second at most; None if the database is away."""
        if done.done():
            return None if done.exception() else done.result()
        if self.is_away:
            return None
        finished, _ = await asyncio.wait({asyncio.wrap_future(done)}, timeout=WAIT_SECONDS)
        if not finished:
            self.is_away = True
        return done.result() if finished and not done.exception() else None

    # --- in the thread ---

    def _run(self) -> None:
        while True:
            self._wake.wait(POLL_SECONDS)
            is_last = self._is_closing
            self._wake.clear()
            sleep(GROUP_SECONDS)
            try:
                self._round()
            except StateError as error:
                self._leave(error)
                sleep(RETRY_SECONDS)
            if is_last:
                break
        self._close_store()

    def _round(self) -> None:
        store = self._open()
        with self._lock:
            jobs, self._jobs = self._jobs, []
        try:
            while jobs:
                with store.transaction():
                    jobs[0].run(store)
                del jobs[0]
            if monotonic() - self._polled_at >= POLL_SECONDS:
                self._poll(store)
        finally:
            with self._lock:
                self._jobs[:0] = jobs
        self._heard_at = monotonic()
        if self.is_away:
            self.is_away = False
            self._tell("the shared store answers again")

    def _leave(self, error: StateError) -> None:
        self._close_store()
        if not self.is_away:
            self.is_away = True
            self._tell(f"{error} PipeGuard goes on with what it knows.")
        with self._lock:
            failed = [job for job in self._jobs if not job.is_kept]
            self._jobs = [job for job in self._jobs if job.is_kept]
        for job in failed:
            job.done.set_exception(error)

    def _open(self) -> PostgresStore:
        if self._store is None:
            self._store = PostgresStore(self._address)
        elif not self._store.is_in_place():
            self._store = self._store.reopen()
        return self._store

    def _close_store(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _poll(self, store: PostgresStore) -> None:
        """Read what is shared, if it has changed or a server has come."""
        with self._lock:
            servers = dict(self._servers)
        number = store.change_counter()
        if number != self.shared.number or servers.keys() != self.shared.pins.keys():
            before = self.shared.pins
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
                dict(store.read("SELECT digest, home FROM sessions")),
                dict(store.read("SELECT subject, before FROM revoked")),
                {server: store.pins(server) for server in servers},
            )
            for server, changed in servers.items():
                if self.shared.pins[server] != before.get(server):
                    changed()
        self._polled_at = monotonic()


class _Job(NamedTuple):
    run: Callable[[PostgresStore], None]
    done: Future[Any]
    is_kept: bool
