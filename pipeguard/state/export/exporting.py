"""Sends the rows of the audit to a target, in the order of the store, each at least once.

The cursor moves after the target's acknowledgement. So a row may be sent twice, with the same id,
and none is left out. While a target takes rows, no transaction is open, and memory has one batch.
"""

from __future__ import annotations

import random
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeguard.errors import InputError
from pipeguard.installation import require_extra
from pipeguard.state.audit import COLUMNS
from pipeguard.state.export.cursor import ExportPlace
from pipeguard.state.export.files import FileTarget
from pipeguard.state.export.targets import TargetAwayError, make_exported_row
from pipeguard.state.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pipeguard.state.export.cursor import ExportCursor
    from pipeguard.state.export.targets import ExportedRow, Target
    from pipeguard.state.store import Store

BATCH_ROWS = 500
BATCH_CHARS = 512 * 2**10  # of findings: some web servers accept 1 MiB
AWAY_SECONDS = 10.0  # until an export that does not follow gives up
POLL_SECONDS = 1.0
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
_SLICE_SECONDS = 0.2  # of a pause, until a signal is noticed

_COLLECTOR = re.compile(
    r"https?://([\w.-]+|\[[\da-f:.]+\])(:\d{1,5})?(/[^?#@]*)?", re.ASCII | re.IGNORECASE
)
_BATCH = f"""
    SELECT id, {COLUMNS} FROM (
        SELECT *, sum(length(findings)) OVER (ORDER BY id) - length(findings) AS chars_before
        FROM (SELECT * FROM audit WHERE id > ? ORDER BY id LIMIT ?)
    ) WHERE chars_before < ? ORDER BY id"""  # noqa: S608  constants


def choose_target(to: str, form: str, notice: Callable[[str], None]) -> Target:
    """Find out what kind of target it is, and check that rows can be sent there.

    Args:
        to: a path, or the URL of a collector.
        form: `jsonl` or `csv` for files, `otlp` for a collector.
        notice: gets a line about rows that the collector rejects.

    Raises:
        InputError: the target is a wrong one.
    """
    if form != "otlp":
        if "://" in to:
            raise InputError(f"a collector takes otlp, not {form}.")
        return FileTarget(to, form)
    if not _COLLECTOR.fullmatch(to):  # not shown: it may have a password
        raise InputError(
            "otlp is for a collector: its URL has http:// or https://, a host, a port and a path."
            " Credentials are in OTEL_EXPORTER_OTLP_HEADERS."
        )
    require_extra("otel", "exports to a collector", InputError)
    from pipeguard.state.export.collector import CollectorTarget

    return CollectorTarget(to, notice)


@dataclass
class Exporter:
    """One run of an export.

    Attributes:
        cursor: of the target.
        target: takes the rows.
        notice: gets a line about what a person should know and what does not end the run.
        follow: whether to wait for more rows, and for a target that is away.
        before: called before each look at the store.
        is_stopped: True if the run ends after the current batch.
        count: of the rows that the target acknowledged.
    """

    cursor: ExportCursor
    target: Target
    notice: Callable[[str], None]
    follow: bool
    before: Callable[[], None] = lambda: None
    is_stopped: bool = False
    count: int = 0

    def stop(self, *_signal: object) -> None:
        """End the run after the current batch; a handler of signals."""
        self.is_stopped = True

    def run(self, path: Path) -> None:
        """Export the rows of a store after the cursor.

        Raises:
            TargetAwayError: the target was away for 10 seconds, and the export does not follow.
            PipeGuardError: the target refuses rows, or a file cannot be read or written.
        """
        store = open_store(path)
        try:
            self._find_place(store)
            while not self.is_stopped:
                self.before()
                if not store.is_in_place():
                    store = store.reopen()
                    self._find_place(store)
                if rows := self._read(store):
                    self._deliver(rows)
                elif self.follow:
                    self._pause(POLL_SECONDS)
                else:
                    break
        finally:
            store.close()

    def _find_place(self, store: Store) -> None:
        """Begin again in a store that does not have the cursor's row."""
        store.connection.text_factory = lambda text: text.decode(errors="replace")
        place = self.cursor.place
        found = store.read("SELECT hash FROM audit WHERE id = ?", place.number)
        if place.number and found != [(place.digest,)]:
            self.notice(
                f"the last exported row, {place.uid}, is not in the store: it was removed for its"
                " age, or this is another store; all rows are exported again"
            )
            self.cursor.move(ExportPlace(place.target))

    def _read(self, store: Store) -> list[ExportedRow]:
        """The next batch."""
        number = self.cursor.place.number
        found = store.read(_BATCH, number, BATCH_ROWS, BATCH_CHARS)
        rows = [make_exported_row(*columns) for columns in found]
        for row in rows:
            if row.is_damaged:
                self.notice(f"the row {row.uid} is damaged: its findings are exported as a text")
        if number and rows and (missing := rows[-1].number - number - len(rows)):
            self.notice(
                f"{missing} rows after {self.cursor.place.uid} are not in the store any more"
            )
        return rows

    def _deliver(self, rows: Sequence[ExportedRow]) -> None:
        """Send rows until the target has acknowledged them, and move the cursor."""
        end = time.monotonic() + AWAY_SECONDS
        pause = FIRST_PAUSE_SECONDS
        while not self.is_stopped:
            try:
                self.target.send(rows)
            except TargetAwayError as error:
                left = end - time.monotonic()
                if not self.follow and left <= 0:
                    raise
                if self.follow and pause == FIRST_PAUSE_SECONDS:
                    self.notice(f"{error} The export waits for it.")
                longest = LONGEST_PAUSE_SECONDS if self.follow else left
                self._pause(min(pause * random.uniform(0.8, 1.2), longest))  # noqa: S311  no secret
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                last = rows[-1]
                place = self.cursor.place
                self.cursor.move(
                    ExportPlace(place.target, last.number, last.uid, last.fields["hash"])
                )
                self.count += len(rows)
                return

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self.is_stopped and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE_SECONDS))
