"""Recent activity of each server, by the audit: calls, times, blocks, waiting definitions.

Reads only the newest rows, so that a look costs the same for any length of the audit.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from math import ceil
from typing import Any, NamedTuple

from pipeguard.firewall.session.remedies import is_held
from pipeguard.state.audit import COLUMNS, AuditEntry, make_row, select
from pipeguard.state.schema import MAX_NAME_CHARS
from pipeguard.state.store import Store
from pipeguard.state.timestamps import from_utc_text, to_utc_text

LATE_SECONDS = 10.0  # rows of one process may be written so much before older ones of another
# The rules that block a blocked message, as a list in JSON; empty for all other rows.
RULES = (
    "CASE WHEN action = 'block' THEN (SELECT"
    " json_group_array(json_extract(value, '$.rule')) FROM json_each(findings)"
    " WHERE json_extract(value, '$.action') = 'block') ELSE '[]' END"
)
_MINUTE_CHARS = len("2026-01-01T00:00")
OPENINGS = ("initialize", "server/discover")  # with which a client opens a conversation
HELD = "held"  # instead of the action, for messages that wait for a person
MOST_MESSAGES = 60  # of one tool
MOST_ROWS = 200_000  # of one look: a second, and more than an hour of a busy gateway


_Row = tuple[Any, ...]  # time, server, method, direction, outcome, duration in milliseconds


class ServerActivity(NamedTuple):
    """The activity of one server in a period.

    Attributes:
        state: its condition, in a few words; empty if unknown.
        calls_per_second: answered calls of tools, in the period.
        p50_ms: the median time of a call, in milliseconds; None without a call.
        p99_ms: the time that 99 of 100 calls took at most; None without a call.
        blocked: messages to and from it that were blocked.
        held: calls and lists that were not passed on because definitions wait.
        waiting: its definitions that wait for approval.
    """

    server: str
    state: str
    calls_per_second: float
    p50_ms: float | None
    p99_ms: float | None
    blocked: int
    held: int
    waiting: int


class _Seen:
    """The counts of one server."""

    def __init__(self) -> None:
        self.times_ms: list[float] = []
        self.blocked = self.held = 0
        self.last = self.heard = self.opened = ""

    def add(self, row: _Row) -> None:
        time, _, method, direction, outcome, duration_ms = row
        self.last = max(self.last, time)
        if direction == "to-client":
            self.heard = max(self.heard, time)
        elif method in OPENINGS:
            self.opened = max(self.opened, time)
        self.blocked += outcome == "block"
        self.held += outcome == HELD
        if method == "tools/call" and duration_ms is not None:
            self.times_ms.append(duration_ms)


def recent_activity(store: Store, now: float, window_seconds: float) -> list[ServerActivity]:
    """The activity of each server in the seconds before now, including none.

    Raises:
        StateError: the store cannot be read.
    """
    seen: defaultdict[str, _Seen] = defaultdict(_Seen)
    since = to_utc_text(now - window_seconds)
    for row in _rows(store, now - window_seconds):
        if row[0] >= since:
            seen[row[1]].add(row)
    waiting = waiting_definitions(store)
    return [
        _activity(name, seen[name], waiting.get(name, 0), window_seconds)
        for name in sorted({*seen, *waiting, *store.named_servers()})
    ]


def _activity(name: str, seen: _Seen, waiting: int, window_seconds: float) -> ServerActivity:
    times = sorted(seen.times_ms)
    return ServerActivity(
        name,
        "active" if seen.last else "idle",
        len(times) / window_seconds,
        quantile(times, 0.5),
        quantile(times, 0.99),
        seen.blocked,
        seen.held,
        waiting,
    )


class ServerHistory(NamedTuple):
    """The activity of one server in steps of equal length, the oldest first.

    Attributes:
        calls: answered calls of tools.
        blocked: messages that were blocked, without waiting ones.
        p50_ms: the median time of a call, in milliseconds; None without a call.
        median_ms: the median time in all steps together.
        last: when its newest message came (ISO 8601, UTC); empty if none did.
        unanswered: when it was started last, if it has sent nothing afterwards (ISO 8601, UTC).
    """

    calls: tuple[int, ...]
    blocked: tuple[int, ...]
    p50_ms: tuple[float | None, ...]
    median_ms: float | None
    last: str
    unanswered: str = ""


def activity_history(
    store: Store, now: float, periods: Sequence[tuple[int, int]]
) -> list[dict[str, ServerHistory]]:
    """The history of each server that sent or got anything in a period, for several periods.

    Args:
        store: the store.
        now: seconds since the epoch; the last step of each period ends with its minute.
        periods: each as the minutes of a step, and the number of steps.

    Raises:
        StateError: the store cannot be read.
    """
    seen = [defaultdict[str, list[_Seen]](partial(_begin, steps)) for _, steps in periods]
    this_minute = int(now // 60)
    longest = max(minutes * steps for minutes, steps in periods)
    written, places = "", list[tuple[dict[str, list[_Seen]], int]]()
    for row in _rows(store, now - 60 * longest):
        time, server, *_ = row
        if time[:_MINUTE_CHARS] != written:  # parsing each time would take longer than the rest
            written = time[:_MINUTE_CHARS]
            ago = this_minute - int(from_utc_text(time) // 60)
            places = [
                (each, steps - 1 - ago // minutes)
                for each, (minutes, steps) in zip(seen, periods, strict=True)
                if 0 <= ago // minutes < steps
            ]
        for each, index in places:
            each[server][index].add(row)
    return [{server: _history(steps) for server, steps in each.items()} for each in seen]


def _begin(steps: int) -> list[_Seen]:
    return [_Seen() for _ in range(steps)]


def _history(steps: Sequence[_Seen]) -> ServerHistory:
    heard = max(step.heard for step in steps)
    return ServerHistory(
        tuple(len(step.times_ms) for step in steps),
        tuple(step.blocked for step in steps),
        tuple(quantile(sorted(step.times_ms), 0.5) for step in steps),
        quantile(sorted(time for step in steps for time in step.times_ms), 0.5),
        max(step.last for step in steps),
        opened if (opened := max(step.opened for step in steps)) > heard else "",
    )


class KnownServer(NamedTuple):
    """A server that was ever guarded.

    Attributes:
        launched: its program or address, in words.
        since: when it got its name (ISO 8601, UTC).
        last_run: when it was started last (ISO 8601, UTC); empty if the audit no longer has it.
    """

    launched: str
    since: str
    last_run: str


def guarded_servers(store: Store) -> dict[str, KnownServer]:
    """The servers that were ever guarded, by name.

    Raises:
        StateError: the store cannot be read.
    """
    last = "(SELECT server, max(started) AS last FROM chains GROUP BY server)"
    servers = f"servers LEFT JOIN {last} USING (server)"
    rows = select(store, "server, launched, since, coalesce(last, '')", "", table=servers)
    return {name: KnownServer(*fields) for name, *fields in rows}


def tool_calls(
    store: Store, server: str, tool: str, since: float, client: str = ""
) -> list[AuditEntry]:
    """The newest messages of one tool's calls, and of lists with a finding about the tool.

    Args:
        store: the store.
        server: whose tool it is.
        tool: its name.
        since: seconds since the epoch.
        client: only of this client; empty for all.

    Raises:
        StateError: the store cannot be read.
    """
    name = tool[:MAX_NAME_CHARS]
    condition = (
        "WHERE server = ? AND time >= ? AND (tool = ? AND method = 'tools/call'"
        " OR method = 'tools/list' AND instr(findings, ?) > 0)"
        " AND (? = '' OR substr(client, 1, length(?)) = ?) ORDER BY id DESC LIMIT ?"
    )
    values = (server, to_utc_text(since), name, f'"tool":{json.dumps(name)}')
    rows = select(store, COLUMNS, condition, (*values, *[client] * 3, MOST_MESSAGES))
    return [make_row(columns).entry for columns in rows]


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """The value that this share of the values reaches at most; None without values."""
    return ordered[ceil(share * len(ordered)) - 1] if ordered else None


def _rows(store: Store, since: float) -> Iterator[_Row]:
    """The rows after a moment, the newest first."""
    enough = to_utc_text(since - LATE_SECONDS)
    columns = f"time, server, method, direction, duration_ms, action, {RULES}"
    condition = "WHERE kind <> 'approval' AND server <> '' ORDER BY id DESC LIMIT ?"
    for *fields, duration_ms, action, rules in select(store, columns, condition, (MOST_ROWS,)):
        if fields[0] < enough:
            return
        yield *fields, find_outcome(action, rules), duration_ms


def find_outcome(action: str, rules: str) -> str:
    """The action of a row, or `HELD`, by its `RULES`."""
    return HELD if action == "block" and is_held(json.loads(rules)) else action


def waiting_definitions(store: Store) -> dict[str, int]:
    """The number of each server's definitions that wait for a decision."""
    condition = "WHERE held IS NOT NULL AND reason NOT IN ('withdrawn', 'rejected') GROUP BY server"
    return dict(select(store, "server, count(*)", condition, table="pins"))


# --- totals ------------------------------------------------------------------------------
# Messages stopped, warned of, or to stop in `enforce`; today and lately. Reads rows with findings,
# newest first, and stops at rows that are too old.

DAYS = 7  # of the longer while
# Rows in a row that are too old, after which all are: a clock that was wrong for one run wrote some
# behind younger ones.
MOST_OLD = 5_000


class Totals(NamedTuple):
    """Messages of one period.

    Attributes:
        blocked: not forwarded.
        held: not forwarded, or not whole, only because definitions wait for a person.
        changed: forwarded without a secret or a passage.
        warned: forwarded with a warning.
        would: forwarded, but with `mode: enforce` blocked or changed.
    """

    blocked: int = 0
    held: int = 0
    changed: int = 0
    warned: int = 0
    would: int = 0


class ServerTotals(NamedTuple):
    """The totals of one server.

    Attributes:
        today: since the beginning of the day.
        week: in the last days.
        waiting: its definitions that wait for a decision.
    """

    server: str
    today: Totals
    week: Totals
    waiting: int


def totals(store: Store, now: float, day_began: float) -> list[ServerTotals]:
    """The totals of every server that was ever guarded, by name.

    Args:
        store: the store.
        now: seconds since the epoch.
        day_began: when today began, for the user.

    Raises:
        StateError: the store cannot be read.
    """
    today: defaultdict[str, Totals] = defaultdict(Totals)
    week: defaultdict[str, Totals] = defaultdict(Totals)
    since = now - DAYS * 86_400
    first, first_today = to_utc_text(since), to_utc_text(day_began)
    for time, server, action, would in _find_noticed(store, since):
        if time >= first:
            week[server] = _with(week[server], action, would=would)
        if time >= first_today:
            today[server] = _with(today[server], action, would=would)
    waiting = waiting_definitions(store)
    return [
        ServerTotals(name, today[name], week[name], waiting.get(name, 0))
        for name in sorted({*week, *waiting, *store.named_servers()})
    ]


def _with(count: Totals, action: str, *, would: bool) -> Totals:
    """A count with one message more."""
    return Totals(
        count.blocked + (action == "block"),
        count.held + (action == HELD),
        count.changed + (action in ("redact", "cut")),
        count.warned + (action == "warn" and not would),
        count.would + would,
    )


def _find_noticed(store: Store, since: float) -> Iterator[tuple[str, str, str, bool]]:
    """Time, server, action, and whether `enforce` would do more, the newest first."""
    enough, old = to_utc_text(since - LATE_SECONDS), 0
    # A text in a finding has its quotes escaped, so that none looks like a member.
    columns = f'time, server, action, instr(findings, \'"would":"\') > 0, {RULES}'
    condition = (
        "WHERE action IN ('block', 'cut', 'redact', 'warn') AND server <> ''"
        # Every list has the findings of tools that the policy or a person leaves out.
        " AND NOT (method = 'tools/list' AND action = 'warn' AND NOT EXISTS (SELECT 1 FROM"
        " json_each(findings) WHERE json_extract(value, '$.severity') <> 'low')) ORDER BY id DESC"
    )
    for time, server, action, would, rules in select(store, columns, condition):
        old = old + 1 if time < enough else 0
        if old > MOST_OLD:
            return
        yield time, server, find_outcome(action, rules), bool(would)
