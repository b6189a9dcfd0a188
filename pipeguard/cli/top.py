"""`pipeguard top`: the servers' present activity, in a terminal or for a script."""

import json
import os
import sys
import time
from contextlib import suppress

import click

from pipeguard.cli._emit import columns, flag
from pipeguard.state.activity import ServerActivity, recent_activity
from pipeguard.state.store import open_store

COLUMNS = ("SERVER", "STATE", "CALLS/S", "P50 MS", "P99 MS", "BLOCKED", "HELD", "WAITING")


@click.command("top")
@click.option(
    "--window", type=click.FloatRange(1, 3600), default=60.0, help="Seconds to look back (60)."
)
@click.option(
    "--interval", type=click.FloatRange(0.2, 3600), default=2.0, help="Seconds between views (2)."
)
@flag("--once", "Show one view, and end, as without a terminal.")
@flag("--json", "As JSON, a line for each view.", "as_json")
def command(window: float, interval: float, *, once: bool, as_json: bool) -> None:
    """Show each server's activity: calls, their times, what was blocked, what waits for you.

    The figures are those of the audit, for every server that this user guards with `wrap` or
    `serve`; a server is `active` if anything passed in the last seconds (--window). `held` counts
    what was stopped only because a definition waits, such as a call of a new tool.

    End it with Ctrl-C. Without a terminal it shows one view; with --json, a line for each.

    \b
    Examples:
      pipeguard top
      pipeguard top --once --json

    \b
    Exit codes:
      0  ended by you, or after one view
      2  a wrong option
      4  the store cannot be read
    """  # noqa: D301  click reads the mark
    is_once = once or not (as_json or sys.stdout.isatty())
    with suppress(KeyboardInterrupt):
        while True:
            with open_store() as store:
                servers = recent_activity(store, time.time(), window)
            view = {"window_seconds": window, "servers": [each._asdict() for each in servers]}
            if not (as_json or is_once):
                click.clear()
            try:
                click.echo(json.dumps(view) if as_json else _table(servers, window))
            except BrokenPipeError:  # the reader has enough
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                return
            if is_once:
                return
            time.sleep(interval)


def _table(servers: list[ServerActivity], window: float) -> str:
    rows = [
        (name, state, f"{rate:.1f}", *("-" if ms is None else f"{ms:.1f}" for ms in times), *counts)
        for name, state, rate, *times, blocked, held, waiting in servers
        for counts in [map(str, (blocked, held, waiting))]
    ]
    lines = columns(COLUMNS, rows) if rows else ["No server has been guarded yet."]
    return "\n".join([f"The last {window:g} s, by the audit", "", *lines])
