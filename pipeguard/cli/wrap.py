"""`pipeguard wrap`: its help and its full parser; plain command lines bypass both."""

from collections.abc import Collection

import click

from pipeguard.cli import _completions as completions
from pipeguard.config.options import NEVER_EMPTY, TABLE, WrapOptions
from pipeguard.runtime.transports import transport_names


def add_options(command: click.Command, names: Collection[str]) -> None:
    """Add options of `wrap` to a command, by their names."""
    default, *others, last = transport_names()
    described = f"{', '.join([f'{default} (default)', *others])} or {last}"
    for name, metavar, many, text in (row for row in TABLE if row[0] in names):
        command.params.append(
            click.Option(
                [name],
                metavar=metavar or None,
                is_flag=not metavar or None,  # False would make its value optional
                multiple=bool(many),
                shell_complete=completions.files(metavar),
                help=text.replace("{transports}", described),
            )
        )


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

The exit code is the server's; 128 plus the signal's number if a signal ended it; 127 if its command
was not found, 126 if it could not be run; 2 for a wrong option or policy, 3 if the scan engine is
missing, 4 if the store cannot be used.""",
)
@click.argument(
    "server_command",
    metavar="COMMAND [ARGS]...",
    nargs=-1,
    type=click.UNPROCESSED,
    shell_complete=completions.files("FILE"),
)
@click.pass_context
def command(ctx: click.Context, /, server_command: tuple[str, ...], **options: object) -> None:
    """Guard one MCP server: judge every message between it and its client.

    Speaks MCP over stdin and stdout, as the server itself does: put this in front of the server's
    command in your client's configuration, and change nothing else. With --upstream the server is
    at an address; with --listen clients connect to one.
    """
    given = {name: options[name.removeprefix("--").replace("-", "_")] for name, *_ in TABLE}
    for name, value in given.items():
        _refuse_no_value(name, value, ctx)
    if not server_command and not options["upstream"]:
        raise click.UsageError("give the server's command after --, or its --upstream URL", ctx)
    if server_command and options["upstream"]:
        raise click.UsageError("give a command or --upstream, not both", ctx)
    values = {name: value for name, value in given.items() if isinstance(value, str)}
    lists = {name: value for name, value in given.items() if isinstance(value, tuple) and value}
    flags = [name for name, value in given.items() if value is True]
    from pipeguard.runtime.start import run

    ctx.exit(run(WrapOptions(server_command, values, lists, flags)))


def _refuse_no_value(name: str, given: object, ctx: click.Context) -> None:
    """Refuse an option without a value: it took the next word, or nothing."""
    taken = {"--", *(option for option, _, _, _ in TABLE), *([""] if name in NEVER_EMPTY else [])}
    values = given if isinstance(given, tuple) else (given,)
    for value in values:
        if value in taken:
            raise click.BadOptionUsage(name, f"{name} needs a value after it.", ctx)


add_options(command, [name for name, *_ in TABLE])
