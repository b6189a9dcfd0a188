"""A group of commands, with headings and uncut summaries. Not a command itself."""

from collections.abc import Callable, Iterable

import click

from pipeguard.unicode.display import suggestion

WHOLE = 1_000  # characters of a summary: more than any has


class RefusedError(click.ClickException):
    """A refusal of a well-formed command line, so no usage is shown with it."""

    exit_code = 2


class CommandGroup(click.Group):
    """A group whose help serves people who do not know its commands."""

    def sections(self, ctx: click.Context) -> Iterable[tuple[str, Iterable[str]]]:
        """Headings of the help, each with the names below it."""
        return [("Commands", self.list_commands(ctx))]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve the command of a word.

        Raises:
            NoSuchCommand: no command has this name; the message suggests similar ones.
        """
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            text = f"{error.message}{suggestion(args[0], self.list_commands(ctx))}"
            raise click.NoSuchCommand(error.command_name, text, ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands below their headings."""
        sections = [(title, list(names)) for title, names in self.sections(ctx)]
        width = max(len(name) for _, names in sections for name in names)
        for title, names in sections:
            rows = []
            for name in names:
                command = self.get_command(ctx, name)
                assert command is not None  # noqa: S101  a test imports each
                rows.append((name.ljust(width), command.get_short_help_str(WHOLE)))
            with formatter.section(title):
                formatter.write_dl(rows)


def group(name: str, summary: str) -> Callable[[Callable[[], None]], CommandGroup]:
    """Make a function a group of commands, whose help is its docstring."""
    return click.group(name, cls=CommandGroup, short_help=summary)
