"""Recent activity of each server, by the audit: calls, times, blocks, waiting definitions.

Reads the newest rows alone, so that a look costs the same whatever the audit's length.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import ceil
from typing import NamedTuple

from pipeguard.firewall.session.remedies import is_held
from pipeguard.state.database import translated_errors
from pipeguard.state.store import Store
from pipeguard.state.timestamps import to_utc_text

LATE_SECONDS = 10.0  # by which rows of one process may be written before older ones of another
# The rules that block a blocked message, as a list in JSON; empty for all other rows.
RULES = (
    "CASE WHEN action = 'block' THEN (SELECT"
    " json_group_array(json_extract(value, '$.rule')) FROM json_each(findings)"
    " WHERE json_extract(value, '$.action') = 'block') ELSE '[]' END"
)
MOST_ROWS = 200_000  # of one look: a second, and more than an hour of a busy gateway


class ServerActivity(NamedTuple):
    """The activity of one server in a period.

    Attributes:
        server: its name.
        state: how it is, in a word or a few; empty where nobody knows.
        calls_per_second: answered calls of tools, over the while.
        p50_ms: the median time of a call, in milliseconds; None where there was none.
        p99_ms: the time that 99 of 100 calls took at most; likewise.
        blocked: messages to and from it that were blocked.
        held: calls and lists that were not passed on since definitions wait.
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
        self.last = ""


def recent_activity(store: Store, now: float, window_seconds: float) -> list[ServerActivity]:
    """The activity of each server in the seconds before now, including none.

    Raises:
        StateError: the store cannot be read.
    """
    seen: defaultdict[str, _Seen] = defaultdict(_Seen)
    since = to_utc_text(now - window_seconds)
    for time, server, method, action, duration_ms, blocking in _rows(store, now - window_seconds):
        if time < since:
            continue
        found = seen[server]
        found.last = max(found.last, time)
        waits = is_held(json.loads(blocking))
        found.held += waits
        found.blocked += action == "block" and not waits
        if method == "tools/call" and duration_ms is not None:
            found.times_ms.append(duration_ms)
    waiting = waiting_definitions(store)
    return [
        _activity(name, seen[name], waiting.get(name, 0), window_seconds)
        for name in sorted({*seen, *waiting, *named_servers(store)})
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


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """The value that this share of the values reaches at most; None where there are none."""
    return ordered[ceil(share * len(ordered)) - 1] if ordered else None


def _rows(store: Store, since: float) -> Iterable[tuple[str, str, str, str, float | None, str]]:
    enough = to_utc_text(since - LATE_SECONDS)
    with translated_errors(store.path):
        for row in store.connection.execute(
            f"SELECT time, server, method, action, duration_ms, {RULES} FROM audit"  # noqa: S608  a constant
            " WHERE kind <> 'approval' AND server <> '' ORDER BY id DESC LIMIT ?",
            (MOST_ROWS,),
        ):
            if row[0] < enough:
                return
            yield row


def named_servers(store: Store) -> list[str]:
    """The servers that were ever guarded, whether they could be started or not."""
    with translated_errors(store.path):
        return [server for (server,) in store.connection.execute("SELECT server FROM servers")]


def waiting_definitions(store: Store) -> dict[str, int]:
    """The number of each server's definitions that wait for a decision."""
    with translated_errors(store.path):
        return dict(
            store.connection.execute(
                "SELECT server, count(*) FROM pins WHERE held IS NOT NULL GROUP BY server"
            )
        )
