"""`pipeguard servers`: servers that agents proposed for the gateway, and a person's decisions."""

import json
from collections.abc import Callable
from functools import partial

import click

from pipeguard.cli._emit import Fields, emit, json_option, wants_json
from pipeguard.cli._groups import group
from pipeguard.errors import InputError
from pipeguard.launch.person import Person
from pipeguard.state import proposals
from pipeguard.state.pins import Store
from pipeguard.state.proposals import Proposal
from pipeguard.state.store import open_store
from pipeguard.unicode.display import those_there_are, visible

NOT_DONE = 1


@group("servers", "Decide on servers that agents proposed.")
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


@command.command("list")
@json_option
def list_() -> None:
    """List the servers that agents proposed: those that wait, and those that you approved.

    \b
    Examples:
      pipeguard servers list
    """  # noqa: D301  click reads the mark
    with open_store() as store:
        fields = [_fields(proposal) for proposal in proposals.proposals(store)]
    emit(fields, partial(map, _state), empty="No agent has proposed a server.")


@command.command("show")
@click.argument("name")
@json_option
def show(name: str) -> None:
    """Show what a proposed server would start or call, and what the agent says of it.

    \b
    Examples:
      pipeguard servers show weather
    """  # noqa: D301  click reads the mark
    with open_store() as store:
        emit(_fields(_find(store, name)), _page)


@command.command("approve")
@click.argument("name")
@json_option
def approve(name: str) -> None:
    """Accept a server that an agent proposed.

    A gateway that runs starts the server within a second. Its tools wait for your review.

    A person decides: it asks on a terminal, or takes a token (`pipeguard policy ci-token`).

    \b
    Examples:
      pipeguard servers approve weather

    The exit code is 1 if nothing was done.
    """  # noqa: D301  click reads the mark
    _decide(name, "approve", proposals.approve)


@command.command("reject")
@click.argument("name")
@json_option
def reject(name: str) -> None:
    """Refuse a server that an agent proposed, or end one that you approved.

    What is trusted of it stays: pipeguard forget NAME. A person decides, as for `approve`.

    \b
    Examples:
      pipeguard servers reject weather

    The exit code is 1 if nothing was done.
    """  # noqa: D301  click reads the mark
    _decide(name, "reject", proposals.reject)


def _decide(name: str, verb: str, take: Callable[[Store, Proposal, str], bool]) -> None:
    """Show a proposal, have a person confirm, and act on exactly that proposal."""
    with open_store() as store:
        proposal = _find(store, name)
        person = Person.here()
        if not wants_json():
            click.echo("\n".join(_page(_fields(proposal))))
        is_done = person.confirms(f"{verb} {name}") and take(store, proposal, person.name)
    done = f"{'Approved' if verb == 'approve' else 'Rejected'} {name}."
    emit(
        {"name": name, "verb": verb, "is_done": is_done},
        lambda _: done if is_done else "",
        empty="Nothing was done.",
        code=0 if is_done else NOT_DONE,
    )


def _find(store: Store, name: str) -> Proposal:
    stored = {proposal.name: proposal for proposal in proposals.proposals(store)}
    if name not in stored:
        what = f"no agent has proposed a server {visible(name)}."
        raise InputError(f"{what} {those_there_are(stored)}")
    return stored[name]


def _fields(proposal: Proposal) -> Fields:
    return {
        "name": proposal.name,
        "state": proposal.state,
        "entry": json.loads(proposal.definition),
        "fingerprint": proposal.fingerprint,
        "proposed_by": proposal.proposed_by or None,
        "reason": proposal.reason,
        "proposed": proposal.proposed,
        "decided": proposal.decided or None,
    }


def _state(fields: Fields) -> str:
    decided = fields["decided"]
    return f"{fields['name']}: {f'approved on {decided[:10]}' if decided else 'waits for you'}"


def _page(fields: Fields) -> list[str]:
    who = f" by {fields['proposed_by']}" if fields["proposed_by"] else ""
    return [
        _state(fields),
        f"  proposed{who} on {fields['proposed'][:10]}",
        f"  the agent says: {visible(fields['reason'])}",
        # Nothing is masked: a variable such as GIT_ASKPASS may name a program.
        *(
            f"  {key}: {visible(json.dumps(value, ensure_ascii=False))}"
            for key, value in fields["entry"].items()
        ),
    ]
