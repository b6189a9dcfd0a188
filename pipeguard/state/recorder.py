"""Takes verdicts off the pump and writes them down behind it: audit, pins, log.

Knows when and in what order things are written; not what they mean, nor how the pump runs.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from functools import lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pipeguard.core.finding import Action, Direction, Finding, PinChange, Severity
from pipeguard.core.session.replies import how_to_allow
from pipeguard.errors import StateError
from pipeguard.state import missing
from pipeguard.state.store import Store, is_of_a_row

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pipeguard.core.finding import Verdict
    from pipeguard.core.pins.fingerprint import Pin
    from pipeguard.state.audit import AuditEntry

    Pins = Mapping[tuple[str, str], Pin]

BATCH_SECONDS = 0.05  # between two writes: +1 us on a round trip, where a write each has +12
WATCH_SECONDS = 0.5  # between two looks for approvals, which take effect within a second
BUSY_ROUNDS = 20  # rounds of 50 ms after the last verdict, before only each half second is looked
RETRY_SECONDS = 1.0  # after a write that failed
BATCH_ROWS = 1000  # of one transaction: about 20 ms
BACKLOG_ROWS = 10_000  # that wait to be written, a few MB; then `record` waits
BACKLOG_CHARS = 32 * 2**20  # of definitions and findings that wait: two of the largest frames
NAME_CHARS = 200  # of a client's, a method's or a tool's name: a peer chooses those
CLOSE_SECONDS = 10.0  # for the last write; a locked store answers after 5


class FindingLog(Protocol):
    """Where findings and failures are told to people; called in the recorder's thread."""

    def __call__(self, level: str, event: str, **fields: object) -> None:
        """Tell one thing.

        Args:
            level: `info`, `warning` or `error`.
            event: what happened, in a few words.
            fields: what is known of it, masked.
        """


class _Taken(NamedTuple):
    """What is kept of a verdict until it is written; its frame is not."""

    time: float
    client: str
    direction: Direction
    kind: str
    method: str | None
    tool: str | None
    action: Action
    event: str
    sha256: str
    length_bytes: int
    findings: tuple[Finding, ...]
    pins: tuple[PinChange, ...]


class Recorder:
    """Writes one run's verdicts to the store, from a thread of its own.

    The thread starts with the first verdict. `record` hands over and returns; only where
    `BACKLOG_ROWS` wait to be written does it wait for room, so that memory is bounded. Where the
    store cannot be written, that is told once and `healthy` is False until it can be again; what
    then finds no room is counted and lost, and a row of the kind `gap` says how many. Where the
    run ends before that, a file beside the store says it (`state.missing`). A row that cannot be
    written although others can has a `gap` in its place. Nothing ends the thread but `close`.

    Args:
        store_path: the store; opened by the thread.
        server: the server's name.
        run: names this run's chain in the audit; None to keep pins and no audit.
        log: where findings and failures are told.
        pins: what the Guard was made with; None where it starts with what the store has.
        on_pins_changed: called in the thread with all pins of the server once another process
            has changed any. What this run itself saw last may be missing in them.

    Attributes:
        client: the client's name and version, once they are known; goes into every row.
        healthy: False while the store cannot be written; policy says what follows.
        missing: verdicts of this run that will not be in the audit.
    """

    def __init__(
        self,
        store_path: Path | str,
        server: str,
        run: str | None,
        log: FindingLog,
        *,
        pins: Pins | None = None,
        on_pins_changed: Callable[[Pins], None] | None = None,
    ) -> None:
        from pipeguard.core.digest import hexdigest

        self.client = ""
        self.healthy = True
        self.missing = 0
        self._digest = hexdigest
        self._log = log
        self._left = missing.Missing(run or "", server, 0, "", "", is_over=False)
        self._store_path = store_path
        self._on_pins_changed = on_pins_changed
        self._changed: Pins | None = None
        self._writer = _Writer(store_path, server, run, pins)
        self._queue: deque[_Taken | threading.Event] = deque()
        self._pending: list[_Taken] = []
        self._chars = 0
        self._lost = 0
        self._room = threading.Condition()
        self._wake = threading.Event()
        self._idle = False
        self._closing = False
        self._thread: threading.Thread | None = None

    def record(self, verdict: Verdict) -> None:
        """Take a verdict; after `close` none is taken any more."""
        taken = _Taken(
            time.time(),
            self.client[:NAME_CHARS],
            verdict.direction,
            verdict.kind._value_ if verdict.kind is not None else "unreadable",
            _short(verdict.method),
            _short(verdict.tool),
            verdict.action,
            verdict.event,
            self._digest(verdict.frame),  # here, so that no frame is kept
            len(verdict.frame),
            verdict.findings,
            verdict.pins,
        )
        self._take(taken)

    def refuse(self, finding: Finding, client: str, event: str) -> None:
        """Take what was refused before there was a message to judge.

        Args:
            finding: why.
            client: where it came from.
            event: names it.
        """
        findings, way = (finding,), Direction.TO_SERVER
        self._take(
            _Taken(
                time.time(), client[:NAME_CHARS], way, "refusal", None, None, finding.action, event,
                "", 0, findings, (),
            )
        )  # fmt: skip

    def _take(self, taken: _Taken) -> None:
        if self._thread is None:
            self._start()
        is_large = taken.pins or taken.findings
        if (is_large or len(self._queue) >= BACKLOG_ROWS) and not self._make_room(taken):
            return
        self._queue.append(taken)
        if self._idle and taken.findings:
            self._wake.set()

    def flush(self, timeout_seconds: float = CLOSE_SECONDS) -> bool:
        """Wait until all that was recorded is written; False where it could not be."""
        if self._thread is None:
            return True
        marker = threading.Event()
        self._queue.append(marker)
        self._wake.set()
        return marker.wait(timeout_seconds) and self.healthy

    def close(self) -> None:
        """Write what waits and end the thread."""
        with self._room:
            self._closing = True
            self._room.notify_all()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)

    def _start(self) -> None:
        with self._room:
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
                self._thread.start()

    def _make_room(self, taken: _Taken) -> bool:
        """Wait until one more may wait; False where it is lost."""
        chars = _chars(taken)
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

    # --- in the thread ---------------------------------------------------------------------

    def _run(self) -> None:
        quiet_rounds, watched = 0, time.monotonic()
        ended = False
        try:
            while not self._closing:
                self._pause(quiet_rounds)
                quiet_rounds = 0 if self._queue else quiet_rounds + 1
                self._write_all()
                if time.monotonic() - watched >= WATCH_SECONDS:
                    self._attempt(self._watch)
                    self._take_over()
                    watched = time.monotonic()
            self._write_all()
            if self._pending or self._lost:
                self._leave(is_over=True)
                self._tell("error", "verdicts are missing in the audit", lost=self._left.verdicts)
            ended = True
        finally:
            self._writer.close()
            with self._room:  # whatever happened, nobody waits for this thread any more
                self._closing, self.healthy = True, self.healthy and ended
                self._room.notify_all()

    def _pause(self, quiet_rounds: int) -> None:
        if not self.healthy:
            self._wake.wait(RETRY_SECONDS)
        elif quiet_rounds < BUSY_ROUNDS:
            self._wake.wait(BATCH_SECONDS)
        else:
            self._idle = True
            if not self._queue:  # what came before `_idle` was set has not woken us
                self._wake.wait(WATCH_SECONDS)
            self._idle = False
        self._wake.clear()

    def _write_all(self) -> None:
        while self._queue or self._pending or self._lost:
            markers = self._fill()
            written = self._attempt(self._write)
            if written and self._left.verdicts:
                missing.clear(self._store_path, self._left.run)
                self._left = self._left._replace(verdicts=0)
            elif not written:
                self._leave(is_over=False)
            self._take_over()
            with self._room:
                self._room.notify_all()
            for marker in markers:
                marker.set()
            if not written:
                return

    def _leave(self, *, is_over: bool) -> None:
        """Say beside the store how much is missing in it, in case this run ends before it can."""
        if not self._left.run:
            return
        rows = sum(isinstance(one, _Taken) for one in list(self._queue))
        now = _iso(time.time())
        self._left = self._left._replace(
            verdicts=self._lost + len(self._pending) + rows,
            since=self._left.since if self._left.verdicts else now,
            until=now,
            is_over=is_over,
        )
        missing.leave(self._store_path, self._left)

    def _fill(self) -> list[threading.Event]:
        markers: list[threading.Event] = []
        while self._queue and len(self._pending) < BATCH_ROWS:
            taken = self._queue.popleft()
            if isinstance(taken, threading.Event):
                markers.append(taken)
            else:
                self._pending.append(taken)
                _failure_of(partial(self._tell_findings, taken))
        return markers

    def _write(self) -> None:
        with self._room:
            lost = self._lost
        error = _failure_of(lambda: self._note(self._writer.write(self._pending, lost)))
        if error is None:
            self._done(self._pending, lost)
            self._pending.clear()
        elif isinstance(error, StateError) and not is_of_a_row(error):
            raise error
        else:
            self._write_each(lost)

    def _write_each(self, lost: int) -> None:
        """One row of them cannot be written: a row that says so stands in its place.

        Raises:
            StateError: even that cannot be.
        """
        self._note(self._writer.write([], lost))
        self._done([], lost)
        while self._pending:
            taken = self._pending[0]
            error = _failure_of(lambda: self._note(self._writer.write(self._pending[:1], 0)))
            if error is not None:
                why = type(error.__cause__ or error).__name__
                self._writer.stand_in(taken, why)
                self.missing += 1
                self._tell(
                    "error", "a verdict could not be written down", event_id=taken.event, why=why
                )
            self._done([taken], 0)
            del self._pending[0]

    def _done(self, written: list[_Taken], lost: int) -> None:
        chars = sum(map(_chars, written))
        with self._room:
            self._lost -= lost
            self._chars -= chars

    def _watch(self) -> None:
        self._note(self._writer.watch())

    def _note(self, changed: Pins | None) -> None:
        self._changed = self._changed if changed is None else changed

    def _take_over(self) -> None:
        """Hand on what changed in the store; once more at the next look where that fails."""
        changed, listener = self._changed, self._on_pins_changed
        if changed is None or listener is None:
            return
        error = _failure_of(lambda: listener(changed))
        if error is None:
            self._changed = None
            return
        why = type(error).__name__
        self._tell("error", "what was approved elsewhere could not be taken over", why=why)

    def _attempt(self, step: Callable[[], None]) -> bool:
        error = _failure_of(step)
        if error is not None:
            if self.healthy:
                why = str(error) if isinstance(error, StateError) else type(error).__name__
                self._tell("error", "the store cannot be written", why=why)
            self.healthy = False
        else:
            if not self.healthy:
                self._tell("warning", "the store is written again")
            self.healthy = True
        return self.healthy

    def _tell_findings(self, taken: _Taken) -> None:
        # No exception helps an event in which a definition waits: see state.exceptions.
        waiting = {one.tool: one for one in taken.findings if one.rule.startswith("trust.")}
        for finding in taken.findings:
            self._tell(
                # What is low is housekeeping, as progress that came after a cancellation.
                "warning"
                if finding.action >= Action.WARN and finding.severity > Severity.LOW
                else "info",
                f"{finding.action.name.lower()} {finding.rule}",
                event_id=taken.event,
                direction=taken.direction.value,
                method=taken.method,
                tool=finding.tool or taken.tool,
                place=finding.place,
                pointer=finding.pointer,
                view=finding.view,
                severity=finding.severity.name.lower(),
                confidence=finding.confidence.name.lower(),
                excerpt=finding.excerpt,
                note=finding.note,
                how_to_allow=how_to_allow(waiting.get(finding.tool, finding), taken.event)
                if finding.action is Action.BLOCK
                else "",
            )

    def _tell(self, level: str, event: str, **fields: object) -> None:
        _failure_of(partial(self._log, level, event, **fields))  # nobody may be listening any more


def _failure_of(step: Callable[[], object]) -> Exception | None:
    """What a step failed with: of the thread that alone writes, nothing else may be the end."""
    try:
        step()
    except Exception as error:  # noqa: BLE001  whatever it is, other rows are to be written
        return error
    return None


class _Writer:
    """The store as the thread uses it: opened late, written in batches, watched for others."""

    def __init__(
        self,
        path: Path | str,
        server: str,
        run: str | None,
        pins: Pins | None,
    ) -> None:
        self._path = path
        self._server = server
        self._run = run
        self._known = None if pins is None else _marks(pins)
        self._store: Store | None = None
        self._counter = -1
        self._is_first, self._is_replaced, self._again = True, False, False

    def write(self, batch: list[_Taken], lost: int) -> Pins | None:
        """Write audit rows, where an audit is kept, and pins in one transaction.

        Returns:
            All pins of the server where another process has changed any.
        """
        store = self._open()
        before = missing.left(self._path) if self._is_first and self._run is not None else []
        notes = [missing.REPLACED] * self._is_replaced + [one.told() for one in before]
        entries = [missing.gap(note, _iso(time.time())) for note in notes]
        entries += [_entry(taken) for taken in batch] if self._run is not None else []
        if lost:
            note = f"{lost} verdicts were lost while the store could not be written"
            entries.append(missing.gap(note, _iso(time.time())))
        changes = [change for taken in batch for change in taken.pins]
        with store.transaction():
            self._append(entries)
            known = store.pins(self._server) if changes else {}
            store.remember(self._server, changes)
            after = store.pins(self._server) if changes else {}
        self._is_first = self._is_replaced = False
        for one in before:
            missing.clear(self._path, one.run)
        if not changes:
            return None
        # Once more after a change: what was handed on then lacked what is written now.
        again, self._again = self._again, self._known != _marks(known)
        self._known = _marks(after)
        return after if self._again or again else None

    def stand_in(self, taken: _Taken, why: str) -> None:
        """Write in the place of a verdict that it is missing, in words that can be written."""
        event = taken.event.encode("ascii", "replace").decode()
        told = f"this verdict could not be written down ({why})"
        self._append([missing.gap(told, _iso(time.time()), event)])

    def _append(self, entries: list[AuditEntry]) -> None:
        from pipeguard.state.audit import Audit  # here, since a server waits for what is on top

        if entries and self._run is not None:
            Audit(self._open(), self._run, self._server, entries[0].time).append_many(entries)

    def watch(self) -> Pins | None:
        """All pins of the server, where another process has changed any."""
        store = self._open()
        if self._is_replaced:
            self.write([], 0)
        if (counter := store.change_counter()) == self._counter:
            return None
        pins = store.pins(self._server)
        self._counter = counter
        known, self._known = self._known, _marks(pins)
        return None if known == self._known else pins

    def close(self) -> None:
        """Let go of the store."""
        if self._store is not None:
            self._store.close()

    def _open(self) -> Store:
        if self._store is not None and not self._store.is_in_place():
            # What the Guard knows stays: else whoever removes the file would be first again.
            self._store = self._store.reopened()
            self._known, self._is_replaced, self._counter = None, True, -1
        if self._store is None:
            self._store = Store.open(self._path)
        if self._known is None:
            self._known = _marks(self._store.pins(self._server))
        return self._store


def _marks(pins: Pins) -> dict[tuple[str, str], tuple[str | None, str | None]]:
    return {key: (pin.approved_fingerprint, pin.held_fingerprint) for key, pin in pins.items()}


def _entry(taken: _Taken) -> AuditEntry:
    from pipeguard.state.audit import AuditEntry, findings_json

    return AuditEntry(
        _iso(taken.time),
        _name(taken.client),
        taken.direction._value_,
        taken.kind,
        _name(taken.method),
        _name(taken.tool),
        taken.action.name.lower(),
        taken.event,
        taken.sha256,
        taken.length_bytes,
        findings_json(taken.findings),
    )


def _chars(taken: _Taken) -> int:
    """How much of a verdict a peer chose the length of."""
    pins = sum(len(change.definition) + len(change.name) for change in taken.pins)
    texts = [(f.pointer, f.excerpt, f.note, f.tool or "") for f in taken.findings]
    return pins + sum(len(text) for four in texts for text in four)


def _short(text: str | None) -> str | None:
    return text if text is None or len(text) <= NAME_CHARS else text[:NAME_CHARS]


def _name(text: str | None) -> str:
    """A peer's word, fit for UTF-8."""
    if text is None or text.isascii():
        return text or ""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _iso(seconds: float) -> str:
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1000):03d}Z"


@lru_cache(maxsize=4)  # the verdicts of one batch are of one second or two
def _second(seconds: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
