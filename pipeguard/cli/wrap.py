"""`pipeguard wrap`: its help and its full parser; the plain spellings take a shorter way."""

from __future__ import annotations

import click

from pipeguard.cli import _completing as completing
from pipeguard.config.options import TABLE, WrapOptions


def _options(command: click.Command) -> click.Command:
    for name, metavar, many, text in TABLE:
        command.params.append(
            click.Option(
                [name],
                metavar=metavar or None,
                is_flag=not metavar,
                multiple=bool(many),
                shell_complete=completing.of_wrap(name, metavar),
                help=text,
            )
        )
    return command


@click.command(
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
    options_metavar="[OPTIONS] --",
    epilog="""\b
Examples:
  pipeguard wrap -- npx -y @modelcontextprotocol/server-filesystem /some/dir
  pipeguard wrap --name github --env GITHUB_TOKEN -- uvx mcp-server-github
  pipeguard wrap --trust review --log-level info -- python server.py
  pipeguard wrap --upstream https://mcp.example.com/mcp --bearer-env EXAMPLE_TOKEN
  pipeguard wrap --listen 127.0.0.1:8080 -- npx -y @modelcontextprotocol/server-memory

The exit code is the server's; 128 and the number where a signal ended it; 127 where its command
was not found, 126 where it could not be run, 2 for a wrong option or policy, 3 where the scan
engine is missing, 4 where the store cannot be used.""",
)
@click.argument(
    "server_command",
    metavar="COMMAND [ARGS]...",
    nargs=-1,
    type=click.UNPROCESSED,
    shell_complete=completing.command_words,
)
@click.pass_context
def command(ctx: click.Context, /, server_command: tuple[str, ...], **given: object) -> None:
    """Guard one MCP server: judge every message between it and its client.

    Speaks MCP over stdin and stdout, as the server itself does: put this in front of the server's
    command in your client's configuration, and change nothing else. With --upstream the server is
    at an address; with --listen the clients come to one.
    """
    if not server_command and not given["upstream"]:
        raise click.UsageError("give the server's command after --, or its --upstream URL", ctx)
    if server_command and given["upstream"]:
        raise click.UsageError("give a command or --upstream, not both", ctx)
    values: dict[str, str] = {}
    lists: dict[str, tuple[str, ...]] = {}
    flags: list[str] = []
    for name, metavar, many, _ in TABLE:
        value = given[name.removeprefix("--").replace("-", "_")]
        if many and isinstance(value, tuple):
            if value:
                lists[name] = value
        elif not metavar and value:
            flags.append(name)
        elif isinstance(value, str):
            values[name] = value
    from pipeguard.runtime.start import run

    ctx.exit(run(WrapOptions(server_command, values, lists, flags)))


_options(command)
