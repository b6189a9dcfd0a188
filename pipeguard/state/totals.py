"""Totals of each server: stopped, warned of, and would have been stopped; today and lately.

Reads what something was found in, newest first, and stops where the time is long over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from pipeguard.state.activity import HELD, LATE_SECONDS, RULES, find_outcome, waiting_definitions
from pipeguard.state.audit import select
from pipeguard.state.store import Store
from pipeguard.state.timestamps import to_utc_text

DAYS = 7  # of the longer while
# Rows in a row that are too old, after which all are: a clock that was wrong for one run wrote some
# behind younger ones.
MOST_OLD = 5_000


class Totals(NamedTuple):
    """Messages of one while.

    Attributes:
        blocked: that did not go on.
        held: that did not go on, or not whole, only since definitions wait for a person.
        changed: that went on without a secret or a passage.
        warned: that went on with a warning.
        would: that went on, and would have been blocked or changed with `mode: enforce`.
    """

    blocked: int = 0
    held: int = 0
    changed: int = 0
    warned: int = 0
    would: int = 0


class ServerTotals(NamedTuple):
    """The totals of one server.

    Attributes:
        server: its name.
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
    for time, server, action, would in _rows(store, since):
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


def _rows(store: Store, since: float) -> Iterator[tuple[str, str, str, bool]]:
    """Time, server, action, and whether more would have been done, the newest first."""
    enough, old = to_utc_text(since - LATE_SECONDS), 0
    # A text in a finding has its quotes escaped, so that none looks like a member.
    columns = f'time, server, action, instr(findings, \'"would":"\') > 0, {RULES}'
    condition = (
        "WHERE action IN ('block', 'cut', 'redact', 'warn') AND server <> ''"
        # Every list has what the policy leaves out of it.
        " AND NOT (method = 'tools/list' AND json_array_length(findings) = 1"
        " AND json_extract(findings, '$[0].rule') = 'policy.tool') ORDER BY id DESC"
    )
    for time, server, action, would, rules in select(store, columns, condition):
        old = old + 1 if time < enough else 0
        if old > MOST_OLD:
            return
        yield time, server, find_outcome(action, rules), bool(would)
