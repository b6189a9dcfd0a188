"""Takes verdicts from the pump and writes them behind it: audit, pins, log.

Knows when and in what order they are written; not what they mean, nor how the pump runs.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from pipeguard.errors import StateError
from pipeguard.firewall.finding import Direction
from pipeguard.records import NamedTuple
from pipeguard.state.connections import pending_connection
from pipeguard.state.contents_key import KeyedHash, contents_key
from pipeguard.state.database import is_about_a_row
from pipeguard.state.missing import MissingVerdicts, remove_note, write_note
from pipeguard.state.schema import MAX_NAME_CHARS
from pipeguard.state.timestamps import to_utc_text
from pipeguard.state.verdict_writer import PendingVerdict, VerdictWriter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipeguard.firewall.finding import Finding, Verdict
    from pipeguard.state.connections import EndedConnection
    from pipeguard.state.finding_log import FindingLog
    from pipeguard.state.verdict_writer import Pins

BATCH_SECONDS = 0.05  # between two writes: +1 us on a round trip, where a write for each costs +12
WATCH_SECONDS = 0.5  # between two looks for approvals, which take effect within a second
BUSY_ROUNDS = 20  # rounds of BATCH_SECONDS after the last verdict; then one each WATCH_SECONDS
RETRY_SECONDS = 1.0  # after a write that failed
BATCH_ROWS = 1000  # in one transaction: about 20 ms
BACKLOG_ROWS = 10_000  # waiting to be written, a few MB; then `record` waits
BACKLOG_CHARS = 32 * 2**20  # of waiting definitions and findings: two of the largest frames
CLOSE_SECONDS = 10.0  # for the last write; a locked store answers after 5


class PinsListener(NamedTuple):
    """The receiver of changes of the server's pins.

    Attributes:
        pins: the pins that the listener starts with.
        on_change: called in the recorder's thread with all pins of the server once another process
            has changed any. What this run saw last may be missing from them.
        needs_review: what another process pins at first sight waits for a person.
    """

    pins: Pins
    on_change: Callable[[Pins], None]
    needs_review: bool = False


class Recorder:
    """Writes one run's verdicts to the store, from a thread of its own.

    The thread starts with the first verdict, or with `start`. `record` hands over and returns;
    only while `BACKLOG_ROWS` wait to be written does it wait for room, so that memory is bounded.
    While the store cannot be written, `healthy` is False and the log says so once. A verdict that
    finds no room then is counted and lost, and a row of the kind `gap` says how many. If the run
    ends before that, a file beside the store says it (`state.missing`). A single row that cannot be
    written is replaced by a `gap`. Nothing but `close` ends the thread.

    Args:
        store_path: the store; opened by the thread.
        server: the server's name.
        run: the name of this run's chain in the audit; None to keep pins and no audit.
        log: gets findings and failures.
        listener: gets the pins that other processes change.

    Raises:
        StateError: the installation's key, with which frames are hashed, cannot be used.

    Attributes:
        client: the client's name and version, once they are known; goes into every row.
        token: the name of the client's bearer token; likewise.
        healthy: False while the store cannot be written; policy says what follows.
        missing: how many verdicts of this run will not be in the audit.
    """

    def __init__(
        self,
        store_path: Path | str,
        server: str,
        run: str | None,
        log: FindingLog,
        listener: PinsListener | None = None,
    ) -> None:
        key = b"" if run is None else contents_key(str(store_path))
        self.client = self.token = ""
        self.healthy = True
        self.missing = 0
        self._hash = KeyedHash(key)
        self._log = log
        self._note = MissingVerdicts(run or "", server, 0, "", "", is_over=False)
        self._store_path = store_path
        self._listener = listener
        self._changed_pins: Pins | None = None
        self._writer = VerdictWriter(store_path, server, run, listener.pins if listener else None)
        self._writer.needs_review = listener is not None and listener.needs_review
        self._queue: deque[PendingVerdict | threading.Event] = deque()
        self._batch: list[PendingVerdict] = []
        self._chars = 0
        self._lost = 0
        self._room = threading.Condition()
        self._wake = threading.Event()
        self._idle = False
        self._closing = False
        self._thread: threading.Thread | None = None

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
        """Take a finding that is about no single message.

        Args:
            finding: what was found.
            event: the event's name.
        """
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
        """Take a connection of a sandboxed server to a host, or its attempt.

        Args:
            connection: which, and what became of it.
            event: the event's name; empty for one that nothing was found in.
        """
        self._take(pending_connection(connection, event))

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
        if self._thread is None:
            self.start()
        is_large = verdict.pins or verdict.findings
        if (is_large or len(self._queue) >= BACKLOG_ROWS) and not self._make_room(verdict):
            return
        self._queue.append(verdict)
        if self._idle and verdict.findings:
            self._wake.set()

    def flush(self, timeout_seconds: float = CLOSE_SECONDS) -> bool:
        """Wait until everything recorded so far is written; False where that fails."""
        if self._thread is None:
            return True
        marker = threading.Event()
        self._queue.append(marker)
        self._wake.set()
        return marker.wait(timeout_seconds) and self.healthy

    def close(self) -> None:
        """Write all pending verdicts and end the thread."""
        with self._room:
            self._closing = True
            self._room.notify_all()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)

    def start(self) -> None:
        """Start the thread before the first verdict, to hear of approvals; may be called again."""
        with self._room:
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
                self._thread.start()

    def _make_room(self, verdict: PendingVerdict) -> bool:
        """Wait for room in the backlog; False where there is none and the verdict is lost."""
        chars = verdict.chars()
        with self._room:
            while self.healthy and not self._closing and self._is_full():
                self._wake.set()
                self._room.wait()
            if self._closing or self._is_full():
                self._lost += 1
                self.missing += 1
                return False
            self._chars += chars
            return True

    def _is_full(self) -> bool:
        return len(self._queue) >= BACKLOG_ROWS or self._chars >= BACKLOG_CHARS

    # --- in the thread ---

    def _run(self) -> None:
        quiet_rounds, watched = 0, time.monotonic()
        ended = False
        try:
            while not self._closing:
                self._pause(quiet_rounds)
                quiet_rounds = 0 if self._queue else quiet_rounds + 1
                self._write_all()
                if time.monotonic() - watched >= WATCH_SECONDS:
                    self._attempt(self._watch, "read")
                    self._report_pins()
                    watched = time.monotonic()
            self._write_all()
            if self._batch or self._lost:
                self._write_note(is_over=True)
                lost = self._note.verdicts
                self._log_line("error", "verdicts are missing from the audit", lost=lost)
            ended = True
        finally:
            self._writer.close()
            with self._room:  # whatever happened, nobody may wait for this thread any more
                self._closing, self.healthy = True, self.healthy and ended
                self._room.notify_all()

    def _pause(self, quiet_rounds: int) -> None:
        if not self.healthy:
            self._wake.wait(RETRY_SECONDS)
        elif quiet_rounds < BUSY_ROUNDS:
            self._wake.wait(BATCH_SECONDS)
        else:
            self._idle = True
            if not self._queue:  # a verdict that came before `_idle` was set did not wake us
                self._wake.wait(WATCH_SECONDS)
            self._idle = False
        self._wake.clear()

    def _write_all(self) -> None:
        while self._queue or self._batch or self._lost:
            markers = self._fill_batch()
            written = self._attempt(self._write, "written")
            if written and self._note.verdicts:
                remove_note(self._store_path, self._note.run)
                self._note = self._note._replace(verdicts=0)
            elif not written:
                self._write_note(is_over=False)
            self._report_pins()
            with self._room:
                self._room.notify_all()
            for marker in markers:
                marker.set()
            if not written:
                return

    def _write_note(self, *, is_over: bool) -> None:
        """Note beside the store how many verdicts are missing, in case this run ends first."""
        if not self._note.run:
            return
        waiting = sum(isinstance(item, PendingVerdict) for item in list(self._queue))
        now = to_utc_text(time.time())
        self._note = self._note._replace(
            verdicts=self._lost + len(self._batch) + waiting,
            since=self._note.since if self._note.verdicts else now,
            until=now,
            is_over=is_over,
        )
        write_note(self._store_path, self._note)

    def _fill_batch(self) -> list[threading.Event]:
        markers: list[threading.Event] = []
        while self._queue and len(self._batch) < BATCH_ROWS:
            item = self._queue.popleft()
            if isinstance(item, threading.Event):
                markers.append(item)
                continue
            self._batch.append(item)
            if item.findings:
                _describe_failure(partial(self._log_findings, item))
        return markers

    def _write(self) -> None:
        with self._room:
            lost = self._lost
        error = _describe_failure(lambda: self._keep_pins(self._writer.write(self._batch, lost)))
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
        self._keep_pins(self._writer.write([], lost))
        self._subtract([], lost)
        while self._batch:
            verdict = self._batch[0]
            error = _describe_failure(
                lambda: self._keep_pins(self._writer.write(self._batch[:1], 0))
            )
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

    def _watch(self) -> None:
        self._keep_pins(self._writer.watch())

    def _keep_pins(self, changed: Pins | None) -> None:
        self._changed_pins = self._changed_pins if changed is None else changed

    def _report_pins(self) -> None:
        """Hand changed pins to the listener; where it fails, again at the next look."""
        changed, listener = self._changed_pins, self._listener
        if changed is None or listener is None:
            return
        error = _describe_failure(lambda: listener.on_change(changed))
        if error is None:
            self._changed_pins = None
            return
        why = type(error).__name__
        self._log_line("error", "approvals of another process could not be applied", why=why)

    def _attempt(self, step: Callable[[], None], done: str) -> bool:
        """Try to read or write the store; True if that succeeds.

        A store that can be read may be full or locked: while rows wait, only writing them counts.
        """
        error = _describe_failure(step)
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
        _describe_failure(
            partial(self._log, level, event, **fields)
        )  # standard error may be closed


def _describe_failure(step: Callable[[], object]) -> Exception | None:
    """The exception that a step raises, or None: nothing may end the only thread that writes."""
    try:
        step()
    except Exception as error:  # noqa: BLE001  whatever it is, the other rows must be written
        return error
    return None


def _short(text: str | None) -> str | None:
    return text if text is None or len(text) <= MAX_NAME_CHARS else text[:MAX_NAME_CHARS]
