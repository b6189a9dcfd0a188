"""Calls by the audit: a request and its answer as one, and the counts of the last hour.

A row does not name the row that it answers. A request and its answer are of one chain, method and
tool; the answer has the request's length, and its duration leads back to the request's time, or to
a later one: an answer is written once it is judged.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.state.audit import COLUMNS, AuditRow, list_findings, make_row, select
from pipeguard.state.search import MOST_LOOKED_AT, find_rows, last_number
from pipeguard.state.timestamps import to_utc_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeguard.state.row_filter import RowFilter
    from pipeguard.state.store import Store

HOUR_SECONDS, BIN_SECONDS = 3600, 30
BUSY_ROWS, BUSY_SECONDS = 500, 10  # rows and time: 50 rows in a second
SLOW_MS = 500
_APART_SECONDS = 0.25  # the clocks of a request and its answer may differ so much
_JUDGED_SECONDS = 60.0  # that judging an answer may take: its duration leaves that out
_REACH_ROWS = 400  # of a chain, between a request and its answer
_Row = tuple[int, AuditRow]  # with its number in the store
_ORDER = ("allow", "warn", "redact", "cut", "ask", "block")
# Messages that a peer waits for, and findings in others.
_SHOWN = (
    "kind NOT IN ('approval', 'proposal', 'retention', 'gap') AND method <> 'ping'"
    " AND (action <> 'allow' OR kind IN ('request', 'result', 'error'))"
)
_COUNTED = "(duration_ms IS NOT NULL OR (kind = 'request' AND action IN ('block', 'ask')))"


class AuditedCall(NamedTuple):
    """A call, or another message.

    Attributes:
        number: of its newest row in the store.
        row: the row that decided, which an event's page explains.
        request: its request, if the audit has it.
        answer: its answer, if the audit has it.
    """

    number: int
    row: AuditRow
    request: AuditRow | None
    answer: AuditRow | None

    @property
    def rule(self) -> str:
        """The rule that decided; empty if none found anything."""
        return next((each["rule"] for each in list_findings(self.row.entry)), "")

    @property
    def sent_bytes(self) -> tuple[int | None, int | None]:
        """The bytes to the server and from it; None if unknown."""
        request = self.request.entry.frame_bytes if self.request else None
        if self.answer is not None and request is None:
            request = self.answer.entry.request_bytes
        if self.request is not None and self.request.entry.action in {"block", "ask"}:
            request = request if self.answer else 0
        answer = self.answer.entry.frame_bytes if self.answer else None
        first = self.request or self.answer or self.row
        asks = (first is self.request) == (first.entry.direction == "to-server")
        return (request, answer) if asks else (answer, request)


def find_calls(
    store: Store, where: RowFilter, *, limit: int, before: int = 0, hides_passed: bool = False
) -> tuple[list[AuditedCall], int]:
    """Find the newest calls with a row that fits a filter.

    Returns:
        The calls, the newest first; and the number below which more may fit, or 0.

    Raises:
        StateError: the store cannot be read.
    """
    only = f"{_SHOWN} AND action <> 'allow'" if hides_passed else _SHOWN
    rows, older = find_rows(store, where, limit=2 * limit + 1, before=before, only=only)
    calls = []
    for number, first, second in _pair(store, rows, before):
        request, answer = (first, second) if _is_request(first) else (second, first)
        if answer is not None and answer.entry.duration_ms is None:
            answer = None
        decided = max(filter(None, (first, second)), key=_gravity)
        if where.fits_verdict(decided.entry.action):
            calls.append(AuditedCall(number, decided, request, answer))
    if len(calls) > limit:
        calls, older = calls[:limit], calls[limit - 1].number
    return calls, older


def _gravity(row: AuditRow) -> int:
    return _ORDER.index(row.entry.action) if row.entry.action in _ORDER else 0


def _is_request(row: AuditRow) -> bool:
    return row.entry.kind == "request"


def _pair(
    store: Store, rows: list[_Row], before: int
) -> list[tuple[int, AuditRow, AuditRow | None]]:
    """Each row with its counterpart, among the rows or else in the store."""
    found, pairs = _match(rows), []
    for number, row in rows:
        other = found.get(number)
        if other is None:
            other = _look_up(store, number, row)
            if other is not None and before and other[0] >= before:
                continue  # the page before this one has it
        elif _is_request(row):
            continue  # its answer has it
        pairs.append((number, row, other[1] if other else None))
    return pairs


def _match(rows: Iterable[_Row]) -> dict[int, _Row]:
    """The counterparts of rows among these rows, given newest first, by number."""
    answers: defaultdict[tuple[object, ...], list[_Row]] = defaultdict(list)
    found: dict[int, _Row] = {}
    for each in rows:
        number, row = each
        if row.entry.duration_ms is not None:
            answers[_key(row)].append(each)
        elif _is_request(row):
            waiting = [(_lateness(row, other[1]), other) for other in answers[_key(row)]]
            near = [pair for pair in waiting if -_APART_SECONDS < pair[0] < _JUDGED_SECONDS]
            if near:
                _, nearest = min(near, key=lambda pair: abs(pair[0]))
                answers[_key(row)].remove(nearest)
                found[number], found[nearest[0]] = nearest, each
    return found


def _key(row: AuditRow) -> tuple[object, ...]:
    entry = row.entry
    size = entry.frame_bytes if _is_request(row) else entry.request_bytes
    return row.chain, entry.method, entry.tool, size


def _lateness(request: AuditRow, answer: AuditRow) -> float:
    """Seconds by which an answer's row is later than its duration says, because of its judging."""
    came = _seconds(answer.entry.time) - (answer.entry.duration_ms or 0) / 1000
    return came - _seconds(request.entry.time)


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()


def _look_up(store: Store, number: int, row: AuditRow) -> _Row | None:
    """The counterpart of a row in the store."""
    is_answer = row.entry.duration_ms is not None
    if not is_answer and (not _is_request(row) or row.entry.action == "block"):
        return None
    condition = (
        "WHERE chain = ? AND seq BETWEEN ? AND ? AND method = ? AND tool = ?"
        " AND iif(kind = 'request', frame_bytes, request_bytes) = ? ORDER BY id DESC"
    )
    values = (row.chain, row.seq - _REACH_ROWS, row.seq + _REACH_ROWS, *_key(row)[1:])
    near = select(store, f"id, {COLUMNS}", condition, values)
    return _match((at, make_row(columns)) for at, *columns in near).get(number)


def is_busy(store: Store, now: float) -> bool:
    """True while more rows come in than anyone can read.

    Raises:
        StateError: the store cannot be read.
    """
    row = next(select(store, "time", "ORDER BY id DESC LIMIT 1 OFFSET ?", (BUSY_ROWS,)), None)
    return row is not None and row[0] > to_utc_text(now - BUSY_SECONDS)


class HourCounts:
    """Counts of the last hour, in bins; each look reads only the rows added after the last one."""

    NAMES = ("calls", "block", "ask", "changed", "warn", "slow")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0
        self._bins: dict[int, Counter[str]] = {}

    def look(self, store: Store, now: float) -> list[Counter[str]]:
        """The counts in each bin, the oldest first.

        Raises:
            StateError: the store cannot be read.
        """
        with self._lock:
            last = last_number(store)
            if last < self._last:
                self._last, self._bins = 0, {}
            first = (int(now) - HOUR_SECONDS) // BIN_SECONDS + 1
            self._add(store, max(self._last, last - MOST_LOOKED_AT), first)
            self._last = last
            self._bins = {at: counts for at, counts in self._bins.items() if at >= first}
            span = range(first, first + HOUR_SECONDS // BIN_SECONDS)
            return [self._bins.get(at, Counter()) for at in span]

    def _add(self, store: Store, after: int, first: int) -> None:
        columns = (
            "substr(time, 1, 17) || iif(substr(time, 18, 1) < '3', '00Z', '30Z') AS bin,"
            f" sum({_COUNTED}), sum(action = 'block'), sum(action = 'ask'),"
            " sum(action IN ('redact', 'cut')), sum(action = 'warn'),"
            f" sum(coalesce(duration_ms, 0) >= {SLOW_MS})"
        )
        condition = f"WHERE id > ? AND time >= ? AND {_SHOWN} GROUP BY bin"
        values = (after, to_utc_text(first * BIN_SECONDS))
        for moment, *counts in select(store, columns, condition, values):
            at = int(_seconds(moment)) // BIN_SECONDS
            added = Counter(dict(zip(self.NAMES, counts, strict=True)))
            self._bins[at] = self._bins.get(at, Counter()) + added
