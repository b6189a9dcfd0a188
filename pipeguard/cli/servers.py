"""`pipeguard servers`: servers that agents proposed for the gateway, and a person's decisions."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from pipeguard.cli._groups import CommandGroup
from pipeguard.cli._person import Person
from pipeguard.errors import InputError
from pipeguard.unicode.display import quote, those_there_are, visible

if TYPE_CHECKING:
    from pipeguard.state.proposals import Proposal
    from pipeguard.state.store import Store

NOT_DONE = 1


@click.group("servers", cls=CommandGroup, short_help="Decide on servers that agents proposed.")
def command() -> None:
    """Decide on servers that agents proposed for `pipeguard serve`.

    Agents may propose some where pipeguard.yaml says so (`management: {add: true, remove: true}`).
    A proposed server is started once you approve it, and its tools wait for your review after that.

    \b
    Examples:
      pipeguard servers list
      pipeguard servers show weather
      pipeguard servers approve weather
    """  # noqa: D301  click reads the mark


_name = click.argument("name")
_json_option = click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")


@command.command("list")
@_json_option
def list_(*, as_json: bool) -> None:
    """List the servers that agents proposed: those that wait, and those that you approved.

    \b
    Examples:
      pipeguard servers list
    """  # noqa: D301  click reads the mark
    from pipeguard.state.proposals import proposals

    with _store() as store:
        stored = proposals(store)
    if as_json:
        click.echo(json.dumps([_fields(proposal) for proposal in stored], indent=2))
        return
    if not stored:
        click.echo("No agent has proposed a server.", err=True)
    for proposal in stored:
        click.echo(f"{proposal.name}: {_state(proposal)}")


@command.command("show")
@_name
@_json_option
def show(name: str, *, as_json: bool) -> None:
    """Show what a proposed server would start or call, and what the agent says of it.

    \b
    Examples:
      pipeguard servers show weather
    """  # noqa: D301  click reads the mark
    with _store() as store:
        proposal = _proposal(store, name)
    click.echo(json.dumps(_fields(proposal), indent=2) if as_json else _page(proposal))


@command.command("approve")
@_name
@_json_option
def approve(name: str, *, as_json: bool) -> None:
    """Accept what an agent asks for: a new server, or the removal of one that it proposed.

    A gateway that runs starts the server within a second. Its tools wait for your review.

    A person decides: it asks on a terminal, or takes a token (`pipeguard policy ci-token`).

    \b
    Examples:
      pipeguard servers approve weather

    The exit code is 1 if nothing was done.
    """  # noqa: D301  click reads the mark
    from pipeguard.state.proposals import approve as take

    _decide(name, "approve", take, as_json=as_json)


@command.command("reject")
@_name
@_json_option
def reject(name: str, *, as_json: bool) -> None:
    """Refuse what an agent asks for: a new server is forgotten, one that was to go stays.

    A person decides, as for `approve`.

    \b
    Examples:
      pipeguard servers reject weather

    The exit code is 1 if nothing was done.
    """  # noqa: D301  click reads the mark
    from pipeguard.state.proposals import reject as take

    _decide(name, "reject", take, as_json=as_json)


@command.command("remove")
@_name
@_json_option
def remove(name: str, *, as_json: bool) -> None:
    """End a server that an agent proposed. What is trusted of it stays: pipeguard forget NAME.

    A person decides, as for `approve`.

    \b
    Examples:
      pipeguard servers remove weather

    The exit code is 1 if nothing was done.
    """  # noqa: D301  click reads the mark
    from pipeguard.state.proposals import remove as take

    _decide(name, "remove", take, as_json=as_json)


def _decide(
    name: str, verb: str, take: Callable[[Store, Proposal, str], bool], *, as_json: bool
) -> None:
    """Show a proposal, have a person confirm, and act on exactly what was shown."""
    from pipeguard.state.proposals import ProposalState

    with _store() as store:
        proposal = _proposal(store, name)
        if verb != "remove" and proposal.state is ProposalState.APPROVED:
            end = f"pipeguard servers remove {quote(name)}"
            click.echo(
                f"You approved {visible(name)}, and nothing waits. To end it:  {end}", err=True
            )
            raise click.exceptions.Exit(NOT_DONE)
        person = Person.here()
        if not as_json:
            click.echo(_page(proposal))
        is_done = person.confirms(f"{verb} {name}") and take(store, proposal, person.name)
    if as_json:
        click.echo(json.dumps({"name": name, "verb": verb, "is_done": is_done}))
    elif is_done:
        click.echo(_describe_decision(verb, proposal))
    else:
        click.echo("Nothing was done.", err=True)
    if not is_done:
        raise click.exceptions.Exit(NOT_DONE)


def _describe_decision(verb: str, proposal: Proposal) -> str:
    """Explain what a decision does, and what comes next."""
    from pipeguard.state.proposals import ProposalState

    name, is_leaving = proposal.name, proposal.state is ProposalState.LEAVING
    if verb == "approve" and not is_leaving:
        return (
            f"Approved {name}. A gateway whose file has `management: {{add: true}}` starts it.\n"
            f"  Its tools then wait for you:  pipeguard approve {name} --all"
        )
    if verb == "reject":
        return f"{name} stays." if is_leaving else f"Forgot the proposal of {name}."
    return f"Removed {name}."


def _proposal(store: Store, name: str) -> Proposal:
    from pipeguard.state.proposals import proposals

    stored = {proposal.name: proposal for proposal in proposals(store)}
    if name not in stored:
        what = f"no agent has proposed a server {visible(name)}."
        raise InputError(f"{what} {those_there_are(stored)}")
    return stored[name]


def _fields(proposal: Proposal) -> dict[str, object]:
    return {
        "name": proposal.name,
        "state": proposal.state.value,
        "entry": json.loads(proposal.definition),
        "fingerprint": proposal.fingerprint,
        "proposed_by": proposal.proposed_by or None,
        "reason": proposal.reason,
        "proposed": proposal.proposed,
        "decided": proposal.decided or None,
    }


def _page(proposal: Proposal) -> str:
    who = f" by {proposal.proposed_by}" if proposal.proposed_by else ""
    lines = [
        f"{proposal.name}: {_state(proposal)}",
        f"  proposed{who} on {proposal.proposed[:10]}",
        f"  the agent says: {visible(proposal.reason)}",
    ]
    # Nothing is masked: a variable such as GIT_ASKPASS may name a program.
    for key, value in json.loads(proposal.definition).items():
        lines.append(f"  {key}: {visible(json.dumps(value, ensure_ascii=False))}")
    return "\n".join(lines)


def _state(proposal: Proposal) -> str:
    from pipeguard.state.proposals import ProposalState

    return {
        ProposalState.WAITING: "waits for you",
        ProposalState.APPROVED: f"approved on {proposal.decided[:10]}",
        ProposalState.LEAVING: "approved; an agent asks for its removal, which waits for you",
    }[proposal.state]


def _store() -> Store:
    from pipeguard.state.paths import store_path
    from pipeguard.state.store import Store

    return Store.open(store_path())
