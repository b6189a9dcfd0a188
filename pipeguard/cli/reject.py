"""`pipeguard reject`: rejects held definitions; approved ones stay approved."""

from typing import Any

import click

from pipeguard.cli._decide import Decision, decide, options
from pipeguard.cli.diff import NOTHING_WAITS, find_held, list_pages, page
from pipeguard.state.review import reject

DECISION = Decision("reject", "rejected", find_held, page, list_pages, reject, NOTHING_WAITS)


@click.command("reject", short_help="Reject definitions that wait for approval.")
@options
def command(**request: Any) -> None:
    """Reject what waits for approval: no agent sees or calls it, and it never waits again.

    What was approved stays approved. If the server changes what you rejected, the new version
    waits. If you change your mind, `approve` takes a rejected one by its name.

    A person decides: it asks on a terminal, or takes a token (`pipeguard policy ci-token`).

    \b
    Examples:
      pipeguard reject weather/get_forecast
      pipeguard reject weather --all --yes

    \b
    Exit codes:
      0  rejected
      1  not rejected: you declined one, or it changed again in the meantime
      2  wrong usage, or no such server or tool
      3  nothing waits for approval
    """  # noqa: D301  click reads the mark
    decide(DECISION, **request)
