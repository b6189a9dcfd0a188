"""`pipeguard forget`: what a server showed was never seen. The next sight is the first."""

from __future__ import annotations

from typing import NoReturn

import click

from pipeguard.cli._decide import NOT_DONE, NOTHING_THERE, Decision, decide, options
from pipeguard.cli._person import Person
from pipeguard.core.unicode.display import visible
from pipeguard.state.paths import store_path
from pipeguard.state.review import (
    StoredDefinition,
    UnknownTargetError,
    forget,
    forget_launch,
    stored_definitions,
)
from pipeguard.state.store import Store


@click.command("forget", short_help="Forget what is trusted and held of a server.")
@click.option("--launch", is_flag=True, help="Only by what it is started; pins stay.")
@options
def command(
    target: str | None, kind: str | None, *, take_all: bool, yes: bool, as_json: bool, launch: bool
) -> None:
    """Forget what a server has shown, approvals too: the next time it is new.

    For a server that is gone, or whose name is used for another one now. What is seen then is
    trusted or held as your policy says of new definitions. Start a server that runs again: until
    then it keeps some of it, and all that is held. The audit stays, and says what was forgotten.

    A server is known by its name and by what is launched. With --launch only the second is
    forgotten: what starts next under the name SERVER takes its pins over. That is for a server
    that is started otherwise now, as from a container.

    A person decides: it asks on a terminal, or has a token (`pipeguard policy ci-token`).

    \b
    Examples:
      pipeguard forget weather/get_forecast
      pipeguard forget weather --all
      pipeguard forget weather --launch

    \b
    Exit codes:
      0  forgotten
      1  not forgotten: you said no to one, or somebody else was faster
      2  wrong usage, or no such server or tool
      3  nothing of that kind is kept
    """  # noqa: D301  click reads the mark
    if launch:
        _forget_launch(target, yes=yes)
    decide(DECISION, target, kind, take_all=take_all, yes=yes, as_json=as_json)


def _forget_launch(name: str | None, *, yes: bool) -> NoReturn:
    if name is None:
        raise click.UsageError("name the server of which the launch is to be forgotten.")
    person = Person.here()
    question = f"Let whatever starts next as {visible(name)} have its pins?"
    if not yes and not person.has_token and not click.confirm(question):
        raise SystemExit(NOT_DONE)
    if not person.confirms(f"forget what {visible(name)} is"):
        raise SystemExit(NOT_DONE)
    with Store.open(store_path()) as store:
        forgotten = forget_launch(store, name)
    for launched in forgotten:
        click.echo(f"Forgotten that {visible(name)} is {visible(launched)}.")
    if not forgotten:
        click.echo(f"Of {visible(name)} it is not known what it is.")
    raise SystemExit(0 if forgotten else NOTHING_THERE)


def _find(store: Store, target: str | None, kind: str | None) -> list[StoredDefinition]:
    try:
        return stored_definitions(store, target, kind)
    except UnknownTargetError as error:
        raise click.UsageError(f"{error}.") from error


def _page(one: StoredDefinition) -> str:
    pin = one.pin
    approved = f"approved on {pin.approved_at[:10]}" if pin.approved is not None else ""
    held = f"held: {visible(pin.reason) or 'review'}" if pin.held is not None else ""
    state = "; ".join(filter(None, (approved, held)))
    return f"{click.style(one.target, bold=True)}  {pin.kind}, {state}"


def _tell_nothing(target: str | None) -> None:
    click.echo(f"Nothing of that kind is kept{f' of {target}' if target else ''}.")


DECISION = Decision("forget", "forgotten", _find, _page, forget, _tell_nothing)
