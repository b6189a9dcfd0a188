"""`pipeguard approve`: trusts held definitions, exactly as they were shown."""

from functools import partial
from typing import Any

import click

from pipeguard.cli._decide import Decision, decide, options
from pipeguard.cli._emit import flag
from pipeguard.cli.diff import NOTHING_WAITS, find_reviewable, list_pages, page, read_first
from pipeguard.state.review import approve

DECISION = Decision(
    "approve", "approved", find_reviewable, page, list_pages, approve, NOTHING_WAITS, read_first
)


@click.command("approve", short_help="Accept definitions that wait for approval.")
@options
@flag("--full", "With --all, show what is new and clean in full, too.")
def command(*, full: bool, **request: Any) -> None:
    """Accept what a server offers now: show it, ask, and trust it from then on.

    With --all, you see before one question what is flagged, then what changed or has a finding, and
    a line for each other one; --full shows each in full. What is flagged, since a rule finds
    something severe in it, is not part of --all: approve it by its own name.
    To take an approval back: pipeguard forget SERVER/TOOL.
    Only what was shown is approved; if the server changes it again, it is held again. Running
    sessions follow within a second, and the audit records what was approved. If nothing of SERVER
    waits, it shows what was trusted at first sight, for you to say that you have seen it.

    A person decides: it asks on a terminal, or takes a token (`pipeguard policy ci-token`).

    \b
    Examples:
      pipeguard approve weather/get_forecast
      pipeguard approve weather --all --yes

    \b
    Exit codes:
      0  approved
      1  not approved: you declined one, it is flagged, or it changed again in the meantime
      2  wrong usage, or no such server or tool
      3  nothing waits for approval
    """  # noqa: D301  click reads the mark
    decide(DECISION._replace(overview=partial(list_pages, is_full=full)), **request)
