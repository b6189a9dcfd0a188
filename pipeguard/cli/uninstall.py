"""`pipeguard uninstall`: removes the guard everywhere, and names what remains."""

import os
from collections.abc import Iterator
from pathlib import Path

import click

from pipeguard.auth.secrets import stored_secrets
from pipeguard.cli import _emit, _page_service, _setup_request
from pipeguard.clients.history import records
from pipeguard.config.directories import cache_folder, usual_cache_folder
from pipeguard.config.user_policy import usual_policy_path
from pipeguard.errors import InputError
from pipeguard.installation import PACKAGE
from pipeguard.launch.person import TOKEN_FILE
from pipeguard.state.paths import existing_state_folder
from pipeguard.terminal.shells import find_completions
from pipeguard.unicode.display import visible

_SERVICE = "/etc/systemd/system/pipeguard.service"  # as docs/serve.md installs it


@click.command("uninstall", short_help="Remove the guard everywhere, and say what is left.")
@_emit.flag("--dry-run", "Show what would be removed; change nothing.")
@_emit.flag("--yes", "Do not ask.")
def command(*, dry_run: bool, yes: bool) -> None:
    """Remove the guard from every client, as `pipeguard setup --undo --all`, and name what is left.

    The page's service goes, too. Your policy and what was recorded stay, as do the lines that
    complete `pipeguard` in your shells.

    \b
    Examples:
      pipeguard uninstall --dry-run
      pipeguard uninstall --yes

    \b
    Exit codes:
      0  no client starts its servers with PipeGuard any more
      1  nothing was changed: you declined, or --dry-run
      5  a file was refused
      6  a server could not be restored
    """  # noqa: D301  click reads the mark
    from pipeguard.cli._setup_steps import DONE, NOTHING, REFUSED, undo

    request = _setup_request.SetupRequest(undo=True, take_all=True, yes=yes, dry_run=dry_run)
    code = undo(request, everything=True)
    code = DONE if code == NOTHING and yes and not dry_run else code
    try:
        if code == DONE and _page_service.remove():
            click.echo("Service removed: the page no longer runs.")
    except InputError as error:
        click.echo(f"Not changed: {error}", err=True)
        code = REFUSED
    click.echo("\n".join(_list_left(request.machine().home)))
    raise SystemExit(DONE if code == NOTHING else code)


def _list_left(home_folder: Path) -> Iterator[str]:
    """List the files that remain on this machine, apart from the program."""
    policy = Path(usual_policy_path())
    own = [policy, policy.with_name("pipeguard.yaml"), policy.with_name(TOKEN_FILE)]
    own += [*filter(None, [existing_state_folder()]), Path(cache_folder()), Path(_SERVICE)]
    own += [
        Path(usual_cache_folder()),
        _page_service.unit_path(),
        *find_completions(os.environ, home_folder),
    ]
    yield f"These stay, and so does the package {PACKAGE}:"
    yield from (f"  {visible(str(path))}" for path in dict.fromkeys(own) if path.exists())
    if names := ", ".join(secret.name for secret in stored_secrets()):
        yield f"  the secrets {names}"
    gone = dict.fromkeys(str(each.file) for each in records() if not each.file.exists())
    yield from (f"  guards in {visible(path)}, which is no longer there" for path in gone)
