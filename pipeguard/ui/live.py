"""Every call as it happens, with a filter in the address."""

import time

from aiohttp import web

from pipeguard.assess.isolated_servers import RunningProcesses
from pipeguard.state import calls
from pipeguard.state.pins import Store
from pipeguard.state.row_filter import RowFilter, WrongFilterError, parse_filter
from pipeguard.state.timestamps import to_utc_text
from pipeguard.ui.event import explain_event
from pipeguard.ui.page import PAGE, Request, Response, draw, with_store
from pipeguard.ui.plots import bars

SHOWN = 100  # calls of one page
_HOUR = "since:1h"
_VIEWS = (
    ("Everything", _HOUR, "calls"),
    ("Blocked", f"{_HOUR} verdict:block", "block"),
    ("Held", f"{_HOUR} verdict:held", "held"),
    ("Asked", f"{_HOUR} verdict:ask", "ask"),
    ("Changed", f"{_HOUR} verdict:redact,cut", "changed"),
    ("Warned", f"{_HOUR} verdict:warn", "warn"),
    ("Slower than 500 ms", f"{_HOUR} slower:500ms", "slow"),
)


def read_query(request: Request) -> tuple[str, RowFilter | None, str, int]:
    """Return the filter as typed and as parsed, its error, and the row to begin at."""
    text = request.query.get("q", "").strip()
    before = request.query.get("before", "")
    number = int(before) if before.isdecimal() and len(before) < len(str(2**63)) else 0
    try:
        return text, parse_filter(text), "", number
    except WrongFilterError as error:
        return text, None, str(error), number


async def _live(request: Request) -> Response:
    query, where, wrong, before = read_query(request)
    counts, name = request.app[PAGE].counts, request.query.get("open", "")
    live = await with_store(request, lambda store: _look(store, counts, where, before, name))
    return await draw(
        request, "live.html", "Live", query=query, wrong=wrong, before=before, live=live
    )


def _look(
    store: Store, counts: calls.HourCounts, where: RowFilter | None, before: int, name: str
) -> dict[str, object]:
    """Draw the last hour, and list the calls that match a filter; if busy, without passed calls."""
    now = time.time()
    bins = counts.look(store, now)
    sums = {name: sum(each[name] for each in bins) for name in calls.HourCounts.NAMES}
    label = (
        f"Calls in each {calls.BIN_SECONDS} seconds of the last hour: {sums['calls']:,} in all."
        f" {sums['block']:,} messages were blocked."
    )
    found, older, hides_passed = list[calls.AuditedCall](), 0, False
    if where is not None:
        has_verdict = any(term.field == "verdict" for term in where.terms)
        hides_passed = not before and not has_verdict and calls.is_busy(store, now)
        found, older = calls.find_calls(
            store, where, limit=SHOWN, before=before, hides_passed=hides_passed
        )
    begins = to_utc_text(now - calls.HOUR_SECONDS)
    is_any_open = any(each.is_open and each.row.entry.time > begins for each in found)
    return {
        "views": [(name, query, sums[key]) for name, query, key in _VIEWS],
        "plot": bars([each["calls"] for each in bins], [each["block"] for each in bins], label),
        "begins": begins,
        "living": RunningProcesses().find_living(store) if is_any_open else {},
        "opened": explain_event(store, name),
        "is_busy": hides_passed,
        "calls": found,
        "older": older,
    }


ROUTES = (web.get("/live", _live),)
