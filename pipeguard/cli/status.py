"""`pipeguard status`: one screen of guarded servers, recent events, and pending decisions."""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from shutil import get_terminal_size
from typing import TYPE_CHECKING

import click

from pipeguard.cli._emit import Fields, emit, json_option, render
from pipeguard.errors import PolicyError
from pipeguard.unicode.display import show

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    emit(_find_status(), partial(render, "status", table=_table))


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


def _table(servers: Iterable[Fields], days: str) -> str:
    rows = [(each["server"], *each[days].values(), each["waits"]) for each in servers]
    numbers = sum(map(len, COLUMNS[1:])) + 2 * len(COLUMNS)
    room = max(LEAST_CHARS, get_terminal_size().columns - numbers)
    cells = [COLUMNS, *([show(str(cell), room) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        )
        for row in cells
    )
