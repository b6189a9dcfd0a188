"""The output of `setup`, for people and for programs: tables, diffs, outcomes. Not a command."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import click

from pipeguard.assess.isolation import extent_if_isolated
from pipeguard.cli._emit import colour_change
from pipeguard.clients.catalog import Client, clients
from pipeguard.clients.entries import Config, GuardState
from pipeguard.clients.isolating import CANNOT_ISOLATE, is_isolated, needs
from pipeguard.clients.launcher import LauncherError
from pipeguard.clients.machine import Machine, is_present
from pipeguard.clients.masking import command_line, diff, exchange_diff
from pipeguard.clients.rewrite import NOT_ISOLATED, JudgedServer
from pipeguard.clients.setting import (
    OWN_GUARD,
    SHARED_FILE,
    ChangePlan,
    describe_sharing,
    find_gone,
)
from pipeguard.installation import INSTALL
from pipeguard.isolation import summarise
from pipeguard.unicode.display import pluralize, printable_json, show, visible

_COLOURS = {
    GuardState.GUARDED: "green",
    GuardState.STALE: "red",
    GuardState.OPEN: "red",
    GuardState.CANNOT: "yellow",
    GuardState.LEFT: "bright_black",
}
LOST = "The home and /tmp of an isolated server are in memory, and are lost when it stops."
_WORDS = {GuardState.CANNOT: "cannot be", GuardState.STALE: "stale guard"}
_TO_MOVE = "to move"
_TO_ISOLATE = "to isolate"
_NEVER_ISOLATED = "cannot be isolated"
_ISOLATED = "isolated"  # which is guarded, too
_COMMAND_CHARS = 60
_STATE_CHARS = 11
LONG_CHARS = 100  # of a reason that is not repeated
TAB_CHARS = 4  # columns to which a tab expands at most
NAME_CHARS = (6, 24)  # least and greatest width of the column of names


def table(plans: Sequence[ChangePlan], machine: Machine) -> None:
    """Print every server of every file, and its state."""
    if not plans:
        click.echo("No MCP server of any client was found here.")
        return
    for plan in plans:
        show_heading(plan.config, plan.problem, machine)
        if plan.problem:
            click.echo("  Left unchanged. Fix the file, then run this again.")
        width = name_width(judged.server.name for judged in plan.servers)
        first: dict[str, str] = {}
        for judged in plan.servers:
            why = judged.why
            own = judged.server.name
            if len(why) > LONG_CHARS and (name := first.setdefault(why, own)) != own:
                why = f"as for {name}"
            click.echo(_line(judged, width, _word(plan, judged), machine, why))
        click.echo()
    if any(judged.is_to_isolate for plan in plans for judged in plan.servers):
        click.echo(LOST)
    click.echo(_count(plans))


def without_servers(machine: Machine, configs: Iterable[Config]) -> None:
    """Print the installed clients that have no server in any of their files."""
    busy = {spec.client for config in configs for spec in config.specs}
    names = [
        client.name
        for client in clients().values()
        if client.id not in busy and is_present(machine, client)
    ]
    if names:
        click.echo(f"No servers here: {', '.join(names)}.")


def without_file(client: Client, plans: Sequence[ChangePlan], launcher: Sequence[str]) -> None:
    """Print the manual steps for a client whose file does not exist."""
    if client.paste:
        steps = client.paste.replace("LAUNCHER", launcher[0])
        click.echo(f"\n{client.name} stores its servers in no file that can be edited.\n  {steps}")
    elif not any(spec.client == client.id for plan in plans for spec in plan.config.specs):
        click.echo(f"\n{client.name}: its files name no server.")


def diffs(plans: Iterable[ChangePlan]) -> None:
    """Show the planned changes, with secrets hidden."""
    for plan in plans:
        if plan.content is not None:
            show_diff(_diff(plan))
        if plan.move is not None:
            names = ", ".join(each.name for each in plan.changes)
            click.echo(f"To {visible(str(plan.move.file))}: {visible(names)}")


def _diff(plan: ChangePlan) -> list[str]:
    if plan.content is None:
        return []
    if plan.move is not None:
        return exchange_diff(plan.config, plan.content)
    return diff(plan.config, plan.content, [change.path for change in plan.changes])


def before_change(configs: Iterable[Config]) -> None:
    """Print the clients' notes for the person before their files are written."""
    for name in dict.fromkeys(spec.client for config in configs for spec in config.specs):
        client = clients()[name]
        if client.before:
            click.echo(f"{client.name}: {client.before}")


def _report_guarded(plan: ChangePlan, where: str) -> None:
    isolated = {each.server.name for each in plan.servers if each.is_to_isolate}
    for verb, is_among in (("Guarded and isolated", True), ("Guarded", False)):
        names = [each.name for each in plan.changes if (each.name in isolated) is is_among]
        if names:
            click.echo(f"{verb} {visible(', '.join(names))}  in {where}")


def outcome(
    done: Sequence[ChangePlan], failed: Mapping[Path, str], machine: Machine, undo_command: str
) -> None:
    """Report the changes, the failures, and the next steps for the user."""
    for plan in done:
        names = ", ".join(each.name for each in plan.changes)
        where = short_file(plan.config.path, machine)
        if plan.move is None:
            _report_guarded(plan, where)
        else:
            to = short_file(plan.move.file, machine)
            click.echo(f"Moved {visible(names)}  from {where} to {to}")
    report_refused(failed, machine)
    if any(each.is_to_isolate for plan in done for each in plan.servers):
        click.echo("  What each can touch:  pipeguard isolate list")
    for name in dict.fromkeys(spec.client for plan in done for spec in plan.config.specs):
        client = clients()[name]
        if client.after:
            click.echo(f"  {client.name}: {client.after}")
    if done:
        click.echo("Restart the clients that run.")
        if any(plan.move is not None for plan in done):
            click.echo("After that, no tool works until you approve it:  pipeguard approve --all")
        click.echo(f"Undo it:  {undo_command}")


def report_refused(failed: Mapping[Path, str], machine: Machine) -> None:
    """Report the files that were not changed, and why."""
    for path, why in failed.items():
        text = f"Not changed: {short_file(path, machine)}: {visible(why)}"
        click.echo(click.style(text, fg="red"), err=True)


def what_next(again: str, missing: LauncherError | None, plans: Sequence[ChangePlan]) -> None:
    """Print the command that carries out the plans.

    Args:
        again: the options that make the same choice again.
        missing: why no launcher was found: name its path, or install PipeGuard.
        plans: the plans that were shown.
    """
    if count := sum(plan.open_count for plan in plans):
        them = "it" if count == 1 else "them"
        which = f" --launcher {shlex.quote(missing.path)}" if missing and missing.path else ""
        what = "Move" if any(plan.move is not None for plan in plans) else "Guard"
        if any(judged.is_to_isolate for plan in plans for judged in plan.servers):
            what = "Guard and isolate"
        if missing and not missing.path:
            click.echo(INSTALL)
        click.echo(f"{what} {them}:  pipeguard setup {again} --yes{which}")


def as_json(
    plans: Sequence[ChangePlan],
    done: Sequence[ChangePlan],
    failed: Mapping[Path, str],
    code: int,
    *,
    dry_run: bool,
) -> None:
    """Print the plans and outcomes as JSON."""
    files = [
        {
            **file_fields(plan.config),
            "problem": failed.get(plan.config.path, plan.problem),
            "changed": plan in done,
            "servers": [_fields(judged, changed=plan in done) for judged in plan.servers],
            **({"diff": _diff(plan)} if dry_run and plan.content is not None else {}),
        }
        for plan in plans
    ]
    click.echo(printable_json({"files": files, "exit_code": code}))


def show_heading(config: Config, problem: str, machine: Machine) -> None:
    """Print a file's clients, its path and its scope, and why it is refused, if it is."""
    names = list(dict.fromkeys(clients()[spec.client].name for spec in config.specs))
    stated = [server.scope for server in config.servers] or [spec.scope for spec in config.specs]
    scopes = dict.fromkeys(scope.value for scope in stated)
    title = click.style(", ".join(names), bold=True)
    click.echo(f"{title}  {short_file(config.path, machine)}  ({', '.join(scopes)})")
    if problem:
        click.echo(click.style(f"  refused: {visible(problem)}", fg="red"))


def _word(plan: ChangePlan, judged: JudgedServer) -> str:
    """Describe a server's change other than guarding; else its state."""
    if judged.is_to_do and plan.move is not None:
        return _TO_MOVE
    if judged.code == NOT_ISOLATED:
        return _TO_ISOLATE if judged.chosen else GuardState.GUARDED.value
    if judged.code == CANNOT_ISOLATE:
        return _NEVER_ISOLATED
    state = judged.state
    is_held = state is GuardState.GUARDED and is_isolated(judged.server.guard)
    return _ISOLATED if is_held else state.value


def _line(judged: JudgedServer, width: int, what: str, machine: Machine, why: str) -> str:
    state = judged.state
    word = f"{_WORDS.get(state, what):<{_STATE_CHARS}}"
    colour = _COLOURS[GuardState.GUARDED if what == GuardState.GUARDED.value else state]
    name = f"{show(judged.server.name, NAME_CHARS[1]):<{width}}"
    command = show(command_line(judged.server), _COMMAND_CHARS)
    line = f"  {name}  {click.style(word, fg=colour)}  {command}".rstrip()
    gone = find_gone(judged.server)
    notes = [why, gone and f"its program does not exist: {gone}"]
    if judged.chosen and judged.renamed and judged.code != SHARED_FILE:
        notes.append(
            f"its name for PipeGuard is {judged.renamed}, beside that of another entry, which"
            " starts it with other arguments"
            if judged.server.guard is None
            else f"it {describe_sharing(judged.renamed)}"
        )
    if judged.chosen and judged.isolates:
        touched = summarise(extent_if_isolated(judged.server, machine))
        notes += [f"will be isolated: {touched}", needs(judged.server, str(machine.home))]
    indent = " " * (width + _STATE_CHARS + 6)
    return "\n".join([line, *(indent + visible(note) for note in notes if note)])


def name_width(names: Iterable[str]) -> int:
    """Return the width of a column of servers' names."""
    longest = max(map(len, names), default=0)
    return min(max(longest, NAME_CHARS[0]), NAME_CHARS[1])


def _count(plans: Iterable[ChangePlan]) -> str:
    words = [_word(plan, judged) for plan in plans for judged in plan.servers]
    each = (
        _TO_MOVE,
        _TO_ISOLATE,
        _ISOLATED,
        _NEVER_ISOLATED,
        *(state.value for state in GuardState),
    )
    counted = {word: words.count(word) for word in each}
    parts = [f"{count} {word}" for word, count in counted.items() if count]
    return f"{pluralize(len(words), 'server')}: {', '.join(parts)}." if parts else "No servers."


def short_file(path: Path, machine: Machine) -> str:
    """Shorten a path with ~; a repository may have chosen the file's name."""
    user_folder = machine.home
    is_below = user_folder in path.parents
    return visible(f"~/{path.relative_to(user_folder).as_posix()}" if is_below else str(path))


def show_diff(lines: Iterable[str]) -> None:
    """Print a diff, in colours."""
    click.echo()
    for line in lines:
        click.echo(colour_change(visible(line.expandtabs(TAB_CHARS))))


def file_fields(config: Config) -> dict[str, object]:
    """Describe a file, for programs."""
    return {
        "path": str(config.path),
        "clients": list(dict.fromkeys(spec.client for spec in config.specs)),
        "scopes": list(dict.fromkeys(spec.scope.value for spec in config.specs)),
    }


def _fields(judged: JudgedServer, *, changed: bool) -> dict[str, object]:
    server = judged.server
    is_guarded = judged.code in (OWN_GUARD, NOT_ISOLATED) or (changed and judged.is_to_do)
    is_changed = changed and judged.is_to_isolate
    state = GuardState.GUARDED if is_guarded else judged.state
    return {
        "name": server.name,
        "client": server.client,
        "scope": server.scope.value,
        "line": server.line,
        "state": state.value,
        "code": judged.code if state is judged.state else "",
        "why": judged.why if state is judged.state else "",
        "chosen": judged.chosen,
        "isolated": is_isolated(server.guard) or is_changed,
        "what": command_line(server),
    }
