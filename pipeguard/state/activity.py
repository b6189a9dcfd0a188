"""Recent activity of each server, by the audit: calls, times, blocks, waiting definitions.

Reads only the newest rows, so that a look costs the same for any length of the audit.
"""

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from math import ceil
from typing import Any, NamedTuple

from pipeguard.firewall.session.own_frames import RULE
from pipeguard.firewall.session.remedies import LOST
from pipeguard.state import row_filter, search
from pipeguard.state.audit import COLUMNS, AuditEntry, AuditRow, make_row, select
from pipeguard.state.pins import Store
from pipeguard.state.row_conditions import OUTCOME
from pipeguard.state.schema import IS_NOTICED, MAX_NAME_CHARS
from pipeguard.state.timestamps import to_utc_text

_HOUR_CHARS = len("2026-01-01T00")
HOURS = 24  # of a server's history
END_ROWS = 200  # of a run, among which is the last message of a server that answers
_RUNS = """(SELECT chain, server, started, length FROM chains
    WHERE (SELECT kind FROM audit WHERE audit.chain = chains.chain AND seq = 1)
        NOT IN ('approval', 'proposal', 'retention')
    ORDER BY {} LIMIT 1000) AS runs"""  # the newest; a decision has a chain of its own, too
OPENINGS = ("initialize", "server/discover")  # with which a client opens a conversation
MOST_MESSAGES = 60  # of one tool
WANTS_TOKEN = "wants a token"  # noqa: S105  of a gateway of PipeGuard (auth.bearer)
# An answer that did not come: the note has the command (auth.bearer), or the server's status.
_ASKS = (
    f"action = 'warn' AND instr(findings, '\"rule\":\"{LOST}\"') > 0"
    " AND (instr(findings, '(HTTP 401)') > 0"
    f" OR instr(findings, 'auth login ') > 0 OR instr(findings, '{WANTS_TOKEN}') > 0)"
)
FROM_PEER = f'instr(findings, \'"rule":"{RULE}"\') = 0'  # not PipeGuard's own
_HEARD = f"direction = 'to-client' AND {FROM_PEER}"
_ANSWERED = f"WHERE server = ? AND {_HEARD} AND kind IN ('result', 'error')"
_IS_CALL = f"duration_ms IS NOT NULL AND method = 'tools/call' AND {FROM_PEER}"


class ServerActivity(NamedTuple):
    """The activity of one server in a period.

    Attributes:
        state: its condition, in a few words; empty if unknown.
        calls_per_second: calls of tools that the server answered, in the period.
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


def recent_activity(store: Store, now: float, window_seconds: float) -> list[ServerActivity]:
    """The activity of each server in the seconds before now, including none.

    Raises:
        StateError: the store cannot be read.
    """
    stopped = f"sum({OUTCOME} = 'block'), sum({OUTCOME} = '{row_filter.HELD}')"
    columns = f"server, json_group_array(duration_ms) FILTER (WHERE {_IS_CALL}), {stopped}"
    which = "kind <> 'approval' GROUP BY server"
    found = _select_since(store, to_utc_text(now - window_seconds), columns, which)
    seen = {server: (sorted(json.loads(times)), *counts) for server, times, *counts in found}
    waiting = waiting_definitions(store)
    activity = []
    for name in sorted({*seen, *waiting, *store.named_servers()}):
        times, blocked, held = seen.get(name, ([], 0, 0))
        state = "active" if name in seen else "idle"
        activity.append(
            ServerActivity(
                name,
                state,
                len(times) / window_seconds,
                quantile(times, 0.5),
                quantile(times, 0.99),
                blocked,
                held,
                waiting.get(name, 0),
            )
        )
    return activity


def _select_since(store: Store, begin: str, columns: str, which: str) -> Iterator[tuple[Any, ...]]:
    """Read columns of servers' messages from a moment on; as `select`."""
    condition = f"WHERE id > ? AND server <> '' AND time >= ? AND {which}"
    return select(store, columns, condition, (search.find_number(store, begin), begin))


class ServerHistory(NamedTuple):
    """The last day of one server, in steps of an hour, the oldest first.

    Attributes:
        calls: calls of tools that the server answered.
        blocked: messages that were blocked, without waiting ones.
        p50_ms: the median time of a call, in milliseconds; None without a call.
        median_ms: the median time in all steps together.
        last: when its newest message came (ISO 8601, UTC).
        unanswered: when it was started last, if it has sent nothing afterwards (ISO 8601, UTC).
    """

    calls: tuple[int, ...]
    blocked: tuple[int, ...]
    p50_ms: tuple[float | None, ...]
    median_ms: float | None
    last: str
    unanswered: str = ""


def activity_history(store: Store, now: float) -> dict[str, ServerHistory]:
    """The history of each server that sent or got anything in the last day, by name.

    Args:
        store: the store.
        now: seconds since the epoch, in the last step.

    Raises:
        StateError: the store cannot be read.
    """
    begin = int(now // 3600) - HOURS + 1
    hours = [to_utc_text((begin + step) * 3600)[:_HOUR_CHARS] for step in range(HOURS)]
    columns = f"server, substr(time, 1, {_HOUR_CHARS}) AS hour"
    times: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    calls = _select_since(store, hours[0], f"{columns}, duration_ms", _IS_CALL)
    for server, hour, duration in calls:
        times[server, hour].append(duration)
    is_blocked = f"{IS_NOTICED} AND {OUTCOME} = 'block' GROUP BY server, hour"
    found = _select_since(store, hours[0], f"{columns}, count(*)", is_blocked)
    blocked = {(server, hour): count for server, hour, count in found}
    histories = {}
    for server, last, heard, opened in _find_ends(store):
        if last >= hours[0]:
            day = [sorted(times[server, hour]) for hour in hours]
            histories[server] = ServerHistory(
                tuple(map(len, day)),
                tuple(blocked.get((server, hour), 0) for hour in hours),
                tuple(quantile(each, 0.5) for each in day),
                quantile(sorted(itertools.chain.from_iterable(day)), 0.5),
                last,
                opened if opened > heard else "",
            )
    return histories


def _find_ends(store: Store) -> Iterator[tuple[str, str, str, str]]:
    """Each server's last message, its last from the server, and a later opening, by their times.

    Raises:
        StateError: the store cannot be read.
    """
    newest = (
        "(SELECT {} FROM audit WHERE audit.chain = runs.chain"  # noqa: S608  constants
        f" AND seq > runs.length - {END_ROWS} AND {{}} ORDER BY seq DESC LIMIT 1)"
    )
    since = f"seq > coalesce({newest.format('seq', _HEARD)}, 0)"
    opened = f"{since} AND direction = 'to-server' AND method IN {OPENINGS}"
    latest = (
        f"coalesce(max({newest.format('time', each)}), '')" for each in ("TRUE", _HEARD, opened)
    )
    return select(
        store,
        f"server, {', '.join(latest)}",
        "GROUP BY server",
        table=_RUNS.format(store.NEWEST_CHAINS),
    )


def list_runs(store: Store) -> list[tuple[str, str, str]]:
    """The newest runs: when each began (ISO 8601, UTC), its server and its chain.

    Raises:
        StateError: the store cannot be read.
    """
    return [*select(store, "started, server, chain", "", table=_RUNS.format(store.NEWEST_CHAINS))]


def find_login_requests(store: Store) -> Iterator[AuditRow]:
    """Find the first answer of each server that asked for a login and has answered nothing since.

    Raises:
        StateError: the store cannot be read.
    """
    for (server,) in [*select(store, "DISTINCT server", f"WHERE {_ASKS}")]:
        ((last,),) = select(store, "coalesce(max(id), 0)", _ANSWERED, (server,))
        condition = f"WHERE {_ASKS} AND server = ? AND id > ? ORDER BY id LIMIT 1"
        yield from map(make_row, select(store, COLUMNS, condition, (server, last)))


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
    last = "(SELECT server, max(started) AS last FROM chains GROUP BY server) AS ended"
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


def waiting_definitions(store: Store) -> dict[str, int]:
    """The number of each server's definitions that wait for a decision."""
    condition = "WHERE held IS NOT NULL AND reason NOT IN ('withdrawn', 'rejected') GROUP BY server"
    return dict(select(store, "server, count(*)", condition, table="pins"))


# --- totals ------------------------------------------------------------------------------
# Messages stopped, warned of, or to stop in `enforce`; today and lately.

DAYS = 7  # of the longer while


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


_COUNTED = {"block": "blocked", "held": "held", "warn": "warned"}  # of `Totals`


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
    today: defaultdict[str, Counter[str]] = defaultdict(Counter)
    week: defaultdict[str, Counter[str]] = defaultdict(Counter)
    # A text in a finding has its quotes escaped, so that none looks like a member.
    columns = f'server, time >= ?, {OUTCOME}, instr(findings, \'"would":"\') > 0'
    condition = (
        f"WHERE {IS_NOTICED} AND time >= ? AND server <> ''"  # noqa: S608  constants
        " AND action IN ('block', 'cut', 'redact', 'warn')"
        # Every list has the findings of tools that the policy or a person leaves out.
        " AND NOT (method = 'tools/list' AND action = 'warn' AND NOT EXISTS (SELECT 1 FROM"
        " json_each(findings) WHERE json_extract(value, '$.severity') <> 'low'))"
    )
    periods = to_utc_text(day_began), to_utc_text(now - DAYS * 86_400)
    for server, is_today, action, would in select(store, columns, condition, periods):
        is_counted = action != "warn" or not would
        counted = ["would"] * would + [_COUNTED.get(action, "changed")] * is_counted
        week[server].update(counted)
        today[server].update(counted if is_today else ())
    waiting = waiting_definitions(store)
    return [
        ServerTotals(name, Totals(**today[name]), Totals(**week[name]), waiting.get(name, 0))
        for name in sorted({*week, *waiting, *store.named_servers()})
    ]
