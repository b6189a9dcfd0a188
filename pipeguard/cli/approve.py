"""`pipeguard approve`: a person's yes to what is held. Shows first, trusts just what was shown."""

from __future__ import annotations

import json
import sys

import click

from pipeguard.cli.diff import find_held, page, show, tell_nothing_waits
from pipeguard.state.paths import store_path
from pipeguard.state.review import KINDS, Held, approve
from pipeguard.state.store import Store

NOT_APPROVED = 1
NOTHING_HELD = 3


@click.command("approve", short_help="Accept definitions that wait for approval.")
@click.argument("target", metavar="[SERVER[/TOOL]]", required=False)
@click.option("--kind", type=click.Choice(KINDS), help="Only definitions of this kind.")
@click.option("--all", "take_all", is_flag=True, help="Everything that waits, with one question.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs; needs --yes.")
def command(
    target: str | None, kind: str | None, *, take_all: bool, yes: bool, as_json: bool
) -> None:
    """Accept what a server says now: show it, ask, and trust it from then on.

    Just what was shown is approved; if the server changes it again, it is held again. Running
    sessions follow within a second, and the audit says what was approved.

    \b
    Examples:
      pipeguard approve weather/get_forecast
      pipeguard approve weather --all --yes

    \b
    Exit codes:
      0  approved
      1  not approved: you said no to one, or it changed again meanwhile
      2  wrong usage, or no such server or tool
      3  nothing waits for approval
    """  # noqa: D301  click reads the mark
    if target is None and not take_all:
        raise click.UsageError("name a server or a tool, or add --all for every server.")
    if as_json and not yes:
        raise click.UsageError("--json cannot ask: add --yes.")
    with Store.open(store_path()) as store:
        waiting = find_held(store, target, kind)
        if yes and len(waiting) > 1 and not take_all:
            names = ", ".join(one.target for one in waiting)
            raise click.UsageError(f"{len(waiting)} wait: {names}. Name one, or add --all.")
        chosen = waiting if as_json else _choose(waiting, take_all=take_all, yes=yes)
        approved = approve(store, chosen)
    if as_json:
        click.echo(json.dumps(_as_fields(waiting, approved), indent=2))
    else:
        _tell(target, waiting, chosen, approved)
    if not waiting:
        raise SystemExit(NOTHING_HELD)
    raise SystemExit(0 if len(approved) == len(waiting) else NOT_APPROVED)


def _choose(waiting: list[Held], *, take_all: bool, yes: bool) -> list[Held]:
    """Show each, and ask unless the answer was given already."""
    if waiting and not yes and not sys.stdin.isatty():
        raise click.UsageError(
            "there is no terminal to ask on: look at it with `pipeguard diff`, then add --yes."
        )
    chosen = []
    for one in waiting:
        show(page(one))
        if yes or take_all or click.confirm(f"Approve {one.target}?"):
            chosen.append(one)
        click.echo()
    if chosen and take_all and not yes and not click.confirm(f"Approve all {len(chosen)}?"):
        return []
    return chosen


def _tell(
    target: str | None, waiting: list[Held], chosen: list[Held], approved: list[Held]
) -> None:
    if not waiting:
        tell_nothing_waits(target)
    for one in chosen:
        if one in approved:
            click.echo(f"Approved {one.target}  {(one.pin.held_fingerprint or '')[:16]}")
        else:
            click.echo(f"Not approved {one.target}: it changed again.  pipeguard diff")


def _as_fields(waiting: list[Held], approved: list[Held]) -> dict[str, object]:
    def fields(one: Held) -> dict[str, object]:
        pin = one.pin
        return {
            "server": one.server,
            "kind": pin.kind,
            "name": pin.name,
            "fingerprint": pin.held_fingerprint,
        }

    return {
        "approved": [fields(one) for one in approved],
        "not_approved": [fields(one) for one in waiting if one not in approved],
    }
