"""`pipeguard reject`: discards definitions that are held; what is approved stays approved."""

from __future__ import annotations

import click

from pipeguard.cli._decide import Decision, DecisionRequest, decide, options
from pipeguard.cli.diff import find_held, overview, page, tell_nothing_waits
from pipeguard.state.review import reject

AFTER = (
    "What a running server still offers stays held, and waits for you again after the server's next"
    " start.\nIf its author does not take it back, stop using the server, or name the tool under"
    " `tools.block` in your policy:  pipeguard policy path"
)
DECISION = Decision(
    "reject", "rejected", find_held, page, overview, reject, tell_nothing_waits, AFTER
)


@click.command("reject", short_help="Discard definitions that wait for approval.")
@options
def command(request: DecisionRequest) -> None:
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
    decide(DECISION, request)
