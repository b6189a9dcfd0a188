"""`pipeguard status`: one screen on what is guarded, what happened, and what waits for you."""

from __future__ import annotations

import json
import time
from shutil import get_terminal_size
from typing import TYPE_CHECKING, NamedTuple

import click

from pipeguard.errors import PolicyError
from pipeguard.unicode.display import pluralize, show, visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeguard.runtime.start import RunningGuard
    from pipeguard.state.totals import ServerTotals

MOST_BLOCKED = 200  # of the newest rows, among which one that does not wait is looked for
LEAST_CHARS = 12  # of a server's name, on a terminal however narrow
COLUMNS = ("server", "blocked", "held", "cut", "noted", "would block", "waits")


class ClientServers(NamedTuple):
    """The servers of one client.

    Attributes:
        client: the client's id.
        guarded: how many of its entries are guarded.
        open: how many are not, and could be.
        cannot: how many cannot be.
    """

    client: str
    guarded: int
    open: int
    cannot: int


class Status(NamedTuple):
    """All that the screen shows.

    Attributes:
        mode: of the policy that applies here, or empty where that is invalid.
        problem: what is wrong with the policy, or empty.
        clients: that have servers.
        unread: files of clients that cannot be read, each with the reason.
        servers: that were ever guarded.
        renamed: why servers have another name than they asked for.
        waits: how many things wait for a decision, as the page counts them.
        waiting: the same in a sentence.
        proposed: the names of servers that agents proposed, which wait for a decision.
        asking: the events of calls that wait for a decision, with their servers and tools.
        gateways: that run, as this system tells: only Linux does.
        behind: how many servers are in the gateway's file.
        gaps: how often in 7 days something could not be recorded.
        blocked: the newest event of 7 days that was blocked, and does not wait for a decision; with
            its server, tool and rule. None if there is none.
    """

    mode: str
    problem: str
    clients: list[ClientServers]
    unread: list[str]
    servers: list[ServerTotals]
    renamed: list[str]
    waits: int
    waiting: str
    proposed: list[str]
    asking: list[dict[str, str]]
    gateways: list[str]
    behind: int = 0
    gaps: int = 0
    blocked: dict[str, str] | None = None


@click.command("status", short_help="Show what is guarded, what happened, and what waits.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def command(*, as_json: bool) -> None:
    """Show on one screen what is guarded, what happened today and in 7 days, and what waits.

    It counts messages. `blocked` were stopped, and `held` belong to a tool that you have not
    approved. `cut` went on without a secret or a passage, `noted` with a warning in the audit.
    `would block` went on since the policy only observes. `waits` counts the definitions that
    wait for you.

    \b
    Examples:
      pipeguard status
      pipeguard status --json
    """  # noqa: D301  click reads the mark
    status = _status()
    click.echo(json.dumps(_fields(status), indent=2) if as_json else "\n".join(_screen(status)))


def _status() -> Status:
    from pipeguard.assess.gateway_file import gateway_configs
    from pipeguard.runtime.start import running_guards
    from pipeguard.state.paths import existing_store

    mode, problem = "", ""
    try:
        mode = _mode()
    except PolicyError as error:
        problem = str(error)
    stored = _read_store() if existing_store() is not None else ([], [], 0, "", [], [])
    guards = [*running_guards()]
    behind = sum(len(each.servers) for each in gateway_configs(guards=guards))
    return Status(
        *(mode, problem, *_clients(), *stored),
        find_gateways(guards),
        behind,
        _count_gaps(),
        _find_blocked(),
    )


def _find_blocked() -> dict[str, str] | None:
    """Find the newest event of 7 days that was blocked; None if none was."""
    from pipeguard.firewall.session.remedies import is_held
    from pipeguard.state.audit import AuditFilter, rows
    from pipeguard.state.exceptions import decisive, stopping, to_event
    from pipeguard.state.paths import existing_store
    from pipeguard.state.store import Store
    from pipeguard.state.timestamps import to_utc_text

    if (path := existing_store()) is None:
        return None
    since = to_utc_text(time.time() - 7 * 86_400)
    wanted = AuditFilter(action="block", since=since, limit=MOST_BLOCKED)
    with Store.open(path) as store:
        events = [to_event(row) for row in rows(store, wanted, by_time=True) if row.server]
    for event in reversed(events):
        stopped = stopping(event)
        if event.name and stopped and not is_held(each["rule"] for each in stopped):
            names = {"event": event.name, "server": event.server, "tool": event.tool}
            return {**names, "rule": decisive(stopped)}
    return None


def _count_gaps() -> int:
    """Count what could not be recorded in 7 days, as on a full disk."""
    from pipeguard.state.audit import AuditFilter, rows
    from pipeguard.state.missing import read_notes
    from pipeguard.state.paths import existing_store
    from pipeguard.state.store import Store
    from pipeguard.state.timestamps import to_utc_text

    if (path := existing_store()) is None:
        return 0
    since = to_utc_text(time.time() - 7 * 86_400)
    with Store.open(path) as store:
        told = sum(1 for _ in rows(store, AuditFilter(rule="audit.gap", since=since)))
    return told + len(read_notes(path))


def _read_store() -> tuple[
    list[ServerTotals], list[str], int, str, list[str], list[dict[str, str]]
]:
    """The fields from `servers` to `asking`."""
    from datetime import date

    from pipeguard.config.policy_file import find_beginning
    from pipeguard.state.paths import store_path
    from pipeguard.state.store import Store
    from pipeguard.state.totals import totals
    from pipeguard.ui.cards import HOLDS_UP, find_waiting

    today = date.today()  # noqa: DTZ011  the user's own calendar
    with Store.open(store_path()) as store:
        servers = totals(store, time.time(), find_beginning(today))
        named = ((each.server, store.find_namesake(each.server)) for each in servers)
        renamed = [namesake.describe(server) for server, namesake in named if namesake]
        waiting = find_waiting(store)
    undecided = [card.proposal.name for card in waiting.cards if card.proposal]
    asking = [
        {"event": card.event.name, "server": card.server, "tool": card.event.tool}
        for card in reversed(waiting.cards)
        if card.group == HOLDS_UP and card.event
    ]
    return servers, renamed, len(waiting.cards), waiting.describe(), undecided, asking


def find_gateways(guards: Iterable[RunningGuard] | None = None) -> list[str]:
    """The gateways that run now with the same state folder, each with its process and address.

    Args:
        guards: that run; None to look for them.
    """
    from pipeguard.runtime.start import running_guards

    return sorted(
        f"{guard.describe()}, {guard.address or 'stdio'}"
        for guard in (running_guards() if guards is None else guards)
        if guard.verb == "serve"
    )


def _mode() -> str:
    """The mode of the policy that applies in this folder."""
    from pipeguard.config.options import WrapOptions
    from pipeguard.rulebook.policy_rules import load_wrap_policy

    return load_wrap_policy(WrapOptions((), {}, {}, [])).mode.value


def _clients() -> tuple[list[ClientServers], list[str]]:
    """The clients that have servers, and the files that cannot be read."""
    from pipeguard.clients.entries import GuardState, read_config
    from pipeguard.clients.machine import Machine, find
    from pipeguard.clients.rewrite import GuardOptions, judge
    from pipeguard.doctor.diagnosis import Case
    from pipeguard.gateway.discovery import describe_mistakes, usual_file

    columns = (
        (GuardState.GUARDED,),
        (GuardState.OPEN, GuardState.STALE),
        (GuardState.CANNOT,),
    )
    counts: dict[str, list[int]] = {}
    unread: list[str] = []
    options = GuardOptions()
    for file in find(Machine.here(Case.here().folder)):
        config = read_config(file)
        if config.is_unread or (config.problem and not config.servers):
            unread.append(f"{config.path}: {config.problem}")
        for server in config.servers:
            state = judge(server, options).state
            count = counts.setdefault(server.client, [0] * len(columns))
            for index, states in enumerate(columns):
                count[index] += state in states
    if mistakes := describe_mistakes(usual_file()):
        unread.append(" ".join(mistakes.split()))
    return [ClientServers(client, *count) for client, count in sorted(counts.items())], unread


def _fields(status: Status) -> dict[str, object]:
    return {
        "mode": status.mode,
        "policy_problem": status.problem,
        "clients": [client._asdict() for client in status.clients],
        "unread": status.unread,
        "servers": [
            {
                **server._asdict(),
                "today": server.today._asdict(),
                "week": server.week._asdict(),
            }
            for server in status.servers
        ],
        "renamed": status.renamed,
        "waits": status.waits,
        "proposed": status.proposed,
        "asking": status.asking,
        "gateways": status.gateways,
        "behind_gateway": status.behind,
        "gaps": status.gaps,
        "blocked": status.blocked,
    }


def _screen(status: Status) -> list[str]:
    lines = [_policy_line(status), *_client_lines(status)]
    if not status.servers and any(client.guarded for client in status.clients):
        lines.append(
            "No guarded server has run yet. Restart your clients. If you did:"
            "  pipeguard assess --connect"
        )
    elif not status.servers:
        lines.append("No server was guarded yet.  pipeguard setup")
    else:
        today = [(s.server, *s.today, s.waiting) for s in status.servers]
        week = [(s.server, *s.week, s.waiting) for s in status.servers]
        tables = [("Today", today), ("Last 7 days", week)]
        if today == week:
            tables = [("Today, as in the last 7 days", today)]
        for title, rows in tables:
            lines += ["", click.style(title, bold=True), *_table(rows)]
        lines += [f"{visible(why)}." for why in status.renamed]
    return [*lines, "", *_next_steps(status)]


def _policy_line(status: Status) -> str:
    if status.problem:
        return (
            f"The policy is invalid, so nothing starts:  pipeguard policy check\n{status.problem}"
        )
    if status.mode == "observe":
        return "Your policy only observes: it records what it finds, and stops nothing."
    if status.clients and not status.gateways and not any(c.guarded for c in status.clients):
        return "No server of your clients is guarded, so nothing of theirs is stopped."
    return "Your policy is enforced: what it blocks is stopped."


def _client_lines(status: Status) -> list[str]:
    lines = [f"Not read: {visible(file)}  pipeguard doctor clients" for file in status.unread]
    clients = status.clients
    lines += [f"A gateway runs ({visible(gateway)})." for gateway in status.gateways]
    if status.behind:
        lines.append(f"{pluralize(status.behind, 'server')} in the gateway's file, all guarded.")
    if not clients:
        if status.behind and not status.gateways:
            return ["No client has the gateway's entry yet.  pipeguard serve --check", *lines]
        return lines or ["No client on this machine has an MCP server yet."]
    guarded, others, unfit = (sum(column) for column in zip(*(c[1:] for c in clients), strict=True))
    names = ", ".join(f"{c.client} {c.guarded}/{c.guarded + c.open + c.cannot}" for c in clients)
    cannot = f"; {unfit} cannot be" if unfit else ""
    advice = "  pipeguard setup" if others or unfit else ""
    total = guarded + others + unfit
    count = f"{guarded} of {total} servers in clients guarded{cannot} ({visible(names)}).{advice}"
    return [count, *lines]


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


def _next_steps(status: Status) -> list[str]:
    """List what waits for a decision, and what shows it."""
    steps = [f"{status.waiting}:  pipeguard ui"] if status.waits else []
    steps += [
        f"A call of {visible(call['tool'])} of {visible(call['server'])} waits for you: "
        f" pipeguard allow {call['event']}"
        for call in status.asking
    ]
    if any(server.waiting for server in status.servers):
        steps.append("The new and changed definitions among them:  pipeguard diff")
    if status.proposed:
        steps.append("The proposed servers among them:  pipeguard servers list")
    if blocked := status.blocked:
        what = visible(" of ".join(filter(None, (blocked["tool"], blocked["server"]))))
        steps.append(
            f"The newest block ({what}, {blocked['rule']}):  pipeguard explain {blocked['event']}"
        )
    if any(server.week.blocked for server in status.servers):
        steps.append("All that was blocked:  pipeguard audit list --action block --since 7d")
    if any(server.week.would for server in status.servers):
        steps.append("What would have been stopped:  pipeguard audit list --would any --since 7d")
    if status.gaps:
        gaps = pluralize(status.gaps, "gap")
        steps.append(f"{gaps} of the audit in 7 days, not recorded:  pipeguard audit verify")
    return steps or ["Nothing waits for you."]
