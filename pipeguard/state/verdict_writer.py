"""Verdicts, ready to be written, and the store as the recorder's thread writes them to it.

Opens the store late, writes in batches, and looks for changes by other processes. Knows neither
threads nor time limits.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pipeguard.errors import StateError
from pipeguard.records import NamedTuple
from pipeguard.state.missing import REPLACED, MissingVerdicts, gap_entry, read_notes, remove_note
from pipeguard.state.pins import Store
from pipeguard.state.shared_pins import SharedPins
from pipeguard.state.store import open_store
from pipeguard.state.timestamps import to_utc_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pipeguard.firewall.finding import Action, Direction, Finding, PinChange
    from pipeguard.firewall.pins.fingerprint import Pin
    from pipeguard.state.audit import AuditEntry
    from pipeguard.state.postgres.link import Link

    Pins = Mapping[tuple[str, str], Pin]


class PendingVerdict(NamedTuple):
    """A verdict until it is written, without its frame."""

    time: float
    client: str
    direction: Direction
    kind: str
    method: str | None
    tool: str | None
    action: Action
    event: str
    digest: str
    length_bytes: int
    findings: tuple[Finding, ...]
    pins: tuple[PinChange, ...]
    token: str = ""
    request_bytes: int | None = None
    answer_seconds: float | None = None

    def chars(self) -> int:
        """The length of all texts in it whose length a peer chose."""
        if not self.pins and not self.findings:
            return 0
        pins = sum(len(change.definition) + len(change.name) for change in self.pins)
        texts = [(f.pointer, f.excerpt, f.note, f.tool or "") for f in self.findings]
        return pins + sum(len(text) for four in texts for text in four)


CONNECTION = "connection"  # the kind of the rows of connections


class EndedConnection(NamedTuple):
    """A connection of a sandboxed server that ended, or was refused.

    Attributes:
        target: its kind and address, as `connect api.example.com:443`.
        finding: why it was refused or failed; None otherwise.
        bytes_sent: from the server to the host.
        bytes_received: from the host to the server.
        seconds: from its beginning to its end.
    """

    target: str
    finding: Finding | None
    bytes_sent: int
    bytes_received: int
    seconds: float


class OpenStore:
    """The store, opened late and once for all that write in one thread.

    Args:
        path: the store.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = path
        self.pin_writes = 0  # by this connection, which its `change_counter` does not count
        self._store: Store | None = None

    def open(self) -> Store:
        """The file now at this path."""
        if self._store is None:
            self._store = open_store(self.path)
        elif not self._store.is_in_place():
            self._store = self._store.reopen()
        return self._store

    def close(self) -> None:
        """Close it until the next `open`."""
        if self._store is not None:
            self._store.close()
            self._store = None


class VerdictWriter:
    """Writes one run's verdicts to the store, in the thread that calls it.

    Args:
        opened: the store.
        server: the server's name.
        run: the name of this run's chain in the audit; None to keep pins and no audit.
        pins: the pins that the Guard has; None if it starts with those in the store.
        needs_review: definitions that another process pins at first sight wait for a person.
        link: to the other replicas, which have the pins then; the store has only the audit.

    Attributes:
        changed: all pins of the server, once another process has changed any.
    """

    def __init__(
        self,
        opened: OpenStore,
        server: str,
        *,
        run: str | None,
        pins: Pins | None,
        needs_review: bool,
        link: Link | None = None,
    ) -> None:
        self._shared: SharedPins | None = None
        if link is not None and pins is not None:
            self._shared = SharedPins(link, server, needs_review=needs_review)
        self._needs_review = needs_review
        self._opened = opened
        self._server = server
        self._run = run
        self._last_seen = None if pins is None else _fingerprints(pins)
        self._store: Store | None = None  # as it was opened last
        self._counter = (-1, 0)
        self._last_time = 0.0
        self._is_first = True
        self._is_replaced = False
        self._again = False
        self.changed: Pins | None = None

    def write(self, batch: list[PendingVerdict], lost: int) -> None:
        """Write audit entries, if an audit is kept, and pins in one transaction.

        Args:
            batch: the verdicts to write.
            lost: how many verdicts found no room and are lost; an entry says so.
        """
        store = self._open()
        path = self._opened.path
        notes = read_notes(path) if self._is_first and self._run is not None else []
        # A gap comes before the rows after it, also by time.
        when = batch[0].time if batch else self._last_time or time.time()
        entries = self._gaps(notes, lost, to_utc_text(when))
        if self._run is not None:
            entries += _entries(batch)
        pins = [(each.pins, to_utc_text(each.time)) for each in batch if each.pins]
        stored = pins if self._shared is None else []
        with store.transaction():
            self._append(store, entries)
            before = store.pins(self._server) if stored else {}
            for changes, moment in stored:
                store.remember(self._server, changes, moment)
            after = store.pins(self._server) if stored else {}
        self._is_first = self._is_replaced = False
        self._last_time = batch[-1].time if batch else self._last_time
        for note in notes:
            remove_note(path, note.run)
        if self._shared is not None and pins:
            self._shared.remember(pins)
        if not stored:
            return
        self._opened.pin_writes += 1
        # Once more after a change: the pins handed on before lacked the ones written now.
        again = self._again
        self._again = self._last_seen != _fingerprints(before)
        self._last_seen = _fingerprints(after)
        if self._again or again:
            self.changed = after

    def append(self, batch: list[PendingVerdict], lost: int) -> bool:
        """Write audit entries in a transaction of the caller's, unless `write` would do more."""
        try:
            store = self._open()
        except StateError:  # about this run's pins: no other run's rows wait for them
            return False
        if self._is_first or self._is_replaced or lost or any(each.pins for each in batch):
            return False
        if batch:
            self._append(store, _entries(batch))
            self._last_time = batch[-1].time
        return True

    def _gaps(self, notes: list[MissingVerdicts], lost: int, when: str) -> list[AuditEntry]:
        """An entry for each reason why verdicts are missing."""
        reasons = [REPLACED] if self._is_replaced else []
        reasons += [note.sentence() for note in notes]
        if lost:
            reasons.append(f"{lost} verdicts were lost while the store could not be written")
        return [gap_entry(reason, when) for reason in reasons]

    def write_gap(self, verdict: PendingVerdict, why: str) -> None:
        """Write an entry instead of a verdict that cannot be written, in plain ASCII."""
        event = verdict.event.encode("ascii", "replace").decode()
        note = f"this verdict could not be recorded ({why})"
        self._append(self._open(), [gap_entry(note, to_utc_text(verdict.time), event)])

    def _append(self, store: Store, entries: list[AuditEntry]) -> None:
        from pipeguard.state.audit import Audit  # not at the top: a server waits for that

        if entries and self._run is not None:
            Audit(store, self._run, self._server, entries[0].time).append_many(entries)

    def watch(self) -> None:
        """Look for pins of the server that another process has changed."""
        store = self._open()
        if self._is_replaced:
            self.write([], 0)
        if self._shared is not None:
            self._report(self._shared.find_changed())
            return
        counter = store.change_counter(), self._opened.pin_writes
        if counter == self._counter:
            return
        if self._needs_review:
            store.hold_unreviewed(self._server)
        pins = store.pins(self._server)
        self._counter = counter
        self._report(pins)

    def _report(self, pins: Pins | None) -> None:
        """Hand pins on if they are not those seen last."""
        if pins is not None and self._last_seen != (seen := _fingerprints(pins)):
            self._last_seen = seen
            self.changed = pins

    def _open(self) -> Store:
        store = self._opened.open()
        if self._store not in (None, store):
            # The Guard keeps its pins: else removing the file would make any definition the first.
            self._last_seen = None
            self._is_replaced = True
            self._counter = (-1, 0)
        self._store = store
        if self._last_seen is None:
            self._last_seen = _fingerprints(store.pins(self._server))
        return store


def _fingerprints(pins: Pins) -> dict[tuple[str, str], tuple[str | None, ...]]:
    return {
        key: (pin.approved_fingerprint, pin.held_fingerprint, pin.rejected)
        for key, pin in pins.items()
    }


def _entries(batch: list[PendingVerdict]) -> list[AuditEntry]:
    from pipeguard.state.audit import AuditEntry, findings_json

    return [
        AuditEntry(
            to_utc_text(verdict.time),
            _utf8(verdict.client),
            verdict.direction._value_,
            verdict.kind,
            _utf8(verdict.method),
            _utf8(verdict.tool),
            verdict.action._name_.lower(),
            verdict.event,
            verdict.digest,
            verdict.length_bytes,
            findings_json(verdict.findings),
            verdict.token or None,
            verdict.request_bytes,
            None if verdict.answer_seconds is None else round(verdict.answer_seconds * 1000, 3),
        )
        for verdict in batch
    ]


def _utf8(text: str | None) -> str:
    """A peer's text with lone surrogates and NUL escaped, which not every store can have."""
    if not text:
        return ""
    text = text.replace("\0", "\\x00")
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")
