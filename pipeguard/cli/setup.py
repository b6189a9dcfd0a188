"""`pipeguard setup`: puts the guard in front of every client's servers, and removes it again."""

from typing import Any

import click

from pipeguard.cli._emit import choice, flag, value_option

SCOPES = ("user", "project", "all")


def _complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from pipeguard.clients.catalog import clients

    begin = {name.partition("-")[0] for name in clients() if "-" in name}
    return [name for name in sorted({*clients(), *begin}) if name.startswith(incomplete)]


@click.command("setup", short_help="Guard the servers of your MCP clients, or undo it.")
@click.argument("clients", metavar="[CLIENT]...", nargs=-1, shell_complete=_complete)
@value_option("--server", "NAME", "Only this server; may be repeated.", "names", multiple=True)
@flag("--all", "Every client that is found.", "take_all")
@choice(
    "--scope",
    SCOPES,
    "Whose files: your own (the default), those of the project you are in, or both (the"
    " default with --check or --shared).",
)
@value_option(
    "--project",
    "DIR",
    "The project, instead of the folder you are in.",
    type=click.Path(exists=True, file_okay=False),
)
@value_option(
    "--file", "PATH", "This file of CLIENT, wherever it is.", "file", type=click.Path(exists=True)
)
@flag(
    "--gateway", "Move the servers behind `pipeguard serve`, with one entry in each client's file."
)
@flag("--isolate", "Also isolate the servers that run on this machine.")
@flag("--undo", "Remove the guard, or move servers back.")
@flag("--check", "Change nothing; the exit code gives the state.")
@flag("--dry-run", "Show what would change, with secrets hidden.")
@flag("--yes", "Do not ask.")
@flag("--json", "As JSON, for programs; asks nothing.", "as_json")
@flag("--no-login", "Also guard remote servers without credentials, which need no login.")
@flag(
    "--shared",
    "Also change files in git: they get the bare command `pipeguard`, which all must install.",
)
@value_option("--launcher", "PATH", "The path to write for this program, instead of the one found.")
def command(clients: tuple[str, ...], **options: Any) -> None:
    """Find the servers of every MCP client on this machine, and put the guard in front of them.

    Without CLIENT it shows all clients, and offers to guard what is not guarded. CLIENT is a
    name such as claude-code, cursor, vscode, windsurf, zed or codex, or its beginning: claude is
    each Claude client that you have. In a file, only the entries of servers change, and no other
    byte; --undo restores what was there.

    With --gateway the servers move to pipeguard.yaml, in PipeGuard's folder of settings. Each
    client gets one entry, which runs `pipeguard serve`, and agents find all tools by search.

    \b
    Examples:
      pipeguard setup
      pipeguard setup cursor vscode --dry-run
      pipeguard setup --all --yes
      pipeguard setup claude-code --server github --scope all
      pipeguard setup --check --scope project
      pipeguard setup cursor --isolate --dry-run
      pipeguard setup cursor --gateway --dry-run
      pipeguard setup --all --gateway --yes
      pipeguard setup --undo --all --yes

    \b
    Exit codes:
      0  done: what you chose is guarded, or behind the gateway; with --undo, no longer
      1  a server that could be guarded is not: you declined, or --check, or --dry-run
      2  wrong usage, an invalid policy, or this program has no lasting path
      3  the scan engine is missing: no guarded server would start; nothing was changed
      4  what undoing needs cannot be stored in the state folder; nothing was changed
      5  a file was refused: broken, write-protected, or changed in the meantime
      6  every server that can be guarded is, but some cannot be, or their program is gone
      7  nothing to do: no server was found; with --undo, none is guarded
    """  # noqa: D301  click reads the mark
    from pipeguard.cli._setup_request import SetupRequest
    from pipeguard.cli._setup_steps import set_up, undo

    request = SetupRequest(clients, **options)
    raise SystemExit(undo(request) if request.undo else set_up(request))
