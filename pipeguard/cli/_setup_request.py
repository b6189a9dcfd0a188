"""The command line of `setup`, read and checked. Not a command itself."""

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import click
from click.core import ParameterSource

from pipeguard.auth.store import has_login
from pipeguard.clients import history, isolating, readiness, rewrite
from pipeguard.clients.catalog import Client, ConfigScope, clients, clients_called
from pipeguard.clients.entries import Config, read_config
from pipeguard.clients.machine import ConfigFile, Machine, find, find_specs, is_present
from pipeguard.errors import InputError

# Options that say what may be guarded.
_OF_GUARDING = ("no_login", "shared", "isolate", "launcher")


@dataclass
class SetupRequest:
    """The user's request: the parameters of the command, and the clients that it names."""

    client_names: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    take_all: bool = False
    scope: str | None = None
    project: str | None = None
    file: str | None = None
    gateway: bool = False
    isolate: bool = False
    undo: bool = False
    check: bool = False
    dry_run: bool = False
    yes: bool = False
    as_json: bool = False
    no_login: bool = False
    shared: bool = False
    launcher: str | None = None

    def __post_init__(self) -> None:
        self.clients = self._read_clients()
        self._refuse_nonsense()

    def _read_clients(self) -> list[Client]:
        """Return the named clients; of several that share a name, those on this machine."""
        chosen: dict[str, Client] = {}
        options = {
            option for each in click.get_current_context().command.params for option in each.opts
        }
        for name in self.client_names:
            if f"--{name}" in options:
                raise click.UsageError(f"no client is called {name!r}. Did you mean `--{name}`?")
            called = clients_called(name)
            if len(called) > 1:
                called = [item for item in called if item.files] or called
                called = [item for item in called if is_present(self.machine(), item)] or called
            chosen |= {item.id: item for item in called}
        return list(chosen.values())

    def _refuse_nonsense(self) -> None:
        if self.undo:
            must_have_effect(*_OF_GUARDING, need="--undo only removes guards")
        if self.take_all and self.clients:
            raise click.UsageError("name clients or use --all, not both.")
        if self.file and len(self.clients) != 1:
            raise click.UsageError("--file needs the CLIENT whose file it is.")
        if self.check and (self.undo or self.yes):
            raise click.UsageError("--check changes nothing: leave out --undo and --yes.")
        if self.gateway and self.shared:
            raise click.UsageError("--gateway moves your own servers: no --shared.")
        if self.gateway:
            behind = "servers behind the gateway are isolated by `isolate` in your policy"
            must_have_effect("isolate", need=behind)
        if self.yes and not (self.clients or self.take_all):
            raise click.UsageError("--yes needs a CLIENT, or --all for every client.")

    @property
    def is_only_shown(self) -> bool:
        """True if the command changes nothing."""
        return self.check or self.dry_run or (self.as_json and not self.yes)

    @property
    def may_write(self) -> bool:
        """True if files may be changed, which needs a permanent launcher."""
        return not self.is_only_shown and (self.yes or sys.stdin.isatty())

    def guard_options(self) -> rewrite.GuardOptions:
        """The servers to guard, and the permissions beyond the default."""
        from pipeguard.cli.isolate import entries_now

        return rewrite.GuardOptions(
            names=self.names,
            scopes=self.scopes(),
            shared=self.shared,
            no_login=self.no_login,
            isolate=self.isolate,
            entries=entries_now() if self.isolate else None,
            is_logged_in=has_login,
        )

    def require_ready(self) -> None:
        """Refuse a setup that would not start.

        Raises:
            PolicyError: the policy is invalid.
            InputError: servers are to be isolated, and no engine that is tried can do that.
        """
        if not self.check:
            readiness.check_policy()
        if not self.isolate:
            return
        from pipeguard.isolation import find_engine_problem

        if problem := find_engine_problem(isolating.HOW).rstrip("."):
            raise InputError(
                f"--isolate: servers cannot be isolated here, and would not start: {problem}."
                " Nothing was changed. `pipeguard doctor isolation` says more. Or leave out"
                " --isolate."
            )

    def machine(self) -> Machine:
        """This machine; the current folder is the project, unless it is the user's folder."""
        return Machine.here(Path(self.project or Path.cwd()).absolute())

    def scopes(self) -> tuple[ConfigScope, ...]:
        """The chosen scopes."""
        is_wide = (self.check or self.shared) and not self.scope
        if self.scope == "all" or self.file or is_wide:
            return tuple(ConfigScope)
        return (
            (ConfigScope.PROJECT,)
            if self.scope == "project"
            else (ConfigScope.USER, ConfigScope.LOCAL)
        )

    def configs(self, machine: Machine) -> list[Config]:
        """Return the chosen files that have servers, or cannot be read."""
        if self.file:
            path = Path(self.file).absolute()
            files = [ConfigFile(path, find_specs(self.clients[0], path))]
        else:
            files = find(machine, self.clients or None)
        configs = (read_config(file) for file in files)
        return [config for config in configs if self._is_meant(config)]

    def changed_configs(self, machine: Machine) -> list[Config]:
        """Find the files in which `setup` may have to be undone.

        Without a scope these include files that it changed earlier, wherever they are. The scope of
        a file outside the clients' folders is unknown, so a scope leaves it out.
        """
        configs = self.configs(machine)
        if self.file or self.scope in ("user", "project"):
            return configs
        wanted = {client.id for client in self.clients} or set(clients())
        paths = {os.path.realpath(config.path) for config in configs}
        for record in history.records():
            path = os.path.realpath(record.file)
            if record.client in wanted and record.client in clients() and path not in paths:
                paths.add(path)
                if record.file.exists():
                    specs = find_specs(clients()[record.client], record.file)
                    configs.append(read_config(ConfigFile(record.file, specs)))
        return configs

    def again(self) -> str:
        """The options that repeat this choice, for a suggested command."""
        words = [] if self.clients else ["--all"]
        return shlex.join([*words, *self._chosen_options(), *self.flags()])

    def flags(self) -> list[str]:
        """The options that say how to guard, for a suggested command."""
        chosen = {"gateway": self.gateway, "no-login": self.no_login}
        chosen |= {"shared": self.shared, "isolate": self.isolate}
        flags = [f"--{name}" for name, is_chosen in chosen.items() if is_chosen]
        return [*flags, f"--launcher={self.launcher}"] if self.launcher else flags

    def undo_command(self) -> str:
        """The command that undoes exactly this change."""
        return shlex.join(["pipeguard", "setup", "--undo", *self._chosen_options()])

    def _chosen_options(self) -> list[str]:
        """The files and servers, as options of the command line."""
        words = [client.id for client in self.clients]
        words += [f"--server={name}" for name in self.names]
        words += ["--scope", self.scope] if self.scope else []
        words += [f"--project={self.project}"] if self.project else []
        words += [f"--file={self.file}"] if self.file else []
        return words

    def _is_meant(self, config: Config) -> bool:
        """True if a file is shown: it is in the chosen scope and has something."""
        if not (self.scope == "project" or (self.scope == "user" and self.undo)):
            return bool(config.servers or config.problem)
        listed = [server.scope for server in config.servers] or [
            spec.scope for spec in config.specs if config.problem
        ]
        return any(scope in self.scopes() for scope in listed)


# ---  modes -----------------------------------------------------------------------------
# Options that have no effect in the mode that was asked for are errors: they promise something.


def must_have_effect(*names: str, need: str) -> None:
    """Refuse options that were given but have no effect.

    Args:
        names: the parameters, as the current command gets them.
        need: the option that they need or that excludes them, in words.

    Raises:
        click.UsageError: one was given.
    """
    context = click.get_current_context()
    for parameter in context.command.params:
        name = parameter.name or ""
        if name in names and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = max(parameter.opts, key=len)
            raise click.UsageError(f"{option} would have no effect: {need}. Leave it out.")
