"""Calls by the audit: a request and its answer as one, and the counts of the last hour.

A row does not name the row that it answers. A request and its answer are of one chain, method and
tool; the answer has the request's length and is written later, and its duration leads back to about
the request's time: judging either may take a while. Of several calls that are alike, those that fit
best belong together.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.firewall.session.remedies import is_held
from pipeguard.state.activity import FROM_PEER
from pipeguard.state.audit import COLUMNS, AuditEntry, AuditRow, list_findings, make_row, select
from pipeguard.state.row_conditions import OUTCOME
from pipeguard.state.row_filter import HELD, RowFilter
from pipeguard.state.schema import CALL_CAME, IS_NOTICED, SLOW_MS
from pipeguard.state.search import MOST_LOOKED_AT, find_place, find_rows, last_number
from pipeguard.state.timestamps import from_utc_text, to_utc_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipeguard.state.pins import Store

HOUR_SECONDS = 3600
BIN_SECONDS = 30
BUSY_ROWS, BUSY_SECONDS = 500, 10  # rows and time: 50 rows in a second
_JUDGED_SECONDS = 60.0  # that judging a request or its answer may take: no duration has that
_REACH_ROWS = 400  # of a chain, between a request and the answer to it unless that was slow
_ALIKE = 16  # rows before and after one that are compared with it
_Row = tuple[int, AuditRow]  # with its number in the store
_TimedRow = tuple[float, int, AuditRow]  # with the time at which its call came, too
_GRAVITY = {"allow": 0, "warn": 1, "redact": 2, "cut": 3, "ask": 4, "block": 5}
# Messages that a peer waits for, and findings in others.
_SHOWN = (
    "kind NOT IN ('approval', 'proposal', 'retention', 'gap') AND method <> 'ping'"
    " AND (action <> 'allow' OR kind IN ('request', 'result', 'error'))"
)
_IS_STOPPED = "kind = 'request' AND action IN ('block', 'ask') AND duration_ms IS NULL"
_OUTCOMES = ("'block'", f"'{HELD}'", "'ask'", "'redact', 'cut'", "'warn'")  # as counted below
_BIN = "substr(time, 1, 17) || iif(substr(time, 18, 1) < '3', '00Z', '30Z')"


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
    def is_open(self) -> bool:
        """True if the server got the request and no answer to it is known."""
        return self.answer is None and self.row.entry.action not in {"block", "ask"}

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
    only = f"{_SHOWN} AND {IS_NOTICED} AND action <> 'allow'" if hides_passed else _SHOWN
    rows, older = find_rows(store, where, limit=2 * limit + 1, before=before, only=only)
    calls = []
    for number, first, second in _pair(store, rows, before):
        request, answer = (first, second) if _is_request(first) else (second, first)
        if answer is not None and answer.entry.duration_ms is None:
            answer = None
        decided = max(
            filter(None, (first, second)), key=lambda each: _GRAVITY.get(each.entry.action, 0)
        )
        outcome = find_outcome(decided.entry)
        if where.fits_verdict(outcome) and not _has_ended(store, number, first, where):
            calls.append(AuditedCall(number, decided, request, answer))
    if len(calls) > limit:
        calls, older = calls[:limit], calls[limit - 1].number
    return calls, older


def find_outcome(entry: AuditEntry) -> str:
    """The action of a row, or `HELD` if all that blocks it are definitions that wait."""
    rules = (each["rule"] for each in list_findings(entry) if each.get("action") == "block")
    return HELD if entry.action == "block" and is_held(rules) else entry.action


def _is_request(row: AuditRow) -> bool:
    return row.entry.kind == "request"


def _pair(
    store: Store, rows: list[_Row], before: int
) -> list[tuple[int, AuditRow, AuditRow | None]]:
    """Each row with its counterpart, among the rows or else in the store."""
    found = _match(rows)
    pairs = []
    for number, row in rows:
        other = found.get(number)
        if other is not None and _is_request(row):
            continue  # its answer has it
        other = other or _look_up(store, number, row)
        if other is not None and before and other[0] >= before:
            continue  # the page before this one has it
        pairs.append((number, row, other[1] if other else None))
    return pairs


def _match(rows: Iterable[_Row]) -> dict[int, _Row]:
    """The counterparts of rows among these rows, by number."""
    alike: defaultdict[tuple[object, ...], list[_TimedRow]] = defaultdict(list)
    found: dict[int, _Row] = {}
    for number, row in rows:
        alike[_key(row)].append((_came(row), number, row))
    pairs = [pair for group in alike.values() for pair in _list_pairs(group)]
    for _, _, asked, answered in sorted(pairs, key=lambda pair: pair[:2]):
        if asked[0] not in found and answered[0] not in found:
            found[asked[0]], found[answered[0]] = answered, asked
    return found


def _list_pairs(group: list[_TimedRow]) -> Iterator[tuple[float, int, _Row, _Row]]:
    """The requests and answers of alike rows that could be one call, with the time between."""
    group.sort(key=lambda each: each[:2])
    for at, (came, number, row) in enumerate(group):
        for began, other, answer in group[max(0, at - _ALIKE) : at + _ALIKE]:
            is_answer = answer.entry.duration_ms is not None and other > number
            apart = abs(began - came)
            if _is_request(row) and is_answer and apart < _JUDGED_SECONDS:
                yield apart, -number, (number, row), (other, answer)


def _key(row: AuditRow) -> tuple[object, ...]:
    entry = row.entry
    size = entry.frame_bytes if _is_request(row) else entry.request_bytes
    return row.chain, entry.method, entry.tool, size


def _came(row: AuditRow) -> float:
    """The time at which a call came, by the row of its request or of its answer."""
    return from_utc_text(row.entry.time) - (row.entry.duration_ms or 0) / 1000


def _look_up(store: Store, number: int, row: AuditRow) -> _Row | None:
    """The counterpart of a row in the store."""
    entry = row.entry
    middle = row.seq
    if entry.duration_ms is None and (not _is_request(row) or entry.action == "block"):
        return None
    came = to_utc_text(_came(row))
    (chain, method, tool, size) = _key(row)
    if (entry.duration_ms or 0) >= SLOW_MS:
        middle = find_place(store, came, range(1, row.seq), "chain = ? AND seq", chain)
    near = (
        "WHERE chain = ? AND seq BETWEEN ? AND ? AND method = ? AND tool = ?"
        " AND iif(kind = 'request', frame_bytes, request_bytes) = ?"
    )
    slow = (
        f"WHERE duration_ms >= {SLOW_MS} AND chain = ? AND request_bytes = ?"
        f" AND {CALL_CAME} BETWEEN julianday(?) * 86400 - ? AND julianday(?) * 86400 + ? LIMIT ?"
    )
    around = (came, _JUDGED_SECONDS, came, _JUDGED_SECONDS, _REACH_ROWS)
    reach = (middle - _REACH_ROWS, middle + _REACH_ROWS)
    found = {
        *select(store, f"id, {COLUMNS}", near, (chain, *reach, method, tool, size)),
        *select(store, f"id, {COLUMNS}", slow, (chain, size, *around)),
    }
    return _match((at, make_row(columns)) for at, *columns in found).get(number)


def _has_ended(store: Store, number: int, row: AuditRow, where: RowFilter) -> bool:
    """True for a call that waited, if the row that ended its wait fits the filter, too."""
    is_only_ask = not any(where.fits_verdict(each) for each in _GRAVITY if each != "ask")
    if row.entry.action != "ask" or is_only_ask:
        return False
    condition = f"WHERE id > ? AND {IS_NOTICED} AND chain = ? AND instr(findings, ?) > 0 LIMIT 1"
    values = (number, row.chain, f'event {row.entry.event}"')
    return any(where.fits_verdict(end) for (end,) in select(store, OUTCOME, condition, values))


def is_busy(store: Store, now: float) -> bool:
    """True while more rows come in than anyone can read.

    Raises:
        StateError: the store cannot be read.
    """
    row = next(select(store, "time", "ORDER BY id DESC LIMIT 1 OFFSET ?", (BUSY_ROWS,)), None)
    return row is not None and row[0] > to_utc_text(now - BUSY_SECONDS)


class HourCounts:
    """Counts of the last hour, in bins; each look reads only the rows added after the last one."""

    NAMES = ("calls", "slow", "block", "held", "ask", "changed", "warn")

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
                self._last = 0
                self._bins = {}
            first = (int(now) - HOUR_SECONDS) // BIN_SECONDS + 1
            self._add(store, max(self._last, last - MOST_LOOKED_AT), first)
            self._last = last
            self._bins = {at: counts for at, counts in self._bins.items() if at >= first}
            span = range(first, first + HOUR_SECONDS // BIN_SECONDS)
            return [self._bins.get(at, Counter()) for at in span]

    def _add(self, store: Store, after: int, first: int) -> None:
        values = (after, to_utc_text(first * BIN_SECONDS))
        outcomes = ", ".join(f"sum({OUTCOME} IN ({names}))" for names in _OUTCOMES)
        answered = f"duration_ms IS NOT NULL AND {FROM_PEER}"
        for counts, which in (
            (f"count(*), sum(duration_ms >= {SLOW_MS})", answered),
            (f"sum({_IS_STOPPED}), 0, {outcomes}", IS_NOTICED),
        ):
            condition = f"WHERE id > ? AND time >= ? AND {which} AND {_SHOWN} GROUP BY bin"
            for moment, *found in select(store, f"{_BIN} AS bin, {counts}", condition, values):
                at = int(from_utc_text(moment)) // BIN_SECONDS
                added = Counter(dict(zip(self.NAMES, found, strict=False)))
                self._bins[at] = self._bins.get(at, Counter()) + added
