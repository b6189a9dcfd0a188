"""The command line: one module for each command, imported when the command is called.

A command is a module in this folder whose `command` is a click command; nothing is registered.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path

import click

from pipeguard.cli._groups import CommandGroup
from pipeguard.terminal.colour import colour_is_unwanted
from pipeguard.unicode.display import quote, suggestion
from pipeguard.version import VERSION

# The order in which somebody meets them; a test holds that each command stands in one of them.
SECTIONS = {
    "Guard": ("setup", "status", "wrap", "serve"),
    "When something was stopped": ("explain", "allow", "audit"),
    "What servers may reach": ("isolate",),
    "Definitions that wait for you": ("ui", "diff", "approve", "reject", "forget"),
    "Check": ("assess", "doctor", "scan", "rules", "policy"),
    "The gateway of `serve`": ("tools", "servers", "tokens", "logs", "top"),
    "Logins and secrets": ("auth", "secrets"),
    "More": ("demo", "completion", "uninstall", "help"),
}


class CommandFolder(CommandGroup):
    """Finds its commands in this folder."""

    def sections(self, ctx: click.Context) -> Iterable[tuple[str, Iterable[str]]]:
        """Headings of the help, each with the names below it."""
        return SECTIONS.items()

    def explain_unknown(self, ctx: click.Context, args: list[str]) -> str:
        """Suggest a command; for a client's name, which belongs behind `setup`, that one."""
        from pipeguard.clients.catalog import clients_called
        from pipeguard.errors import InputError

        try:
            clients_called(args[0])
        except InputError:
            from pipeguard.cli.setup import command as setup

            option = f"--{args[0]}"
            if any(option in each.opts for each in setup.params):
                return f" Did you mean `pipeguard setup {option}`?"
            return super().explain_unknown(ctx, args)
        rest = " ".join(quote(word) for word in args[1:] if word != "setup")
        command = f"pipeguard setup {quote(args[0])} {rest}".rstrip()
        return f" It is a client. To guard its servers:  {command}"

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; an option that it does not have gets our suggestion, not click's."""
        words = [*ctx._protected_args, *ctx.args]
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as error:
            if corrected := _find_server_command(words, error):
                text = f"{error.message} It is the server's own, so write:  {corrected}"
                raise click.NoSuchOption(error.option_name, text, ctx=error.ctx) from None
            names = error.ctx.command.params if error.ctx is not None else []
            options = [name for each in names for name in each.opts if name.startswith("--")]
            hint = _name_choice(names, error.option_name.lstrip("-")) or suggestion(
                error.option_name, [*options, "--help"], listed=True
            )
            text = f"{error.message}{hint}"
            raise click.NoSuchOption(error.option_name, text, ctx=error.ctx) from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        modules = Path(__file__).parent.glob("[a-z]*.py")
        return sorted(module.stem.replace("_", "-") for module in modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        name = cmd_name.replace("-", "_")
        if not name.isidentifier() or name not in (
            listed.replace("-", "_") for listed in self.list_commands(ctx)
        ):
            return None
        command = importlib.import_module(f"pipeguard.cli.{name}").command
        assert isinstance(command, click.Command)  # noqa: S101  a test imports each
        return command


def _name_choice(parameters: Iterable[click.Parameter], word: str) -> str:
    """The option that takes a word, which was given as an option itself; else empty."""
    for each in parameters:
        if isinstance(each.type, click.Choice) and word in each.type.choices:
            return f" Use {each.opts[0]} {word}."
    return ""


def _find_server_command(words: list[str], error: click.NoSuchOption) -> str:
    """A command line that has the server's command, with the option, in its place; else empty."""
    if error.ctx is None or "--" in words:
        return ""
    command, path = error.ctx.command, error.ctx.command_path.split()[1:]
    for each in command.params:
        if isinstance(each, click.Option) and each.metavar == "COMMAND" and each.opts[0] in words:
            begin = words.index(each.opts[0]) + 1
            shown = ["pipeguard", *words[:begin], " ".join(map(quote, words[begin:]))]
            return " ".join(map(quote, shown))
    own = {name for each in command.params for name in each.opts if name.startswith("-")}
    if not any(each.type is click.UNPROCESSED and each.nargs == -1 for each in command.params):
        return ""
    rest, position = words[len(path) :], 0
    option = next((at for at, word in enumerate(rest) if word.startswith(error.option_name)), 0)
    while position < option and rest[position].startswith("-"):
        name, equals, _ = rest[position].partition("=")
        takes = [each for each in command.params if name in each.opts]
        is_flag = any(isinstance(each, click.Option) and each.is_flag for each in takes)
        position += 1 if equals or is_flag or not own.intersection({name}) else 2
    if position >= option:
        return ""
    shown = ["pipeguard", *path, *rest[:position], "--", *rest[position:]]
    return " ".join(map(quote, shown))


@click.group(
    cls=CommandFolder,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog='Shell completion: eval "$(pipeguard completion bash)"; or zsh, fish, powershell.',
)
@click.version_option(VERSION, "-V", "--version", prog_name="pipeguard")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """A firewall for the Model Context Protocol.

    \b
    Guard the servers of your clients, such as Claude Code, Cursor and VS Code:
      pipeguard setup
    See it at work:
      pipeguard demo
    Find out why something does not work:
      pipeguard doctor
    """  # noqa: D301  click reads the mark
    if colour_is_unwanted():
        ctx.color = False  # for every command; else click decides by whether it is a terminal
