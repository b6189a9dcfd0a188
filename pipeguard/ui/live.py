"""Every call as it happens, with a filter in the address."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web
from markupsafe import Markup

from pipeguard.state.calls import (
    BIN_SECONDS,
    HOUR_SECONDS,
    AuditedCall,
    HourCounts,
    find_calls,
    is_busy,
)
from pipeguard.state.row_filter import RowFilter, WrongFilterError, parse_filter
from pipeguard.state.timestamps import to_utc_text
from pipeguard.ui import event as event_page
from pipeguard.ui.event import ExplainedEvent, explain_event
from pipeguard.ui.page import draw, with_store
from pipeguard.ui.plots import bars

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from pipeguard.state.store import Store

SHOWN = 100  # calls of one page
COUNTS: web.AppKey[HourCounts] = web.AppKey("counts", HourCounts)
_HOUR = "since:1h"
_VIEWS = (
    ("Everything", _HOUR, "calls"),
    ("Blocked", f"{_HOUR} verdict:block", "block"),
    ("Asked", f"{_HOUR} verdict:ask", "ask"),
    ("Changed", f"{_HOUR} verdict:redact,cut", "changed"),
    ("Warned", f"{_HOUR} verdict:warn", "warn"),
    ("Slower than 500 ms", f"{_HOUR} slower:500ms", "slow"),
)


@dataclass(slots=True)
class LivePage:
    """The contents of the page.

    Attributes:
        calls: the newest first.
        older: the number before which older ones are; 0 if there are none.
        is_busy: calls that passed are counted, not listed.
        views: filters that are often used: the name, the filter, and its calls of the last hour.
        plot: the last hour.
        begins: when it began (ISO 8601, UTC).
        opened: the event that is open.
    """

    calls: list[AuditedCall] = field(default_factory=list)
    older: int = 0
    is_busy: bool = False
    views: list[tuple[str, str, int]] = field(default_factory=list)
    plot: Markup = field(default_factory=Markup)
    begins: str = ""
    opened: ExplainedEvent | None = None


def add_routes(app: web.Application) -> None:
    """Add the addresses of this page."""
    app[COUNTS] = HourCounts()
    app.router.add_get("/live", _live)
    event_page.add_routes(app)


def read_query(request: web.Request) -> tuple[str, RowFilter | None, str, int]:
    """The filter as it was typed and as it was read, what is wrong with it, and where to begin."""
    text = request.query.get("q", "").strip()
    before = request.query.get("before", "")
    number = int(before) if before.isdecimal() and len(before) < len(str(2**63)) else 0
    try:
        return text, parse_filter(text), "", number
    except WrongFilterError as error:
        return text, None, str(error), number


async def _live(request: web.Request) -> web.StreamResponse:
    query, where, wrong, before = read_query(request)
    counts, name = request.app[COUNTS], request.query.get("open", "")
    live = await with_store(request, lambda store: _look(store, counts, where, before, name))
    return await draw(
        request, "live.html", "Live", query=query, wrong=wrong, before=before, live=live
    )


def _look(
    store: Store, counts: HourCounts, where: RowFilter | None, before: int, name: str
) -> LivePage:
    now = time.time()
    bins = counts.look(store, now)
    sums = {name: sum(each[name] for each in bins) for name in HourCounts.NAMES}
    page = LivePage(
        views=[(name, query, sums[key]) for name, query, key in _VIEWS],
        plot=_plot(bins, sums),
        begins=to_utc_text(now - HOUR_SECONDS),
        opened=explain_event(store, name),
    )
    if where is not None:
        has_verdict = any(term.field == "verdict" for term in where.terms)
        page.is_busy = not before and not has_verdict and is_busy(store, now)
        page.calls, page.older = find_calls(
            store, where, limit=SHOWN, before=before, hides_passed=page.is_busy
        )
    return page


def _plot(bins: Sequence[Counter[str]], sums: dict[str, int]) -> Markup:
    label = (
        f"Calls in each {BIN_SECONDS} seconds of the last hour: {sums['calls']:,} in all."
        f" {sums['block']:,} messages were blocked."
    )
    return bars([each["calls"] for each in bins], [each["block"] for each in bins], label)
