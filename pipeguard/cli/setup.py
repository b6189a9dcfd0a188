"""`pipeguard setup`: every client's servers behind the guard, and back. Shows, asks, does it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeguard.cli import _completing as completing
from pipeguard.core.unicode.display import visible
from pipeguard.errors import InputError, PipeGuardError

if TYPE_CHECKING:
    from pipeguard.clients.catalog import Client, ConfigScope
    from pipeguard.clients.entries import Config
    from pipeguard.clients.launcher import LauncherError
    from pipeguard.clients.machine import Machine
    from pipeguard.clients.rewrite import Wishes
    from pipeguard.clients.setting import ChangePlan
    from pipeguard.clients.undoing import UndoPlan

DONE, OPEN, REFUSED, CANNOT, NOTHING = 0, 1, 5, 6, 7
SCOPES = ("user", "project", "all")


def _complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from pipeguard.clients.catalog import clients

    return [name for name in clients() if name.startswith(incomplete)]


@click.command("setup", short_help="Guard the servers of your MCP clients, or undo it.")
@click.argument("clients", metavar="[CLIENT]...", nargs=-1, shell_complete=_complete)
@click.option(
    "--server",
    "names",
    metavar="NAME",
    multiple=True,
    shell_complete=completing.client_servers,
    help="Only this; may be repeated.",
)
@click.option("--all", "take_all", is_flag=True, help="Every client that is found.")
@click.option(
    "--scope",
    type=click.Choice(SCOPES),
    help="Whose files: your own (the default), those of the project you are in, or both.",
)
@click.option(
    "--project",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False),
    help="The project, instead of the folder you are in.",
)
@click.option(
    "--file",
    "file",
    metavar="PATH",
    type=click.Path(exists=True),
    help="This file of the one CLIENT, wherever it lies.",
)
@click.option("--undo", is_flag=True, help="Take the guard away again.")
@click.option("--check", is_flag=True, help="Change nothing; the exit code says how it stands.")
@click.option("--dry-run", is_flag=True, help="Show what would change, secrets hidden.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs; asks nothing.")
@click.option(
    "--no-login",
    is_flag=True,
    help="Guard remote servers without credentials too: they ask for no login.",
)
@click.option("--disabled", is_flag=True, help="Guard servers that are switched off too.")
@click.option(
    "--expose-urls",
    is_flag=True,
    help="Guard servers with a secret in their address too: the list of processes shows it.",
)
@click.option(
    "--shared",
    is_flag=True,
    help="Change files that git has, with `pipeguard` alone, which all must install.",
)
@click.option(
    "--launcher", metavar="PATH", help="The program to write, instead of the one that is found."
)
@click.option(
    "--snippet",
    metavar="COMMAND",
    help="Show how a new server is added to CLIENT by hand; COMMAND may be an address.",
)
def command(clients: tuple[str, ...], **options: object) -> None:
    """Find the servers of every MCP client on this machine, and put the guard before them.

    Without CLIENT it shows all of them, and offers to guard what is open. CLIENT is a name such
    as claude-code, claude-desktop, cursor, vscode, windsurf, zed, codex or gemini-cli. In a file,
    the entry of a server changes and not one byte beside it; --undo gives back what was there.

    \b
    Examples:
      pipeguard setup
      pipeguard setup cursor vscode --dry-run
      pipeguard setup --all --yes
      pipeguard setup claude-code --server github --scope all
      pipeguard setup --check --scope project
      pipeguard setup --undo --all --yes
      pipeguard setup cursor --snippet "npx -y @modelcontextprotocol/server-memory"

    \b
    Exit codes:
      0  done: what you chose is guarded; with --undo, it is not any more
      1  a server is open that could be guarded: you said no, --check, --dry-run
      2  wrong usage, a wrong policy, or no path of pipeguard's own that would last
      3  the scan engine is missing: no guarded server would start, and nothing was changed
      4  what undoing needs cannot be kept in the state folder; nothing was changed
      5  a file was refused: broken, write-protected, or changed in the meantime
      6  all that can be guarded is, and some servers cannot be
      7  nothing to do: no server was found; with --undo, none is guarded
    """  # noqa: D301  click reads the mark
    asked = _SetupRequest(clients, options)
    if asked.snippet:
        raise SystemExit(_show_snippets(asked))
    if asked.undo:
        raise SystemExit(_undo(asked))
    raise SystemExit(_set_up(asked))


class _SetupRequest:
    """What a person asked for, read from the command line."""

    def __init__(self, clients: tuple[str, ...], options: dict[str, object]) -> None:
        from pipeguard.clients.catalog import client

        self.clients: list[Client] = [client(name) for name in dict.fromkeys(clients)]
        self.names = (
            tuple(map(str, options["names"])) if isinstance(options["names"], tuple) else ()
        )
        self.take_all = bool(options["take_all"])
        self.scope = str(options["scope"] or "")
        self.project = str(options["project"] or "")
        self.file = str(options["file"] or "")
        self.undo = bool(options["undo"])
        self.check = bool(options["check"])
        self.dry_run = bool(options["dry_run"])
        self.yes = bool(options["yes"])
        self.as_json = bool(options["as_json"])
        self.no_login = bool(options["no_login"])
        self.disabled = bool(options["disabled"])
        self.expose_urls = bool(options["expose_urls"])
        self.shared = bool(options["shared"])
        self.launcher = str(options["launcher"]) if options["launcher"] else None
        self.snippet = str(options["snippet"] or "")
        self._refuse_nonsense()

    def _refuse_nonsense(self) -> None:
        if self.take_all and self.clients:
            raise click.UsageError("name clients or give --all, not both.")
        if self.file and len(self.clients) != 1:
            raise click.UsageError("--file needs the one CLIENT whose file it is.")
        if self.check and (self.undo or self.yes):
            raise click.UsageError("--check changes nothing: leave out --undo and --yes.")
        if self.snippet and not self.clients:
            raise click.UsageError("--snippet needs the CLIENT that it is for.")
        if self.yes and not (self.clients or self.take_all):
            raise click.UsageError("--yes needs a CLIENT, or --all for every one.")

    @property
    def is_only_shown(self) -> bool:
        """Whether nothing can be changed."""
        return self.check or self.dry_run or (self.as_json and not self.yes)

    @property
    def is_to_write(self) -> bool:
        """Whether what is written matters: it is written, or shown as it would be."""
        return self.dry_run or self.yes or (not self.is_only_shown and sys.stdin.isatty())

    def wishes(self) -> Wishes:
        """Which servers, and what is allowed beyond the default."""
        from pipeguard.auth.store import LoginStore
        from pipeguard.clients.rewrite import Wishes

        return Wishes(
            names=self.names,
            scopes=self.scopes(),
            shared=self.shared,
            no_login=self.no_login,
            off=self.disabled,
            expose_urls=self.expose_urls,
            is_logged_in=LoginStore().holds,
        )

    def machine(self) -> Machine:
        """This machine; the folder that one is in is a project, unless it is the home folder."""
        from pipeguard.clients.machine import Machine

        folder = Path(self.project or Path.cwd()).absolute()
        return Machine.here(None if folder == Path.home() else folder)

    def scopes(self) -> tuple[ConfigScope, ...]:
        """Whose servers are meant."""
        from pipeguard.clients.catalog import ConfigScope

        if self.scope == "all" or self.file or (self.check and not self.scope):
            return tuple(ConfigScope)
        return (
            (ConfigScope.PROJECT,)
            if self.scope == "project"
            else (ConfigScope.USER, ConfigScope.LOCAL)
        )

    def configs(self, machine: Machine) -> list[Config]:
        """The files that are meant, read: those with servers, and those that cannot be read."""
        from pipeguard.clients.entries import read_config
        from pipeguard.clients.machine import ConfigFile, find, specs_of

        if self.file:
            path = Path(self.file).absolute()
            found = [ConfigFile(path, specs_of(self.clients[0], path))]
        else:
            found = find(machine, self.clients or None)
        read = (read_config(one) for one in found)
        return [config for config in read if config.servers or config.problem]


def _set_up(asked: _SetupRequest) -> int:
    from pipeguard.cli import _setup_told as told
    from pipeguard.clients import setting

    machine = asked.machine()
    configs = asked.configs(machine)
    words, no_launcher = _launcher(asked, machine)
    wishes = asked.wishes()
    plans = [setting.plan(config, machine, words, wishes) for config in configs]
    _refuse_unknown_names(asked, plans)
    if not asked.as_json:
        told.table(plans, machine)
        if not asked.clients and not asked.file:
            told.without_servers(machine, configs)
        for client in asked.clients:
            told.without_file(client, plans, words)
    to_do = [plan for plan in plans if plan.content is not None]
    if asked.dry_run and not asked.as_json:
        told.diffs(plans)
    if no_launcher and to_do and asked.is_to_write:
        raise no_launcher
    failed: dict[Path, str] = {}
    done: list[ChangePlan] = []
    if to_do and not asked.is_only_shown and _may(asked, to_do):
        done, failed = _carried_out(to_do, machine)
        if not asked.as_json:
            told.outcome(done, failed, machine)
    code = _code(plans, done, failed)
    if not asked.as_json and not asked.check:
        told.own_copies(plans, words)
        if not asked.names:
            told.of_the_project(plans)
    if asked.as_json:
        told.as_json(plans, done, failed, code, dry_run=asked.dry_run)
    elif to_do and not done and not failed:
        path = asked.launcher or (no_launcher.found if no_launcher else "")
        told.what_next(asked.clients, asked.scope, path, open_count=_open_count(to_do))
    return code


def _carried_out(
    plans: Iterable[ChangePlan], machine: Machine
) -> tuple[list[ChangePlan], dict[Path, str]]:
    """Write each file; one that is refused leaves the others alone."""
    from pipeguard.clients import setting
    from pipeguard.clients.files import FileError
    from pipeguard.clients.readiness import make_ready

    make_ready()
    done: list[ChangePlan] = []
    failed: dict[Path, str] = {}
    for plan in plans:
        try:
            setting.carry_out(plan, machine)
            done.append(plan)
        except FileError as error:
            failed[plan.config.path] = str(error)
    return done, failed


def _code(plans: list[ChangePlan], done: list[ChangePlan], failed: dict[Path, str]) -> int:
    from pipeguard.clients.entries import GuardState

    chosen = [(plan, one) for plan in plans for one in plan.standings if one.chosen]
    if failed or any(plan.problem for plan in plans):
        return REFUSED
    states = [one.judgement.state for plan, one in chosen if not (plan in done and one.is_to_do)]
    if GuardState.OPEN in states or GuardState.STALE in states:
        return OPEN
    if GuardState.CANNOT in states:
        return CANNOT
    return DONE if any(one.judgement.state is not GuardState.LEFT for _, one in chosen) else NOTHING


def _open_count(plans: Iterable[ChangePlan]) -> int:
    return sum(one.is_to_do for plan in plans for one in plan.standings)


def _may(asked: _SetupRequest, plans: list[ChangePlan]) -> bool:
    if asked.yes:
        return True
    if not sys.stdin.isatty():
        return False
    count = _open_count(plans)
    servers = "1 server" if count == 1 else f"{count} servers"
    files = "1 file" if len(plans) == 1 else f"{len(plans)} files"
    return click.confirm(f"\nGuard {servers} in {files}?")


def _launcher(
    asked: _SetupRequest, machine: Machine
) -> tuple[tuple[str, ...], LauncherError | None]:
    """The words to write; or a word that stands for them, and why there are none."""
    from pipeguard.clients.guarding import SHARED_LAUNCHER
    from pipeguard.clients.launcher import LauncherError, launcher

    if asked.check:
        return SHARED_LAUNCHER, None
    try:
        return launcher(asked.launcher, machine.environment), None
    except LauncherError as error:
        if asked.launcher:
            raise
        return (error.found,) if error.found else SHARED_LAUNCHER, error


def _refuse_unknown_names(asked: _SetupRequest, plans: Iterable[ChangePlan]) -> None:
    known = {one.server.name for plan in plans for one in plan.standings}
    missing = [name for name in asked.names if name not in known]
    if missing:
        listed = visible(", ".join(sorted(known))) or "none"
        raise InputError(f"no server is called {missing[0]!r} there.\n  There are: {listed}")


def _undo(asked: _SetupRequest) -> int:
    from pipeguard.cli import _setup_told as told
    from pipeguard.clients import undoing

    machine = asked.machine()
    configs = _with_remembered(asked, asked.configs(machine))
    plans = [undoing.plan_undo(config, machine, asked.names) for config in configs]
    plans = [plan for plan in plans if plan.undone or plan.problem]
    if not plans:
        if asked.as_json:
            told.undo_as_json([], {}, NOTHING)
        else:
            click.echo("No server of these clients is guarded.")
        return NOTHING
    if not asked.as_json:
        told.undo_table(plans, machine)
        if asked.dry_run:
            told.undo_diffs(plans)
    failed: dict[Path, str] = {plan.config.path: plan.problem for plan in plans if plan.problem}
    to_do = [plan for plan in plans if not plan.problem]
    may = not asked.is_only_shown and bool(to_do)
    if may and not asked.yes:
        may = sys.stdin.isatty() and click.confirm("\nTake the guard away?")
    if may:
        failed |= _undone(to_do, machine)
    code = _undo_code(plans, failed, may=may)
    if asked.as_json:
        told.undo_as_json(plans, failed, code)
    else:
        told.undo_outcome(plans, failed, machine, done=may)
    return code


def _undone(plans: Iterable[UndoPlan], machine: Machine) -> dict[Path, str]:
    from pipeguard.clients import undoing
    from pipeguard.clients.files import FileError

    failed: dict[Path, str] = {}
    for plan in plans:
        try:
            undoing.undo(plan, machine)
        except FileError as error:
            failed[plan.config.path] = str(error)
    return failed


def _undo_code(plans: Iterable[UndoPlan], failed: dict[Path, str], *, may: bool) -> int:
    from pipeguard.clients.undoing import UndoMethod

    if failed:
        return REFUSED
    if not may:
        return OPEN
    left = any(one.how is UndoMethod.LEFT for plan in plans for one in plan.undone)
    return CANNOT if left else DONE


def _with_remembered(asked: _SetupRequest, configs: list[Config]) -> list[Config]:
    """Also the files that setup once changed and that are found in no usual place."""
    from pipeguard.clients.catalog import clients
    from pipeguard.clients.entries import read_config
    from pipeguard.clients.history import records
    from pipeguard.clients.machine import ConfigFile, specs_of

    if asked.file:
        return configs
    wanted = {client.id for client in asked.clients} or set(clients())
    known = {config.path for config in configs}
    for record in records():
        if record.client in wanted and record.client in clients() and record.file not in known:
            known.add(record.file)
            if record.file.exists():
                found = ConfigFile(record.file, specs_of(clients()[record.client], record.file))
                configs.append(read_config(found))
    return configs


def _show_snippets(asked: _SetupRequest) -> int:
    from pipeguard.cli import _setup_told as told
    from pipeguard.clients.launcher import launcher
    from pipeguard.clients.snippets import snippet
    from pipeguard.identity.server_name import server_name

    url = asked.snippet if asked.snippet.startswith(("http://", "https://", "ws")) else ""
    try:
        own = [] if url else shlex.split(asked.snippet)
    except ValueError as error:
        raise PipeGuardError(f"--snippet is no command line: {error}.") from None
    name = (asked.names or (server_name(own) if own else "remote",))[0]
    words = launcher(asked.launcher, asked.machine().environment)
    for client in asked.clients:
        told.snippet(client, snippet(client, name, words, command=own, url=url))
    return DONE
