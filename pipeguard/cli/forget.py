"""`pipeguard forget`: what a server showed was never seen. The next sight is the first."""

from __future__ import annotations

import click

from pipeguard.cli._decide import Decision, decide, options
from pipeguard.core.visible import visible
from pipeguard.state.review import Kept, UnknownTargetError, forget, kept
from pipeguard.state.store import Store


@click.command("forget", short_help="Forget what is trusted and held of a server.")
@options
def command(
    target: str | None, kind: str | None, *, take_all: bool, yes: bool, as_json: bool
) -> None:
    """Forget what a server has shown, approvals too: the next time it is new.

    For a server that is gone, or whose name is used for another one now. What is seen then is
    trusted or held as your policy says of new definitions. Start a server that runs again: until
    then it keeps some of it, and all that is held. The audit stays, and says what was forgotten.

    \b
    Examples:
      pipeguard forget weather/get_forecast
      pipeguard forget weather --all

    \b
    Exit codes:
      0  forgotten
      1  not forgotten: you said no to one, or somebody else was faster
      2  wrong usage, or no such server or tool
      3  nothing of that kind is kept
    """  # noqa: D301  click reads the mark
    decide(DECISION, target, kind, take_all=take_all, yes=yes, as_json=as_json)


def _find(store: Store, target: str | None, kind: str | None) -> list[Kept]:
    try:
        return kept(store, target, kind)
    except UnknownTargetError as error:
        raise click.UsageError(f"{error}.") from error


def _page(one: Kept) -> str:
    pin = one.pin
    approved = f"approved on {pin.approved_at[:10]}" if pin.approved is not None else ""
    held = f"held: {visible(pin.reason) or 'review'}" if pin.held is not None else ""
    state = "; ".join(filter(None, (approved, held)))
    return f"{click.style(one.target, bold=True)}  {pin.kind}, {state}"


def _tell_nothing(target: str | None) -> None:
    click.echo(f"Nothing of that kind is kept{f' of {target}' if target else ''}.")


DECISION = Decision("forget", "forgotten", _find, _page, forget, _tell_nothing)
