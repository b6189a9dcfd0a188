"""The command line: one module for each command, imported when the command is called.

A command is a module in this folder whose `command` is a click command; nothing is registered.
"""

import importlib
from collections.abc import Iterable
from pathlib import Path

import click

from pipeguard.cli._groups import CommandGroup
from pipeguard.terminal.colour import colour_is_unwanted
from pipeguard.version import VERSION

# The order in which somebody meets them; a test holds that each command stands in one of them.
SECTIONS = {
    "Guard": ("setup", "status", "wrap", "serve"),
    "When something was stopped": ("explain", "allow", "audit", "record"),
    "What servers may reach": ("isolate",),
    "Definitions that wait for you": ("ui", "diff", "approve", "reject", "forget"),
    "Check": ("assess", "doctor", "scan", "rules", "policy", "replay"),
    "The gateway of `serve`": ("tools", "servers", "tokens", "store", "logs", "top"),
    "Logins and secrets": ("auth", "secrets"),
    "More": ("demo", "completion", "uninstall", "help"),
}


class CommandFolder(CommandGroup):
    """Finds its commands in this folder."""

    def sections(self, ctx: click.Context) -> Iterable[tuple[str, Iterable[str]]]:
        """Headings of the help, each with the names below it."""
        return SECTIONS.items()

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
