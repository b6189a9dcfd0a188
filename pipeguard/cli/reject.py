"""`pipeguard reject`: a person's no to what is held. What was approved stays approved."""

from __future__ import annotations

import click

from pipeguard.cli._decide import Decision, decide, options
from pipeguard.cli.diff import find_held, page, tell_nothing_waits
from pipeguard.state.review import reject

DECISION = Decision("reject", "rejected", find_held, page, reject, tell_nothing_waits)


@click.command("reject", short_help="Throw away definitions that wait for approval.")
@options
def command(
    target: str | None, kind: str | None, *, take_all: bool, yes: bool, as_json: bool
) -> None:
    """Throw away what waits for approval, as where the author took a change back.

    What was approved stays approved. If the server still offers what was thrown away, that is
    held again as soon as it is listed; a server that runs holds it until it is started again.

    A person decides: it asks on a terminal, or has a token (`pipeguard policy ci-token`).

    \b
    Examples:
      pipeguard reject weather/get_forecast
      pipeguard reject weather --all --yes

    \b
    Exit codes:
      0  rejected
      1  not rejected: you said no to one, or it changed again meanwhile
      2  wrong usage, or no such server or tool
      3  nothing waits for approval
    """  # noqa: D301  click reads the mark
    decide(DECISION, target, kind, take_all=take_all, yes=yes, as_json=as_json)
