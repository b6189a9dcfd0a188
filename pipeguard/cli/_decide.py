"""What `approve`, `reject` and `forget` share: show, ask, do just that, tell. No verb itself.

Each asks a person, or has a token of one (`_person`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import click

from pipeguard.cli import _completing as completing
from pipeguard.cli._person import Person
from pipeguard.state.paths import store_path
from pipeguard.state.review import KINDS, StoredDefinition
from pipeguard.state.store import Store

NOT_DONE = 1
NOTHING_THERE = 3
_Kept = TypeVar("_Kept", bound=StoredDefinition)
_Command = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Decision(Generic[_Kept]):
    """One verb.

    Attributes:
        verb: as in `approve`.
        done: as in `approved`.
        find: what there is to decide about, of a target and a kind.
        page: how one of these is shown.
        take: does it, and returns those of which it was done.
        tell_nothing: says that there is nothing to decide about.
    """

    verb: str
    done: str
    find: Callable[[Store, str | None, str | None], list[_Kept]]
    page: Callable[[_Kept], str]
    take: Callable[[Store, list[_Kept]], list[_Kept]]
    tell_nothing: Callable[[str | None], None]


def options(function: _Command) -> _Command:
    """The argument and the options of every such verb."""
    for add in (
        click.option("--json", "as_json", is_flag=True, help="As JSON, for programs; needs --yes."),
        click.option("--yes", is_flag=True, help="Do not ask about each."),
        click.option("--all", "take_all", is_flag=True, help="All there is, with one question."),
        click.option("--kind", type=click.Choice(KINDS), help="Only definitions of this kind."),
        click.argument(
            "target", metavar="[SERVER[/TOOL]]", required=False, shell_complete=completing.targets
        ),
    ):
        function = add(function)
    return function


def decide(
    decision: Decision[_Kept],
    target: str | None,
    kind: str | None,
    *,
    take_all: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Show each, ask unless the answer was given, and do it to just what was shown."""
    if target is None and not take_all:
        raise click.UsageError("name a server or a tool, or add --all for every server.")
    if as_json and not yes:
        raise click.UsageError("--json cannot ask: add --yes.")
    with Store.open(store_path()) as store:
        found = decision.find(store, target, kind)
        person = Person.here() if found else None
        if yes and len(found) > 1 and not take_all:
            names = ", ".join(one.target for one in found)
            raise click.UsageError(f"there are {len(found)}: {names}. Name one, or add --all.")
        chosen = found if as_json else _choose(decision, found, take_all=take_all, yes=yes)
        if chosen and person is not None and not person.confirms(_what(decision, chosen)):
            chosen = []
        done = decision.take(store, chosen)
    if as_json:
        told = {
            decision.done: [_fields(one) for one in done],
            f"not_{decision.done}": [_fields(one) for one in found if one not in done],
        }
        click.echo(json.dumps(told, indent=2))
    elif not found:
        decision.tell_nothing(target)
    else:
        _tell(decision, chosen, done)
    if not found:
        raise SystemExit(NOTHING_THERE)
    raise SystemExit(0 if len(done) == len(found) else NOT_DONE)


def _choose(
    decision: Decision[_Kept], found: list[_Kept], *, take_all: bool, yes: bool
) -> list[_Kept]:
    if found and not yes and not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask on: add --yes.")
    verb = decision.verb.capitalize()
    chosen = []
    for one in found:
        click.echo(decision.page(one))
        if yes or take_all or click.confirm(f"{verb} {one.target}?"):
            chosen.append(one)
        click.echo()
    if chosen and take_all and not yes and not click.confirm(f"{verb} all {len(chosen)}?"):
        return []
    return chosen


def _what(decision: Decision[_Kept], chosen: list[_Kept]) -> str:
    count = len(chosen)
    return f"{decision.verb} {chosen[0].target if count == 1 else f'{count} definitions'}"


def _tell(decision: Decision[_Kept], chosen: list[_Kept], done: list[_Kept]) -> None:
    for one in chosen:
        if one in done:
            click.echo(f"{decision.done.capitalize()} {one.target}  {_fingerprint(one)[:16]}")
        else:
            click.echo(f"Not {decision.done} {one.target}: it changed again.  pipeguard diff")


def _fields(one: StoredDefinition) -> dict[str, str]:
    return {
        "server": one.server,
        "kind": one.pin.kind,
        "name": one.pin.name,
        "fingerprint": _fingerprint(one),
    }


def _fingerprint(one: StoredDefinition) -> str:
    return one.pin.held_fingerprint or one.pin.approved_fingerprint or ""
