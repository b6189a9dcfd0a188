"""`pipeguard help`: the help of a command, for those who type it that way."""

import click


@click.command("help", short_help="Show the help of a command.")
@click.argument("words", nargs=-1, metavar="[COMMAND]...")
@click.pass_context
def command(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Show the help of COMMAND, as `pipeguard COMMAND --help` does; without it, all commands.

    \b
    Examples:
      pipeguard help setup
      pipeguard help rules test
    """  # noqa: D301  click reads the mark
    from pipeguard.cli import cli

    cli.main([*words, "--help"], prog_name="pipeguard", standalone_mode=False)
