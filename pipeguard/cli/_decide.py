"""The common part of `approve`, `reject` and `forget`: show, ask, act, report. Not a command.

A person decides, or a token that a person made (`_person`).
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

import click

from pipeguard.cli import _completions as completions
from pipeguard.cli._groups import RefusedError
from pipeguard.cli._person import Person
from pipeguard.state.paths import store_path
from pipeguard.state.review import KINDS, StoredDefinition, UnknownTargetError
from pipeguard.state.store import Store
from pipeguard.unicode.display import visible

NOT_DONE = 1
NOTHING_THERE = 3
_Stored = TypeVar("_Stored", bound=StoredDefinition)
_Command = Callable[..., None]


@dataclass(frozen=True, slots=True)
class DecisionRequest:
    """The command line of such a command.

    Attributes:
        target: `SERVER` or `SERVER/TOOL`; None for every server.
        kind: only definitions of this kind.
        take_all: all that match, with one question.
        yes: without questions.
        as_json: the outcome as JSON.
    """

    target: str | None
    kind: str | None
    take_all: bool
    yes: bool
    as_json: bool


@dataclass(frozen=True, slots=True)
class Decision(Generic[_Stored]):
    """One of these commands.

    Attributes:
        verb: as in `approve`.
        participle: as in `approved`.
        find: the definitions that match a target and a kind.
        page: shows one of them.
        overview: shows many, one a line.
        take: acts on them for a person, and returns those that it acted on.
        tell_nothing: says that nothing matches a target.
        after: what to know once it is done.
        read_first: the command that shows what is not part of `--all`, but only decided on by its
            own name; empty for all others.
    """

    verb: str
    participle: str
    find: Callable[[Store, str | None, str | None], list[_Stored]]
    page: Callable[[_Stored], str]
    overview: Callable[[list[_Stored]], Iterable[str]]
    take: Callable[[Store, list[_Stored], str], list[_Stored]]
    tell_nothing: Callable[[str | None], None]
    after: str = ""
    read_first: Callable[[_Stored], str] = lambda _: ""


_IN_A_FILE = (
    "\n  A client's file, or the gateway's, has it: its definitions wait here once PipeGuard has"
    " started it.\n  What is guarded:  pipeguard status"
)


def match_definitions(
    find: Callable[[Store, str | None, str | None], list[_Stored]],
    store: Store,
    target: str | None,
    kind: str | None,
) -> list[_Stored]:
    """Find definitions by a server's name, or by the name of its entry in a client or gateway.

    Raises:
        RefusedError: no such server or tool.
    """
    try:
        return find(store, target, kind)
    except UnknownTargetError as error:
        from pipeguard.assess.isolated_servers import stored_targets

        hint = ""
        for own in stored_targets(store, target or ""):
            hint = _IN_A_FILE if "there is no server" in str(error) else ""
            with suppress(UnknownTargetError):
                return find(store, own, kind)
        raise RefusedError(f"{error}.{hint}") from error


def options(function: _Command) -> _Command:
    """Add the argument and the options of such a command, which gets them as a DecisionRequest."""

    @functools.wraps(function)
    def run(
        target: str | None,
        kind: str | None,
        *,
        take_all: bool,
        yes: bool,
        as_json: bool,
        **others: object,
    ) -> None:
        function(DecisionRequest(target, kind, take_all, yes, as_json), **others)

    command: _Command = run
    for add in (
        click.option("--json", "as_json", is_flag=True, help="As JSON, for programs; needs --yes."),
        click.option("--yes", is_flag=True, help="Do not ask about each."),
        click.option("--all", "take_all", is_flag=True, help="All that match, with one question."),
        click.option("--kind", type=click.Choice(KINDS), help="Only definitions of this kind."),
        click.argument(
            "target", metavar="[SERVER[/TOOL]]", required=False, shell_complete=completions.targets
        ),
    ):
        command = add(command)
    return command


def decide(decision: Decision[_Stored], request: DecisionRequest) -> None:
    """Show each definition, ask unless `--yes` was given, and act on exactly what was shown."""
    target, yes = request.target, request.yes
    if target is None and not request.take_all:
        raise click.UsageError("name a server or a tool, or add --all for every server.")
    if request.as_json and not yes:
        raise click.UsageError("--json cannot ask: add --yes.")
    with Store.open(store_path()) as store:
        matching = decision.find(store, target, request.kind)
        if yes and target is not None:
            _refuse_other_name(target, {entry.server for entry in matching})
        person = Person.here() if matching else None
        if yes and len(matching) > 1 and not request.take_all:
            names = ", ".join(entry.target for entry in matching)
            raise RefusedError(f"{len(matching)} match: {names}. Name one, or add --all.")
        is_asked = person is not None and not person.has_token
        chosen, left = _choose(decision, matching, request, is_asked=is_asked)
        if chosen and person is not None and not person.confirms(_describe(decision, chosen)):
            chosen = []
        done = decision.take(store, chosen, person.name) if chosen and person else []
    if request.as_json:
        outcome = {
            decision.participle: [_fields(entry) for entry in done],
            f"not_{decision.participle}": [
                _fields(entry) for entry in matching if entry not in done
            ],
        }
        click.echo(json.dumps(outcome, indent=2))
    elif not matching:
        decision.tell_nothing(target)
    else:
        _report(decision, chosen, done, left, is_list=request.take_all)
    if not matching:
        raise SystemExit(NOTHING_THERE)
    raise SystemExit(0 if len(done) == len(matching) else NOT_DONE)


def _refuse_other_name(target: str, servers: set[str]) -> None:
    """Refuse to decide without a question on a server that has another name than was typed."""
    for server in servers:
        if target != server and not target.startswith(f"{server}/"):
            raise RefusedError(
                f"{visible(target)} leads to {visible(server)}: type that name, or leave out --yes."
            )


def _choose(
    decision: Decision[_Stored],
    matching: list[_Stored],
    request: DecisionRequest,
    *,
    is_asked: bool,
) -> tuple[list[_Stored], list[_Stored]]:
    """Show what matches, unless as JSON, and have the person choose.

    Args:
        decision: about them.
        matching: all that match.
        request: the command line.
        is_asked: whether the person is asked about all that is chosen afterwards.

    Returns:
        Those chosen; and those of a group that are only decided on by their own names.
    """
    yes, take_all = request.yes, request.take_all
    is_by_group = take_all and all(entry.target != request.target for entry in matching)
    left = [entry for entry in matching if is_by_group and decision.read_first(entry)]
    if request.as_json:
        return [entry for entry in matching if entry not in left], left
    if matching and not yes and not sys.stdin.isatty():
        raise RefusedError("there is no terminal to ask on: with the CI token, add --yes.")
    verb = decision.verb.capitalize()
    is_list = take_all and len(matching) > 1
    chosen = [entry for entry in matching if is_list and entry not in left]
    for line in decision.overview(matching) if is_list else ():
        click.echo(line)
    for entry in () if is_list else matching:
        click.echo(decision.page(entry))
        is_the_only_one = is_asked and len(matching) == 1
        if entry in left:
            pass
        elif yes or take_all or is_the_only_one or click.confirm(f"{verb} {entry.target}?"):
            chosen.append(entry)
        click.echo()
    is_open = bool(chosen) and take_all and not yes and not is_asked
    if is_open and not click.confirm(f"{verb} all {len(chosen)}?"):
        return [], left
    return chosen, left


def _describe(decision: Decision[_Stored], chosen: list[_Stored]) -> str:
    count = len(chosen)
    return f"{decision.verb} {chosen[0].target if count == 1 else f'{count} definitions'}"


def _report(
    decision: Decision[_Stored],
    chosen: list[_Stored],
    done: list[_Stored],
    left: list[_Stored],
    *,
    is_list: bool,
) -> None:
    participle = decision.participle.capitalize()
    is_long = is_list and len(done) > 1
    if is_long:
        click.echo(f"{participle} {len(done)} definitions.")
    for entry in chosen:
        if entry in done and not is_long:
            click.echo(f"{participle} {entry.target}  {_fingerprint(entry)[:16]}")
        elif entry not in done:
            click.echo(
                f"Not {decision.participle} {entry.target}: it has changed again. See it with:"
                " pipeguard diff"
            )
    if done and decision.after:
        click.echo(decision.after)
    for entry in left:
        command = decision.read_first(entry)
        click.echo(f"Not {decision.participle} {entry.target}, which is flagged:  {command}")


def _fields(entry: StoredDefinition) -> dict[str, str]:
    return {
        "server": entry.server,
        "kind": entry.pin.kind,
        "name": entry.pin.name,
        "fingerprint": _fingerprint(entry),
    }


def _fingerprint(entry: StoredDefinition) -> str:
    return entry.pin.held_fingerprint or entry.pin.approved_fingerprint or ""
