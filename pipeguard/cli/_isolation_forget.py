"""`pipeguard isolate forget`: removes what was learned, kept or fetched."""

from __future__ import annotations

import sys

import click

from pipeguard.cli import _completions as completions
from pipeguard.unicode.display import visible

NOT_DONE, NOTHING_THERE = 1, 3


@click.command("forget", short_help="Remove what was learned, kept or fetched.")
@click.argument("name", shell_complete=completions.isolation_kept)
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget(name: str, *, yes: bool) -> None:
    """Remove what was learned of the server NAME and its kept home, or the fetched package NAME.

    Your policy stays as it is. A package that a server runs from stays, too.

    \b
    Examples:
      pipeguard isolate forget files
      pipeguard isolate forget @modelcontextprotocol/server-memory --yes

    \b
    Exit codes:
      0  removed
      1  you declined, or no terminal is there to ask on, or a server runs from it
      3  there is nothing of that name
    """  # noqa: D301  click reads the mark
    from pipeguard.isolation.inventory import homes_of, packages, remove, remove_home
    from pipeguard.isolation.learning import observed

    learned = name in observed.learned_names()
    homes = homes_of(name)
    installed = [each for each in packages() if name in (each.name, each.package.specs[0])]
    what = [
        *(["what was learned"] if learned else []),
        *(["the home that it keeps, with all that it wrote there"] if homes else []),
        *(f"the fetched {each.name} {each.version}" for each in installed),
    ]
    if not what:
        click.echo(f"There is nothing of {visible(name)} to remove.")
        raise SystemExit(NOTHING_THERE)
    click.echo(f"Of {visible(name)}: {'; '.join(what)}.")
    if not yes and not sys.stdin.isatty():
        click.echo("There is no terminal to ask on. To remove it:  --yes", err=True)
        raise SystemExit(NOT_DONE)
    if not yes and not click.confirm("Remove it?"):
        raise SystemExit(NOT_DONE)
    if learned:
        observed.forget(name)
    for folder in homes:
        remove_home(folder)
    staying = [each.name for each in installed if not remove(each)]
    for each in staying:
        click.echo(f"{each} stays: a server runs from it.", err=True)
    raise SystemExit(NOT_DONE if staying else 0)
