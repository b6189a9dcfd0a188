"""`pipeguard logs`: what a server behind the gateway writes on its standard error."""

from __future__ import annotations

import click

from pipeguard.cli import _completions as completions


@click.command("logs", short_help="Show what a server behind the gateway writes.")
@click.argument("name", required=False, shell_complete=completions.servers_with_output)
@click.option("--follow", "-f", is_flag=True, help="Go on with new lines until you press Ctrl-C.")
@click.option(
    "--lines", "-n", type=click.IntRange(0), default=50, help="The last so many lines (50)."
)
def command(name: str | None, lines: int, *, follow: bool) -> None:
    """Show what a server of `pipeguard serve` writes on its standard error, secrets masked.

    Without NAME, list the servers that have written something.

    \b
    Examples:
      pipeguard logs
      pipeguard logs github
      pipeguard logs github -f
    """  # noqa: D301  click reads the mark
    from pipeguard.gateway.server_output import following_lines, last_lines, servers_with_output
    from pipeguard.unicode.display import visible_lines

    if name is None:
        names = servers_with_output()
        click.echo("\n".join(names) or "No server has written anything.", err=not names)
        return
    for line in last_lines(name, lines):
        click.echo(visible_lines(line))
    if follow:
        for line in following_lines(name):
            click.echo(visible_lines(line))
