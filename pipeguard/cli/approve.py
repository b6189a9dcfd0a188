"""`pipeguard approve`: a person's yes to what is held. Shows first, trusts just what was shown."""

from __future__ import annotations

import click

from pipeguard.cli._decide import Decision, decide, options
from pipeguard.cli.diff import find_held, page, tell_nothing_waits
from pipeguard.state.review import approve

DECISION = Decision("approve", "approved", find_held, page, approve, tell_nothing_waits)


@click.command("approve", short_help="Accept definitions that wait for approval.")
@options
def command(
    target: str | None, kind: str | None, *, take_all: bool, yes: bool, as_json: bool
) -> None:
    """Accept what a server says now: show it, ask, and trust it from then on.

    Just what was shown is approved; if the server changes it again, it is held again. Running
    sessions follow within a second, and the audit says what was approved.

    A person decides: it asks on a terminal, or has a token (`pipeguard policy ci-token`).

    \b
    Examples:
      pipeguard approve weather/get_forecast
      pipeguard approve weather --all --yes

    \b
    Exit codes:
      0  approved
      1  not approved: you said no to one, or it changed again meanwhile
      2  wrong usage, or no such server or tool
      3  nothing waits for approval
    """  # noqa: D301  click reads the mark
    decide(DECISION, target, kind, take_all=take_all, yes=yes, as_json=as_json)
