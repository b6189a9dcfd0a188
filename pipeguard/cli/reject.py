"""`pipeguard reject`: discards held definitions; approved ones stay approved."""

from __future__ import annotations

from typing import Any

import click

from pipeguard.cli._decide import Decision, decide, options
from pipeguard.cli.diff import NOTHING_WAITS, find_held, overview, page
from pipeguard.state.review import reject

DECISION = Decision("reject", "rejected", find_held, page, overview, reject, NOTHING_WAITS)


@click.command("reject", short_help="Discard definitions that wait for approval.")
@options
def command(**request: Any) -> None:
    """Discard what waits for approval, for example after the author took a change back.

    What was approved stays approved. What a running server still offers stays held, and waits for
    you again once the server was restarted: then `approve` takes it, if you change your mind.

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
