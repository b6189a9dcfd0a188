"""`pipeguard forget`: removes the stored data of a server, which is then new again."""

from functools import partial
from typing import Any, NoReturn

import click

from pipeguard.cli import _decide, _emit
from pipeguard.launch.person import Person
from pipeguard.state.review import StoredDefinition, forget, forget_launch, stored_definitions
from pipeguard.state.store import open_store
from pipeguard.unicode.display import visible


@click.command("forget", short_help="Forget what is trusted and held of a server.")
@_emit.flag("--launch", "Forget only what starts the server; keep the pins.")
@_decide.options
def command(*, launch: bool, take_all: bool, **request: Any) -> None:
    """Forget what a server has shown, including approvals: the next time it is new.

    For a server that is gone, or whose name another server uses now. What it shows then is trusted
    or held as your policy says of new definitions. Restart a server that is running: until then it
    remembers some of it, and all that is held. The audit stays, and records what was forgotten.

    A server is known by its name and by the command that starts it. With --launch only the command
    is forgotten: the next server with the name SERVER takes over its pins. This is for a server
    that is started differently now, as from a container.

    A person decides: it lists what matches and asks once on a terminal, or takes a token
    (`pipeguard policy ci-token`).

    \b
    Examples:
      pipeguard forget weather/get_forecast
      pipeguard forget weather --all
      pipeguard forget weather --launch

    \b
    Exit codes:
      0  forgotten
      1  not forgotten: you declined one, or somebody else was faster
      2  wrong usage, or no such server or tool
      3  nothing of the kind is stored
    """  # noqa: D301  click reads the mark
    if launch:
        _forget_launch(request["target"])
    # One question about all that is listed.
    take_all = take_all or (request["target"] is not None and not request["yes"])
    _decide.decide(DECISION, take_all=take_all, **request)


def _forget_launch(name: str | None) -> NoReturn:
    if name is None:
        raise click.UsageError("name the server whose launch is to be forgotten.")
    with open_store() as store:
        is_recorded = not {*store.servers_called(name)}.isdisjoint(store.named_servers())
    if not is_recorded:
        click.echo(f"PipeGuard has no record of what starts {visible(name)}.")
        raise SystemExit(_decide.NOTHING_THERE)
    person = Person.here()
    person.must_confirm(f"forget what starts {visible(name)}")
    with open_store() as store:
        forgotten = forget_launch(store, name, person.name)
    for launched in forgotten:
        click.echo(f"{visible(name)} is no longer tied to {visible(launched)}.")
    raise SystemExit(0 if forgotten else _decide.NOT_DONE)  # somebody else was faster


def _page(entry: StoredDefinition) -> str:
    pin = entry.pin
    waiting = f"held: {visible(pin.reason) or 'review'}" if pin.held_definition is not None else ""
    state = "; ".join(filter(None, (entry.since, waiting)))
    note = f"\n  {entry.name_note}" if entry.name_note else ""
    return f"{click.style(entry.target, bold=True)}  {pin.kind}, {state}{note}"


DECISION = _decide.Decision(
    "forget",
    "forgotten",
    partial(_decide.match_definitions, stored_definitions),
    _page,
    lambda entries, _: ([*map(_page, entries)], 0),
    forget,
    "Nothing of that kind is stored",
)
