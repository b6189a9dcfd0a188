"""Sends the rows of the audit to a target, in the order of the store, each at least once.

The cursor moves after the target's acknowledgement. So a row may be sent twice, with the same id,
and none is left out: a signal may end the export at any moment. While a target takes rows, the
store is closed, and memory has one batch.
"""

from __future__ import annotations

import random
import re
import time
from typing import TYPE_CHECKING

from pipeguard.errors import InputError, StateError
from pipeguard.installation import require_extra
from pipeguard.log import say
from pipeguard.state.audit import COLUMNS
from pipeguard.state.export import files, targets
from pipeguard.state.export.cursor import ExportPlace
from pipeguard.state.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeguard.state.export.cursor import ExportCursor
    from pipeguard.state.export.targets import Target

BATCH_ROWS = 500
BATCH_CHARS = 512 * 2**10  # of findings: some web servers accept 1 MiB
AWAY_SECONDS = 10.0  # until an export that does not follow gives up
POLL_SECONDS = 1.0
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0

_NAMES = ("id", *COLUMNS.split(", "))
_COLLECTOR = re.compile(
    r"https?://([\w.-]+|\[[\da-f:.]+\])(:\d{1,5})?(/[^?#@]*)?", re.ASCII | re.IGNORECASE
)
_BATCH = f"""
    SELECT id, chain || '/' || seq, {COLUMNS} FROM (
        SELECT *, sum(length(findings)) OVER (ORDER BY id) - length(findings) AS chars_before
        FROM (SELECT * FROM audit WHERE id > ? ORDER BY id LIMIT ?) AS next
    ) AS counted WHERE chars_before < ? ORDER BY id"""  # noqa: S608  constants


def choose_target(to: str, form: str) -> Target:
    """Find out what kind of target it is, and check that rows can be sent there.

    Args:
        to: a path, or the URL of a collector.
        form: `jsonl` or `csv` for files, `otlp` for a collector.

    Raises:
        InputError: the target is a wrong one.
    """
    if form != "otlp":
        if "://" in to:
            raise InputError(f"a collector takes otlp, not {form}.")
        return files.FileTarget(to, form)
    if not _COLLECTOR.fullmatch(to):  # not shown: it may have a password
        raise InputError(
            "otlp is for a collector: its URL has http:// or https://, a host, a port and a path."
            " Credentials are in OTEL_EXPORTER_OTLP_HEADERS."
        )
    require_extra("otel", "exports to a collector", InputError)
    from pipeguard.state.export.collector import CollectorTarget

    return CollectorTarget(to)


def export_rows(
    cursor: ExportCursor,
    target: Target,
    *,
    follow: bool,
    before: Callable[[], None],
) -> int:
    """Export the rows of the user's own store after the cursor.

    Args:
        cursor: of the target.
        target: takes the rows.
        follow: whether to wait for more rows, and for a target or a store that is away.
        before: called before each look at the store.

    Returns:
        How many rows the target acknowledged.

    Raises:
        TargetAwayError: the target was away for 10 seconds, and the export does not follow.
        StateError: so was the store.
        PipeGuardError: the target refuses rows, or the cursor cannot be written.
    """
    count = 0
    end = 0.0  # of the patience with what is away
    pause = FIRST_PAUSE_SECONDS
    while True:
        began = time.monotonic()
        try:
            before()
            sent = _send_batch(cursor, target)
        except (targets.TargetAwayError, StateError) as error:
            now = time.monotonic()
            is_first = pause == FIRST_PAUSE_SECONDS
            end = began + AWAY_SECONDS if is_first else end
            if not follow and now >= end:
                raise
            if follow and is_first:
                say(f"{error} The export waits for it.")
            longest = LONGEST_PAUSE_SECONDS if follow else end - now
            time.sleep(min(pause * random.uniform(0.8, 1.2), longest))  # noqa: S311  no secret
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            continue
        pause = FIRST_PAUSE_SECONDS
        count += sent
        if not sent:
            if not follow:
                return count
            time.sleep(POLL_SECONDS)


def _send_batch(cursor: ExportCursor, target: Target) -> int:
    """Send the next rows, move the cursor, and return their number.

    In a store that does not have the cursor's row, the first ones are next.
    """
    with open_store() as store:
        store.replace_invalid()
        place = cursor.place
        found = store.read("SELECT hash FROM audit WHERE id = ?", place.number)
        if place.number and found != [(place.digest,)]:
            say(
                f"the last exported row, {place.uid}, is not in the store: it was removed for its"
                " age, or this is another store; all rows are exported again"
            )
            cursor.move(ExportPlace(place.target))
        found = store.read(_BATCH, cursor.place.number, BATCH_ROWS, BATCH_CHARS)
    if not found:
        return 0
    rows = [dict(zip(_NAMES, columns, strict=True)) for _, *columns in found]
    target.send(rows)
    cursor.move(ExportPlace(place.target, found[-1][0], rows[-1]["id"], rows[-1]["hash"]))
    return len(rows)
