"""`pipeguard reject`: discards definitions that are held; what is approved stays approved."""

from __future__ import annotations

import click

from pipeguard.cli._decide import Decision, DecisionRequest, decide, options
from pipeguard.cli.diff import find_held, overview, page, tell_nothing_waits
from pipeguard.state.review import reject

AFTER = (
    "What the server still offers is held again from its next start. If its author does not take"
    " it back,\nstop using the server, or name the tool under `tools.block` in your policy:"
    "  pipeguard policy path"
)
DECISION = Decision(
    "reject", "rejected", find_held, page, overview, reject, tell_nothing_waits, AFTER
)


@click.command("reject", short_help="Discard definitions that wait for approval.")
@options
def command(request: DecisionRequest) -> None:
    """Discard what waits for approval, for example after the author took a change back.

    What was approved stays approved. If the server still offers what was discarded, it is held
    again as soon as it is listed; a running server holds it until it is restarted.

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
