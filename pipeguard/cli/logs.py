"""`pipeguard logs`: prints the standard error of a server behind the gateway."""

import click

from pipeguard.cli._emit import flag
from pipeguard.errors import InputError
from pipeguard.unicode.display import suggestion, those_there_are, visible_lines


@click.command("logs", short_help="Show what a server behind the gateway writes.")
@click.argument("name", required=False)
@flag("--follow", "Go on with new lines until you press Ctrl-C.", "-f")
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

    if name is None:
        names = servers_with_output()
        click.echo("\n".join(names) or "No server has written anything.", err=not names)
        return
    names = _server_names()
    if name not in names:
        near = suggestion(name, names, listed=True)
        raise InputError(f"no server is called {name!r}.{near} {those_there_are(names)}")
    for line in last_lines(name, lines):
        click.echo(visible_lines(line))
    if follow:
        for line in following_lines(name):
            click.echo(visible_lines(line))


def _server_names() -> list[str]:
    """List the servers that have run, are in the gateway's file, or have written something."""
    from pipeguard.assess.gateway_file import gateway_configs
    from pipeguard.gateway.server_output import servers_with_output
    from pipeguard.state.store import open_existing_store

    names = {server.name for file in gateway_configs() for server in file.servers}
    if store := open_existing_store():
        with store:
            names.update(store.named_servers())
    return sorted(names | set(servers_with_output()))
