"""`pipeguard uninstall`: removes the guard and what starts PipeGuard, and says what is left."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeguard.auth.secrets import stored_secrets
from pipeguard.cli import _page_service
from pipeguard.cli import _undo_report as report
from pipeguard.cli._person import TOKEN_FILE
from pipeguard.cli.setup import command as setup
from pipeguard.cli.setup import undo_plans, write_undo
from pipeguard.clients.files import FileError, replace, target
from pipeguard.clients.history import records
from pipeguard.clients.undoing import UndoMethod
from pipeguard.config.directories import cache_folder, usual_cache_folder
from pipeguard.config.user_policy import usual_policy_path
from pipeguard.errors import InputError
from pipeguard.installation import PACKAGE
from pipeguard.state.page_address import page_address
from pipeguard.state.paths import existing_state_folder
from pipeguard.terminal.shells import completes, find_completions, without_completion
from pipeguard.unicode.display import visible

if TYPE_CHECKING:
    from pipeguard.cli._setup_request import SetupRequest
    from pipeguard.clients.machine import Machine
    from pipeguard.clients.undoing import UndoPlan

DONE, NOT_DONE, REFUSED = 0, 1, 5
_QUESTION = (
    "\nRemove the guard from these files? Your servers stay, and so do your policy and records"
)
_SERVICE = "/etc/systemd/system/pipeguard.service"  # as docs/serve.md installs it
_UNDO_MOVED = "pipeguard setup --undo --all --yes --scope all"
_REMOVE_SERVICE = (
    f"sudo systemctl disable --now pipeguard && sudo rm {_SERVICE} && sudo systemctl daemon-reload"
)


@click.command("uninstall", short_help="Remove the guard everywhere, and say what is left.")
@click.option("--dry-run", is_flag=True, help="Show what would be removed; change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(*, dry_run: bool, yes: bool) -> None:
    """Remove the guard from every client, the completion from your shells, and the page's service.

    Your policy and what was recorded stay; it says where they are, and how to remove the program.

    \b
    Examples:
      pipeguard uninstall --dry-run
      pipeguard uninstall --yes

    \b
    Exit codes:
      0  no client starts its servers with PipeGuard any more
      1  nothing was changed: you declined, or --dry-run
      5  a file was refused, or a server could not be restored
    """  # noqa: D301  click reads the mark
    from pipeguard.cli._setup_request import SetupRequest

    unset = dict.fromkeys(str(each.name) for each in setup.params)
    options = unset | {"undo": True, "take_all": True, "yes": yes}
    request = SetupRequest((), options)
    machine = request.machine()
    plans = undo_plans(request, machine, everything=True)
    completions = find_completions(os.environ, machine.home)
    report.undo_table(plans, machine)
    for path in completions:
        click.echo(f"Completion of `pipeguard`  {visible(str(path))}")
    if is_service := _page_service.unit_path().exists():
        click.echo(f"Service of the page  {visible(str(_page_service.unit_path()))}")
    code = DONE
    if plans or completions or is_service:
        code = NOT_DONE
        if dry_run:
            click.echo("Nothing was changed.")
        elif _may_remove(yes=yes):
            code = _remove(request, plans, completions, machine)
    else:
        click.echo(
            "Nothing to remove: no server is guarded, no shell completes `pipeguard`, and no"
            " service runs it."
        )
    for line in _list_left(is_removed=code == DONE):
        click.echo(line)
    raise SystemExit(code)


def _may_remove(*, yes: bool) -> bool:
    if yes or (sys.stdin.isatty() and click.confirm(_QUESTION)):
        return True
    click.echo("Nothing was changed.  To remove it:  pipeguard uninstall --yes")
    return False


def _remove(
    request: SetupRequest, plans: list[UndoPlan], completions: Iterable[Path], machine: Machine
) -> int:
    failed = write_undo(request, plans, machine)
    report.undo_outcome(plans, failed, machine, again="")
    for path in completions:
        try:
            _remove_completion(path, machine)
            click.echo(f"Completion removed: {visible(str(path))}")
        except (OSError, FileError) as error:
            click.echo(f"Not changed: {visible(f'{path}: {error}')}", err=True)
            failed[path] = str(error)
    try:
        if _page_service.remove():
            click.echo("Service removed: the page no longer runs.")
    except InputError as error:
        click.echo(f"Not changed: {error}", err=True)
        failed[_page_service.unit_path()] = str(error)
    is_left = any(each.method is UndoMethod.LEFT for plan in plans for each in plan.undone)
    return REFUSED if failed or is_left else DONE


def _remove_completion(path: Path, machine: Machine) -> None:
    """Remove a script, or lines of a shell's settings."""
    if path.stem == "pipeguard":
        path.unlink()
        return
    real = target(path, machine)
    content = real.read_bytes()
    if (without := without_completion(content)) != content:
        replace(real, without, hashlib.sha256(content).hexdigest())
    if completes(without):
        why = "it does more, or is of a block."
        raise FileError(f"remove its line that completes `pipeguard` by hand: {why}")


def _list_left(*, is_removed: bool) -> Iterator[str]:
    """The files that stay on this machine, and how to remove the program."""
    state = existing_state_folder()
    policy = Path(usual_policy_path())
    own = [policy, policy.with_name("pipeguard.yaml"), policy.with_name(TOKEN_FILE)]
    own += [] if state is None else [state]
    own += [*map(Path, dict.fromkeys((cache_folder(), usual_cache_folder()))), Path(_SERVICE)]
    left = [str(path) for path in own if path.exists()]
    if left:
        yield "What stays, with your policy and what was recorded:"
        yield from (f"  {visible(path)}" for path in left)
    if names := ", ".join(secret.name for secret in stored_secrets()):
        yield f"These secrets stay stored: {names}.  pipeguard secrets delete NAME"
    if gone := list(dict.fromkeys(str(each.file) for each in records() if not each.file.exists())):
        yield "Servers were guarded in files that are no longer there:"
        yield from (f"  {visible(path)}" for path in gone)
        yield f"If you moved one, in its new folder:  {_UNDO_MOVED}"
    if is_removed and (address := page_address()):
        yield f"A page still runs at {address}: end it first, with Ctrl-C in its terminal."
    if is_removed:
        yield f"Then uninstall the package {PACKAGE}, the way it was installed."
    if _SERVICE in left:
        yield f"And its service:  {_REMOVE_SERVICE}"
