"""`pipeguard status`: one screen of guarded servers, recent events, and pending decisions."""

from __future__ import annotations

import time
from collections import Counter
from shutil import get_terminal_size
from typing import TYPE_CHECKING

import click

from pipeguard.cli._emit import Fields, emit, json_option
from pipeguard.errors import PolicyError
from pipeguard.unicode.display import pluralize, show, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipeguard.state.pins import Store

MOST_BLOCKED = 200  # of the newest rows, among which one that does not wait is looked for
LEAST_CHARS = 12  # of a server's name, on a terminal however narrow
COLUMNS = ("server", "blocked", "held", "cut", "noted", "would block", "waits")


@click.command("status", short_help="Show what is guarded, what happened, and what waits.")
@json_option
def command() -> None:
    """Show on one screen what is guarded, what happened today and in 7 days, and what waits.

    It counts messages. `blocked` were stopped, and `held` belong to a tool that you have not
    approved. `cut` went on without a secret or a passage, `noted` with a warning in the audit.
    `would block` went on since the policy only observes. `waits` counts the decisions that wait
    for you.

    \b
    Examples:
      pipeguard status
      pipeguard status --json
    """  # noqa: D301  click reads the mark
    emit(_find_status(), _screen)


def _find_status() -> Fields:
    from pipeguard.assess.gateway_file import gateway_configs
    from pipeguard.assess.posture import count_servers
    from pipeguard.config.following import describe_following
    from pipeguard.config.options import WrapOptions
    from pipeguard.rulebook.policy_rules import load_wrap_policy
    from pipeguard.runtime.start import running_guards
    from pipeguard.state.paths import existing_store
    from pipeguard.state.store import open_store

    following = describe_following()
    status: Fields = {"mode": "", "policy_problem": ""}
    status["following"] = following and {**following._asdict(), "line": following.line}
    try:  # the policy that applies in this folder
        status["mode"] = load_wrap_policy(WrapOptions()).mode.value
    except PolicyError as error:
        status["policy_problem"] = str(error)
    status["clients"], status["unread"] = count_servers()
    status |= {"servers": [], "renamed": [], "waits": 0, "proposed": [], "asking": [], "logins": []}
    status |= {"gaps": 0, "unshared": 0, "blocked": None, "loosened": "", "noted": 0}
    path = existing_store()
    if path is not None:
        from pipeguard.state.missing import read_notes

        with open_store(path) as store:
            status |= _read_store(store) | _read_audit(store)
        status["gaps"] += len(read_notes(path))
    serving = [guard for guard in running_guards() if guard.verb == "serve"]
    status["gateways"] = sorted(
        f"process {guard.process}, {guard.address or 'stdio'}" for guard in serving
    )
    status["behind_gateway"] = sum(len(each.servers) for each in gateway_configs(guards=serving))
    return status


def _read_audit(store: Store) -> Fields:
    """Read what happened in 7 days, a looser policy, and the newest blocked event not pending."""
    from pipeguard.firewall.session.remedies import is_held
    from pipeguard.state.audit import UNSHARED, AuditFilter, find_loosened, rows
    from pipeguard.state.dismissals import find_noted
    from pipeguard.state.exceptions import decisive, stopping, to_event
    from pipeguard.state.timestamps import to_utc_text

    since = to_utc_text(time.time() - 7 * 86_400)
    gaps, unshared = (
        sum(1 for _ in rows(store, AuditFilter(rule=rule, since=since)))
        for rule in ("audit.gap", UNSHARED)
    )
    wanted = AuditFilter(action="block", since=since, limit=MOST_BLOCKED)
    blocked = None
    for row in rows(store, wanted, by_time=True):
        event = to_event(row)
        stopped = stopping(event) if row.server and event.name else ()
        if stopped and not is_held(each["rule"] for each in stopped):
            blocked = {
                "event": event.name,
                "server": event.server,
                "tool": event.tool,
                "rule": decisive(stopped),
            }
    noted = sum(count for _, _, _, count, *_ in find_noted(store))
    return {
        "gaps": gaps,
        "unshared": unshared,
        "blocked": blocked,
        "loosened": find_loosened(store),
        "noted": noted,
    }


def _read_store(store: Store) -> Fields:
    """Read the counts of each server, and the pending decisions."""
    from pipeguard.config.policy_file import find_beginning
    from pipeguard.state.activity import totals
    from pipeguard.state.timestamps import today
    from pipeguard.ui.card import HOLDS_UP
    from pipeguard.ui.cards import ProposalCard, find_waiting

    servers = totals(store, time.time(), find_beginning(today()))
    named = ((each.server, store.find_namesake(each.server)) for each in servers)
    waiting = find_waiting(store)
    waits = Counter(card.server for card in waiting)
    return {
        "servers": [
            {**each._asdict(), "today": each.today._asdict(), "week": each.week._asdict()}
            | {"waits": waits[each.server]}
            for each in servers
        ],
        "renamed": [namesake.describe(server) for server, namesake in named if namesake],
        "waits": len(waiting),
        "logins": [
            {"server": card.server, "since": card.since, "command": card.needed.command}
            for card in waiting
            if card.needed is not None
        ],
        "proposed": [card.server for card in waiting if isinstance(card, ProposalCard)],
        "asking": [
            {"event": card.event.name, "server": card.server, "tool": card.event.tool}
            for card in reversed(waiting)
            if card.group == HOLDS_UP and card.event
        ],
    }


def _screen(status: Fields) -> Iterator[str]:
    if status["loosened"]:
        yield f"Since {status['loosened']}, your policy stops less than before."
        yield "  See what changed it:  pipeguard audit list --rule audit.loosened"
    yield _policy_line(status)
    if following := status["following"]:
        yield visible(following["line"])
    yield from _client_lines(status)
    servers: list[Fields] = status["servers"]
    if not servers:
        is_guarded = any(client["guarded"] for client in status["clients"])
        yield "No guarded server has run yet." if is_guarded else "No server was guarded yet."
    else:
        today, week = (
            [(each["server"], *each[days].values(), each["waits"]) for each in servers]
            for days in ("today", "week")
        )
        tables = [("Today", today), ("Last 7 days", week)]
        if today == week:
            tables = [("Today, as in the last 7 days", today)]
        for title, rows in tables:
            yield from ("", click.style(title, bold=True), *_table(rows))
        yield from (f"{visible(why)}." for why in status["renamed"])
    yield ""
    yield from _list_waiting(status) or ["Nothing waits for you."]
    if status["noted"]:
        yield f"{pluralize(status['noted'], 'warning')} noted in 7 days:  pipeguard ui"


def _policy_line(status: Fields) -> str:
    if status["policy_problem"]:
        return f"The policy is invalid, so nothing starts:\n{status['policy_problem']}"
    if status["mode"] == "observe":
        return "Your policy only observes: it records what it finds, and stops nothing."
    clients = status["clients"]
    if clients and not status["gateways"] and not any(each["guarded"] for each in clients):
        return "No server of your clients is guarded, so nothing of theirs is stopped."
    return "Your policy is enforced: what it blocks is stopped."


def _client_lines(status: Fields) -> Iterator[str]:
    clients = status["clients"]
    if clients:
        guarded, is_open, unfit = (
            sum(each[column] for each in clients) for column in ("guarded", "open", "cannot")
        )
        names = ", ".join(
            f"{each['client']} {each['guarded']}/{each['guarded'] + each['open'] + each['cannot']}"
            for each in clients
        )
        cannot = f"; {unfit} cannot be" if unfit else ""
        total = guarded + is_open + unfit
        yield f"{guarded} of {total} servers in clients guarded{cannot} ({visible(names)})."
    elif not status["behind_gateway"]:
        yield "No client on this machine has an MCP server yet."
    yield from (f"Not read: {visible(file)}" for file in status["unread"])
    yield from (f"A gateway runs ({visible(gateway)})." for gateway in status["gateways"])
    if behind := status["behind_gateway"]:
        yield f"{pluralize(behind, 'server')} in the gateway's file, all guarded."


def _table(rows: Iterable[tuple[object, ...]]) -> list[str]:
    numbers = sum(map(len, COLUMNS[1:])) + 2 * len(COLUMNS)
    room = max(LEAST_CHARS, get_terminal_size().columns - numbers)
    cells = [COLUMNS, *([show(str(cell), room) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        )
        for row in cells
    ]


def _list_waiting(status: Fields) -> list[str]:
    """List pending decisions and blocked calls, and the commands that show them."""
    asking: list[dict[str, str]] = status["asking"]
    blocked: dict[str, str] | None = status["blocked"]
    waits = pluralize(status["waits"], "decision")
    steps = [f"{waits} for you:  pipeguard ui"] if status["waits"] else []
    steps += [
        f"A call of {visible(call['tool'])} of {visible(call['server'])} waits for you: "
        f" pipeguard allow {call['event']}"
        for call in asking
    ]
    steps += [
        f"{visible(login['server'])} asks for a login since {login['since'][:16]}Z: "
        f" {login['command'] or 'pipeguard wrap --bearer-env VARIABLE'}"
        for login in status["logins"]
    ]
    if any(server["waiting"] for server in status["servers"]):
        steps.append("New and changed definitions wait:  pipeguard diff")
    if status["proposed"]:
        steps.append("Proposed servers wait:  pipeguard servers list")
    if blocked:
        what = visible(" of ".join(filter(None, (blocked["tool"], blocked["server"]))))
        steps.append(
            f"The newest block ({what}, {blocked['rule']}):  pipeguard explain {blocked['event']}"
        )
    if status["gaps"]:
        steps.append(f"{pluralize(status['gaps'], 'gap')} of the audit in 7 days")
    if status["unshared"]:
        steps.append(
            f"{pluralize(status['unshared'], 'run')} in 7 days did not learn what other servers"
            " returned:  pipeguard audit list --rule audit.unshared"
        )
    return steps
