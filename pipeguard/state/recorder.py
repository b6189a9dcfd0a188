"""Takes verdicts from the pump and writes them behind it: audit, pins, log; and records.

Knows when and in which order they are written, not their meaning, nor how the pump runs.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Protocol
from weakref import WeakValueDictionary

from pipeguard.errors import StateError
from pipeguard.firewall.finding import Action, Direction, Finding, Verdict
from pipeguard.state.contents_key import KeyedHash, contents_key
from pipeguard.state.database import is_about_a_row
from pipeguard.state.missing import MissingVerdicts, remove_note, write_note
from pipeguard.state.paths import outbox_file
from pipeguard.state.replica import REPLICA
from pipeguard.state.schema import MAX_NAME_CHARS
from pipeguard.state.timestamps import exact_now_text
from pipeguard.state.verdict_writer import CONNECTION, OpenStore, PendingVerdict, VerdictWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pipeguard.state.finding_log import FindingLog
    from pipeguard.state.verdict_writer import EndedConnection, Pins

BATCH_SECONDS = 0.05  # between two writes: +1 us on a round trip; a write for each costs +12
WATCH_SECONDS = 0.5  # between two looks for approvals, which take effect within a second
BUSY_ROUNDS = 20  # rounds of BATCH_SECONDS after the last verdict; then one each WATCH_SECONDS
RETRY_SECONDS = 1.0  # after a write that failed
BATCH_ROWS = 1000  # in one transaction: about 20 ms
BACKLOG_ROWS = 10_000  # waiting to be written, a few MB; then `record` waits
BACKLOG_CHARS = 32 * 2**20  # of waiting definitions and findings: two of the largest frames
CLOSE_SECONDS = 10.0  # for the last write; a locked store answers after 5


class _Tape(Protocol):  # state.record.tape
    name: str
    end_reason: str
    is_over: bool

    def write(self) -> None: ...
    def fail(self) -> None: ...


class Recorder:
    """Writes one run's verdicts to the store, from a thread that all runs of the process share.

    It begins with the first verdict, or with `start`. `record` hands over and returns; only while
    `BACKLOG_ROWS` wait to be written does it wait for room, so that memory is bounded. While the
    store cannot be written, `healthy` is False and the log says so once. A verdict that finds no
    room then is counted and lost, and a row of the kind `gap` says how many. If the run ends before
    that, a file next to the store says it (`state.missing`). A single row that cannot be written is
    replaced by a `gap`. Nothing but `close` ends it.

    Args:
        store_path: the store; opened by the thread. A replica writes to its outbox instead.
        server: the server's name.
        run: the name of this run's chain in the audit; None to keep pins and no audit.
        log: gets findings and failures.
        pins: the pins that the Guard has; None if it starts with those in the store.
        on_pins: called in the thread with all pins of the server once another process has changed
            any. This run's latest pins may be missing from them.
        needs_review: definitions that another process pins at first sight wait for a person.

    Raises:
        StateError: the installation's key, with which frames are hashed, cannot be used.

    Attributes:
        client: the client's name and version, once they are known; goes into every row.
        token: the name of the client's bearer token; goes into every row.
        healthy: False while the store cannot be written; the policy decides how to proceed.
        missing: how many verdicts of this run will not be in the audit.
        is_closing: True from `close` on.
    """

    def __init__(
        self,
        store_path: Path | str,
        server: str,
        run: str | None,
        *,
        log: FindingLog,
        pins: Pins | None = None,
        on_pins: Callable[[Pins], None] | None = None,
        needs_review: bool = False,
    ) -> None:
        key = b"" if run is None else contents_key(str(store_path))
        link = REPLICA.link
        if link is not None:
            store_path = outbox_file()
        self.client = self.token = ""
        self.healthy = True
        self.missing = 0
        self._hash = KeyedHash(key)
        self._log = log
        self._note = MissingVerdicts(run or "", server, 0, "", "", is_over=False)
        self._store_path = store_path
        self._on_pins = on_pins
        self._thread = _find_thread(store_path)
        self._writer = VerdictWriter(
            self._thread.opened, server, run=run, pins=pins, needs_review=needs_review, link=link
        )
        self._queue: deque[PendingVerdict] = deque()
        self._batch: list[PendingVerdict] = []
        self._tapes: list[_Tape] = []
        self._due = 0  # of the queue, in this round
        self._chars = 0
        self._lost = 0
        self._room = threading.Condition()
        self.is_closing = self._has_begun = False
        self._ended = threading.Event()

    def record(self, verdict: Verdict) -> None:
        """Take a verdict; after `close` it is ignored."""
        pending = PendingVerdict(
            time.time(),
            self.client[:MAX_NAME_CHARS],
            verdict.direction,
            verdict.kind._value_ if verdict.kind is not None else "unreadable",
            _short(verdict.method),
            _short(verdict.tool),
            verdict.action,
            verdict.event,
            self._hash(verdict.frame),  # now, so that no frame is kept
            len(verdict.frame),
            verdict.findings,
            verdict.pins,
            self.token,
            verdict.request_bytes,
            verdict.answer_seconds,
        )
        self._take(pending)

    def notice(self, finding: Finding, event: str) -> None:
        """Take a finding that is about no single message, and the name of its event."""
        self._take_finding("notice", Direction.TO_CLIENT, finding, "", event)

    def refuse(self, finding: Finding, client: str, event: str) -> None:
        """Take a refusal that came before there was a message to judge.

        Args:
            finding: why.
            client: the client's address.
            event: the event's name.
        """
        self._take_finding("refusal", Direction.TO_SERVER, finding, client, event)

    def connect(self, connection: EndedConnection, event: str) -> None:
        """Take a connection of a sandboxed server to a host, or an attempt at one.

        Args:
            connection: with its outcome.
            event: the event's name; empty for one without a finding.
        """
        finding = connection.finding
        self._take(
            PendingVerdict(
                time.time(), "", Direction.TO_CLIENT, CONNECTION, _short(connection.target), None,
                Action.ALLOW if finding is None else finding.action, event, "",
                connection.bytes_received, () if finding is None else (finding,), (), "",
                connection.bytes_sent, connection.seconds,
            )
        )  # fmt: skip

    def _take_finding(
        self, kind: str, direction: Direction, finding: Finding, client: str, event: str
    ) -> None:
        self._take(
            PendingVerdict(
                time.time(), client[:MAX_NAME_CHARS], direction, kind, None, _short(finding.tool),
                finding.action, event, "", 0, (finding,), (),
            )
        )  # fmt: skip

    def _take(self, verdict: PendingVerdict) -> None:
        if not self._has_begun:
            self.start()
        is_large = verdict.pins or verdict.findings
        if (is_large or len(self._queue) >= BACKLOG_ROWS) and not self._make_room(verdict):
            return
        self._queue.append(verdict)
        if self._thread.is_idle and verdict.findings:
            self._thread.wake.set()

    def close(self) -> None:
        """Write all pending verdicts."""
        with self._room:
            self.is_closing = True
            self._room.notify_all()
        self._thread.wake.set()
        if self._has_begun:
            self._ended.wait(CLOSE_SECONDS)

    def attach(self, tape: _Tape) -> None:
        """Write a record in the same thread until it is over, and now."""
        if tape not in self._tapes:
            self._tapes.append(tape)
            self.start()
        self._thread.wake.set()

    def start(self) -> None:
        """Begin before the first verdict, to hear of approvals; may be called again."""
        with self._room:
            if not (self._has_begun or self.is_closing):
                self._thread.begin(self)
                self._has_begun = True

    def _make_room(self, verdict: PendingVerdict) -> bool:
        """Wait for room in the backlog; False if the verdict is lost for want of room."""
        chars = verdict.chars()
        with self._room:
            while self.healthy and not self.is_closing and self._is_full():
                self._thread.wake.set()
                self._room.wait()
            if self.is_closing or self._is_full():
                self._lost += 1
                self.missing += 1
                return False
            self._chars += chars
            return True

    def _is_full(self) -> bool:
        return len(self._queue) >= BACKLOG_ROWS or self._chars >= BACKLOG_CHARS

    # --- in the thread ---

    def begin_round(self) -> bool:
        """Begin to write the items that wait now; False if none do."""
        self._due = len(self._queue)
        return self._due > 0

    def fill_batch(self) -> bool:
        """Take the items to write next; False if this round is finished."""
        while self._due and len(self._batch) < BATCH_ROWS:
            self._due -= 1
            item = self._queue.popleft()
            self._batch.append(item)
            if item.findings:
                _describe_failure(partial(self._log_findings, item))
        return bool(self._batch or self._lost)

    def append_batch(self) -> bool:
        """Write the batch in a transaction that others share; False if it has more than rows."""
        return self._writer.append(self._batch, self._lost)

    def end_batch(self, failure: Exception | None, *, is_written: bool) -> bool:
        """Write the batch, unless it is or cannot be; False if it is not."""
        written = self._attempt(partial(self._write, is_written=is_written), "written", failure)
        if written and self._note.verdicts:
            remove_note(self._store_path, self._note.run)
            self._note = self._note._replace(verdicts=0)
        elif not written:
            self._write_note(is_over=False)
        self._report_pins()
        with self._room:
            self._room.notify_all()
        return written

    def write_tapes(self) -> None:
        """Write all records; they end with this recorder."""
        for tape in tuple(self._tapes):
            if self.is_closing:
                tape.end_reason = tape.end_reason or "closed"
            error = _describe_failure(tape.write)
            if error is not None:
                why = getattr(error, "strerror", None) or type(error).__name__
                self._log_line("error", "a record cannot be written", record=tape.name, why=why)
                tape.fail()
            if tape.is_over:
                self._tapes.remove(tape)

    def watch(self, failure: Exception | None) -> None:
        """Look for changes by other processes, unless the store cannot be read."""
        self._attempt(self._writer.watch, "read", failure)
        self._report_pins()

    def end(self, *, is_healthy: bool) -> None:
        """Log the missing verdicts, and release all waiting threads, whatever happened."""
        if is_healthy and (self._batch or self._lost):
            self._write_note(is_over=True)
            lost = self._note.verdicts
            self._log_line("error", "verdicts are missing from the audit", lost=lost)
        with self._room:
            self.is_closing = True
            self.healthy = self.healthy and is_healthy
            self._room.notify_all()
        self._ended.set()

    def _write_note(self, *, is_over: bool) -> None:
        """Write next to the store how many verdicts are missing, in case this run ends first."""
        if not self._note.run:
            return
        now = exact_now_text()
        self._note = self._note._replace(
            verdicts=self._lost + len(self._batch) + len(self._queue),
            since=self._note.since if self._note.verdicts else now,
            until=now,
            is_over=is_over,
        )
        write_note(self._store_path, self._note)

    def _write(self, *, is_written: bool) -> None:
        with self._room:
            lost = 0 if is_written else self._lost
        write = partial(self._writer.write, self._batch, lost)
        error = None if is_written else _describe_failure(write)
        if error is None:
            self._subtract(self._batch, lost)
            self._batch.clear()
        elif isinstance(error, StateError) and not is_about_a_row(error):
            raise error
        else:
            self._write_each(lost)

    def _write_each(self, lost: int) -> None:
        """Write the batch row by row, with a `gap` for each row that cannot be written.

        Raises:
            StateError: a gap cannot be written either.
        """
        self._writer.write([], lost)
        self._subtract([], lost)
        while self._batch:
            verdict = self._batch[0]
            error = _describe_failure(partial(self._writer.write, [verdict], 0))
            if error is not None:
                why = type(error.__cause__ or error).__name__
                self._writer.write_gap(verdict, why)
                self.missing += 1
                event = "a verdict could not be recorded"
                self._log_line("error", event, event_id=verdict.event, why=why)
            self._subtract([verdict], 0)
            del self._batch[0]

    def _subtract(self, written: list[PendingVerdict], lost: int) -> None:
        """Take written verdicts, and losses that a row reports, off the backlog's counts."""
        chars = sum(verdict.chars() for verdict in written)
        with self._room:
            self._lost -= lost
            self._chars -= chars

    def _report_pins(self) -> None:
        """Hand changed pins on; if that fails, again at the next look."""
        changed = self._writer.changed
        take = self._on_pins
        if changed is None or take is None:
            return
        error = _describe_failure(lambda: take(changed))
        if error is None:
            self._writer.changed = None
            return
        why = type(error).__name__
        self._log_line("error", "approvals of another process could not be applied", why=why)

    def _attempt(self, step: Callable[[], None], done: str, failure: Exception | None) -> bool:
        """Try to read or write the store, unless that failed already; True if it succeeds.

        A store that can be read may be full or locked: while rows wait, only writing them counts.
        """
        error = failure or _describe_failure(step)
        if error is not None:
            if self.healthy:
                why = str(error) if isinstance(error, StateError) else type(error).__name__
                self._log_line("error", f"the store cannot be {done}", why=why)
            self.healthy = False
        elif not self.healthy and (done == "written" or not (self._batch or self._lost)):
            self._log_line("warning", f"the store is {done} again")
            self.healthy = True
        return error is None

    def _log_findings(self, verdict: PendingVerdict) -> None:
        from pipeguard.state.finding_log import log_findings

        log_findings(self._log_line, verdict, is_audited=bool(self._note.run))

    def _log_line(self, level: str, event: str, **fields: object) -> None:
        # Standard error may be closed.
        _describe_failure(partial(self._log, level, event, **fields))


class _RecordingThread:
    """Writes the verdicts of one store's recorders, while it has any.

    Most rows of a round are one transaction: ten, of a few rows each, cost three times as much.
    """

    def __init__(self, store_path: Path | str) -> None:
        self.opened = OpenStore(store_path)
        self.is_idle = False
        self.wake = threading.Event()
        self._lock = threading.Lock()
        self._recorders: list[Recorder] = []

    def begin(self, recorder: Recorder) -> None:
        """Write for a recorder until it is closed."""
        with self._lock:
            if not self._recorders:  # if no thread can be started, the next one tries again
                threading.Thread(target=self._run, name="recorder", daemon=True).start()
            self._recorders.append(recorder)

    # --- in the thread ---

    def _run(self) -> None:
        quiet_rounds = 0
        watched = time.monotonic()
        is_over = False
        try:
            while not is_over:
                with self._lock:
                    recorders = tuple(self._recorders)
                if not any(recorder.is_closing for recorder in recorders):
                    self._pause(recorders, quiet_rounds)
                leaving = [recorder for recorder in recorders if recorder.is_closing]
                busy = [recorder for recorder in recorders if recorder.begin_round()]
                quiet_rounds = 0 if busy else quiet_rounds + 1
                self._write_all(recorders)
                for recorder in recorders:
                    recorder.write_tapes()
                if time.monotonic() - watched >= WATCH_SECONDS:
                    self._watch_all(recorders)
                    watched = time.monotonic()
                is_over = self._end(leaving)
        finally:
            if not is_over:
                self._end(self._recorders, is_healthy=False)  # with all that begin until then

    def _pause(self, recorders: Sequence[Recorder], quiet_rounds: int) -> None:
        if not all(recorder.healthy for recorder in recorders):
            self.wake.wait(RETRY_SECONDS)
        elif quiet_rounds < BUSY_ROUNDS:
            self.wake.wait(BATCH_SECONDS)
        else:
            self.is_idle = True  # a verdict that came before did not wake us
            if not any(recorder.begin_round() for recorder in recorders):
                self.wake.wait(WATCH_SECONDS)
            self.is_idle = False
        self.wake.clear()

    def _write_all(self, recorders: Sequence[Recorder]) -> None:
        while recorders := [recorder for recorder in recorders if recorder.fill_batch()]:
            together: list[Recorder] = []
            error = _describe_failure(partial(self._append_all, recorders, together))
            failure = error if isinstance(error, StateError) and not is_about_a_row(error) else None
            recorders = [
                recorder
                for recorder in recorders
                if recorder.end_batch(failure, is_written=not error and recorder in together)
            ]

    def _watch_all(self, recorders: Sequence[Recorder]) -> None:
        failure = _describe_failure(lambda: self.opened.open().change_counter())  # up to 5 s
        for recorder in recorders:
            recorder.watch(failure)

    def _append_all(self, recorders: Sequence[Recorder], together: list[Recorder]) -> None:
        with self.opened.open().transaction():
            together += [recorder for recorder in recorders if recorder.append_batch()]

    def _end(self, leaving: Sequence[Recorder], *, is_healthy: bool = True) -> bool:
        """Let go of recorders; True if they were the last, and the thread ends."""
        with self._lock:
            self._recorders = [each for each in self._recorders if each not in leaving]
            is_last = not self._recorders
            if is_last:
                self.opened.close()
        for recorder in leaving:
            recorder.end(is_healthy=is_healthy)
        return is_last


_THREADS: WeakValueDictionary[tuple[int, str], _RecordingThread] = WeakValueDictionary()
_LOCK = threading.Lock()


def _find_thread(store_path: Path | str) -> _RecordingThread:
    """The thread that writes to a store in this process."""
    key = os.getpid(), os.fspath(store_path)
    with _LOCK:
        return _THREADS.get(key) or _THREADS.setdefault(key, _RecordingThread(store_path))


def _describe_failure(step: Callable[[], object]) -> Exception | None:
    """The exception that a step raises, or None: no exception may end the only writing thread."""
    try:
        step()
    except Exception as error:  # noqa: BLE001  whatever it is, the other rows must be written
        return error
    return None


def _short(text: str | None) -> str | None:
    return text if text is None or len(text) <= MAX_NAME_CHARS else text[:MAX_NAME_CHARS]
