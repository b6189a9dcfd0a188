"""The command line: one module per verb, imported when it is called.

A verb is a module in this folder whose `command` is a click command; nothing is registered.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from pipeguard.terminal.colour import colour_is_unwanted
from pipeguard.version import VERSION


class Verbs(click.Group):
    """Finds its commands in this folder."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all verbs."""
        modules = Path(__file__).parent.glob("[a-z]*.py")
        return sorted(module.stem.replace("_", "-") for module in modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb."""
        name = cmd_name.replace("-", "_")
        if not name.isidentifier() or name not in (
            verb.replace("-", "_") for verb in self.list_commands(ctx)
        ):
            return None
        command = importlib.import_module(f"pipeguard.cli.{name}").command
        assert isinstance(command, click.Command)  # noqa: S101  a test calls each
        return command


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog='Completion: eval "$(pipeguard completion bash)"; also zsh and fish.',
)
@click.version_option(VERSION, prog_name="pipeguard")
@click.pass_context
def cli(ctx: click.Context) -> None:
    r"""A firewall for the Model Context Protocol.

    \b
    Put it in front of a server's command in your agent's configuration:
      pipeguard wrap -- npx -y @modelcontextprotocol/server-filesystem /some/dir
    See it at work:
      pipeguard demo
    Something does not work:
      pipeguard doctor
    """
    if colour_is_unwanted():
        ctx.color = False  # for every verb; else click asks whether it is a terminal
