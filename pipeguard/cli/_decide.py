"""The common part of `approve`, `reject` and `forget`: show, ask, act, report. Not a command.

A person decides, or a token that a person made (`launch.person`).
"""

import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import click

from pipeguard.cli._emit import choice, emit, flag, json_option, wants_json
from pipeguard.cli._groups import RefusedError
from pipeguard.launch.person import Person
from pipeguard.state.pins import Store
from pipeguard.state.review import KINDS, StoredDefinition, UnknownTargetError
from pipeguard.state.store import open_store
from pipeguard.unicode.display import visible

NOT_DONE = 1
NOTHING_THERE = 3
_Find = Callable[[Store, str | None, str | None], list[StoredDefinition]]
_Command = Callable[..., None]


class Decision(NamedTuple):
    """One of the commands that decide.

    Attributes:
        verb: as in `approve`.
        participle: as in `approved`.
        find: the definitions that match a target and a kind.
        page: renders one of them.
        overview: renders many, and counts the characters, of those to decide on, that are left out.
        take: acts on them for a person, and returns the affected ones.
        nothing: the message if nothing matches, without the target.
        read_first: the command that shows a definition that is not part of `--all`, but only
            decided on by its own name; empty for all others.
    """

    verb: str
    participle: str
    find: _Find
    page: Callable[[StoredDefinition], str]
    overview: Callable[[list[StoredDefinition], list[StoredDefinition]], tuple[list[str], int]]
    take: Callable[[Store, list[StoredDefinition], str], list[StoredDefinition]]
    nothing: str
    read_first: Callable[[StoredDefinition], str] = lambda _: ""


def match_definitions(
    find: _Find, store: Store, target: str | None, kind: str | None
) -> list[StoredDefinition]:
    """Find definitions by a server's name.

    Raises:
        RefusedError: the server or tool is unknown.
    """
    try:
        return find(store, target, kind)
    except UnknownTargetError as error:
        raise RefusedError(f"{error}.") from error


def tell_nothing(nothing: str, target: str | None) -> str:
    """Word the message that a target matches nothing."""
    return f"{nothing}{f' of {target}' if target else ''}."


kind_option = choice("--kind", KINDS, "Only definitions of this kind.")
target_argument = click.argument("target", metavar="[SERVER[/TOOL]]", required=False)


def options(command: _Command) -> _Command:
    """Add the argument and the options of such a command, which `decide` takes."""
    for add in (
        json_option,
        flag("--yes", "Do not ask about each; --json needs it."),
        flag("--all", "All that match, with one question.", "take_all"),
        kind_option,
        target_argument,
    ):
        command = add(command)
    return command


def decide(
    decision: Decision,
    target: str | None,
    *,
    kind: str | None,
    take_all: bool,
    yes: bool,
) -> None:
    """Show each definition, ask unless `--yes` was given, and act on exactly the shown ones."""
    if target is None and not take_all:
        raise click.UsageError("name a server or a tool, or add --all for every server.")
    if wants_json() and not yes:
        raise click.UsageError("--json cannot ask: add --yes.")
    with open_store() as store:
        matching = decision.find(store, target, kind)
        # Flagged members of a group are decided on by their own names only.
        is_by_group = take_all and all(entry.target != target for entry in matching)
        flagged = [entry for entry in matching if is_by_group and decision.read_first(entry)]
        chosen = [entry for entry in matching if entry not in flagged]
        person = _find_decider(matching, target, take_all=take_all, yes=yes)
        is_list = take_all and len(matching) > 1
        pages, unseen = decision.overview(matching, chosen) if is_list else ([], 0)
        starts = {entry.server: store.find_launch(entry.server) for entry in matching}
        shown = [visible(f"Server {name}: {it}") for name, it in starts.items() if it] + pages
        if person is not None and not wants_json():
            asks = None if yes else person
            chosen = _choose(decision, matching, chosen, person=asks, lines=shown, is_list=take_all)
        if person is None or not (chosen and person.confirms(_describe(decision, chosen, unseen))):
            chosen = []
        done = decision.take(store, chosen, person.name) if chosen and person else []
    outcome = {
        decision.participle: [_fields(entry) for entry in done],
        f"not_{decision.participle}": [_fields(entry) for entry in matching if entry not in done],
    }
    lines = [tell_nothing(decision.nothing, target)]
    if matching:
        lines = list(_report(decision, chosen, done, flagged, is_list=take_all))
    code = (0 if len(done) == len(matching) else NOT_DONE) if matching else NOTHING_THERE
    emit(outcome, lambda _: lines, code=code)


def _find_decider(
    matching: list[StoredDefinition], target: str | None, *, take_all: bool, yes: bool
) -> Person | None:
    """Return the person who decides; None if no definition matches.

    Raises:
        RefusedError: it must not ask, and the target is ambiguous.
        NotAPersonError: an agent, or no terminal.
    """
    if yes and target:
        for server in {entry.server for entry in matching}:
            if target != server and not target.startswith(f"{server}/"):
                leads = f"{visible(target)} leads to {visible(server)}"
                raise RefusedError(f"{leads}: type that name, or leave out --yes.")
    person = Person.here() if matching else None
    if yes and len(matching) > 1 and not take_all:
        names = ", ".join(entry.target for entry in matching)
        raise RefusedError(f"{len(matching)} match: {names}. Name one, or add --all.")
    return person


def _choose(
    decision: Decision,
    matching: list[StoredDefinition],
    chosen: list[StoredDefinition],
    *,
    person: Person | None,
    lines: list[str],
    is_list: bool,
) -> list[StoredDefinition]:
    """Show the matching definitions, and let the person choose.

    Args:
        decision: the command.
        matching: all definitions that match.
        chosen: those that the person may decide on.
        person: the person to ask, or None not to ask.
        lines: to show first: how each server is started, and several definitions in one list.
        is_list: whether to ask one question about all.
    """
    if person is not None and not sys.stdin.isatty():
        raise RefusedError("there is no terminal to ask on: with the CI token, add --yes.")
    verb = decision.verb.capitalize()
    # The number that a person types afterwards is the question about all, or about the only one.
    asks_each = person is not None and not is_list and (person.has_token or len(matching) > 1)
    for line in lines:
        click.echo(line)
    if not is_list or len(matching) == 1:
        agreed = []
        for entry in matching:
            click.echo(decision.page(entry))
            if entry in chosen and (not asks_each or click.confirm(f"{verb} {entry.target}?")):
                agreed.append(entry)
            click.echo()
        chosen = agreed
    is_open = person is not None and person.has_token and is_list and bool(chosen)
    return [] if is_open and not click.confirm(f"{verb} all {len(chosen)}?") else chosen


def _describe(decision: Decision, chosen: list[StoredDefinition], unseen: int) -> str:
    what = chosen[0].target if len(chosen) == 1 else f"{len(chosen)} definitions"
    more = f", and {unseen:,} characters that you have not seen" if unseen else ""
    return f"{decision.verb} {what}{more}"


def _report(
    decision: Decision,
    chosen: list[StoredDefinition],
    done: list[StoredDefinition],
    flagged: list[StoredDefinition],
    *,
    is_list: bool,
) -> Iterator[str]:
    participle = decision.participle
    is_long = is_list and len(done) > 1
    if is_long:
        yield f"{participle.capitalize()} {len(done)} definitions."
    for entry in chosen:
        if entry not in done:
            yield f"Not {participle} {entry.target}: it has changed again."
        elif not is_long:
            yield f"{participle.capitalize()} {entry.target}  {_fingerprint(entry)[:16]}"
    for entry in flagged:
        command = decision.read_first(entry)
        yield f"Not {participle} {entry.target}, which is flagged:  {command}"


def _fields(entry: StoredDefinition) -> dict[str, str | None]:
    return {
        "server": entry.server,
        "kind": entry.pin.kind,
        "name": entry.pin.name,
        "fingerprint": _fingerprint(entry),
        "definition": entry.pin.held_definition or entry.pin.approved_definition,
    }


def _fingerprint(entry: StoredDefinition) -> str:
    return entry.pin.held_fingerprint or entry.pin.approved_fingerprint or ""
