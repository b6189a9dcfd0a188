"""The output of `setup --undo`, for people and for programs. Not a command itself."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import click

from pipeguard.assess.checks.secrets import find_uses
from pipeguard.cli._setup_report import (
    NAME_CHARS,
    file_fields,
    name_width,
    report_refused,
    short_file,
    show_diff,
    show_heading,
)
from pipeguard.clients.entries import parse_config
from pipeguard.clients.machine import Machine
from pipeguard.clients.masking import diff, exchange_diff
from pipeguard.clients.undoing import UndoMethod, UndoPlan
from pipeguard.unicode.display import printable_json, show, visible

_EDITED = (UndoMethod.SPLICED, UndoMethod.BY_MEANING)  # in a file that is not its backup


def undo_diffs(plans: Iterable[UndoPlan]) -> None:
    """Show the changes that undoing would make, with secrets hidden."""
    for plan in plans:
        if plan.content is not None:
            paths = [server.path for server in plan.config.servers if server.guard is not None]
            if paths:
                show_diff(diff(plan.config, plan.content, paths))
            if any(record.move is not None for record in plan.used):
                show_diff(exchange_diff(plan.config, plan.content))


def undo_table(plans: Iterable[UndoPlan], machine: Machine) -> None:
    """Show each entry that would be undone, and how."""
    words = {
        UndoMethod.EXACT: "the whole file as it was, byte for byte",
        UndoMethod.SPLICED: "the entry's text as it was; the rest of the file stays",
        UndoMethod.BY_MEANING: "the entry's command or address",
        UndoMethod.LEFT: "stays as it is",
    }
    for plan in plans:
        show_heading(plan.config, plan.problem, machine)
        width = name_width(undone.name for undone in plan.undone)
        for undone in plan.undone:
            why = f": {undone.why}" if undone.why else ""
            name = show(undone.name, NAME_CHARS[1])
            click.echo(f"  {name:<{width}}  {words[undone.method]}{why}")
        for line in _unread_references(plan):
            click.echo(click.style(f"  {line}", fg="yellow"))
        click.echo()


def _unread_references(plan: UndoPlan) -> Iterator[str]:
    """Name references that the entries would then have, and that only PipeGuard can read."""
    if plan.content is None:
        return
    names = {undone.name for undone in plan.undone}
    after = parse_config(plan.config.path, plan.config.specs, plan.content)
    for secret, uses in find_uses([after]).items():
        for use in uses:
            if use.server in names:
                place = visible(f"{use.server}: {use.place[0].lower()}{use.place[1:]}")
                value = f"put its value there (`pipeguard secrets get {secret}`)"
                yield f"{place} is `keyring:{secret}`, which only PipeGuard reads: {value}"


def undo_outcome(
    plans: Iterable[UndoPlan], failed: Mapping[Path, str], machine: Machine, *, again: str
) -> None:
    """Report the undone changes, or the options that would undo some."""
    if again:
        click.echo(f"Nothing was changed.  To undo:  pipeguard setup --undo {again} --yes")
    for plan in plans:
        if plan.config.path not in failed and not again:
            _tell_restored(plan, short_file(plan.config.path, machine))
    report_refused(failed, machine)


def _tell_restored(plan: UndoPlan, file: str) -> None:
    """Report what was restored in a file, and what was not."""
    left = [undone.name for undone in plan.undone if undone.method is UndoMethod.LEFT]
    names = visible(", ".join(left))
    if plan.content is not None or not left:
        is_edited = any(each.method in _EDITED for each in plan.undone)
        what = f"the entries in {file}" if is_edited else file
        click.echo(f"Restored {what}{f', but not {names}' if left else ''}")
    else:
        click.echo(click.style(f"Not changed: {file}: {names} stays as it is", fg="red"), err=True)


def undo_as_json(plans: Iterable[UndoPlan], failed: Mapping[Path, str], code: int) -> None:
    """Report it as JSON."""
    files = [
        {
            **file_fields(plan.config),
            "problem": failed.get(plan.config.path, plan.problem),
            "servers": [
                {"name": undone.name, "how": undone.method.value, "why": undone.why}
                for undone in plan.undone
            ],
        }
        for plan in plans
    ]
    others = set(failed) - {plan.config.path for plan in plans}
    files += [{"path": str(path), "problem": failed[path], "servers": []} for path in others]
    click.echo(printable_json({"files": files, "exit_code": code}))
