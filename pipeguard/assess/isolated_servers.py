"""The servers of this machine's clients, with how each is isolated."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pipeguard.assess.gateway_file import GATEWAY, gateway_configs, is_of_gateway, reads_file
from pipeguard.assess.isolation import (
    EntryIsolation,
    IsolationSource,
    entry_extent,
    entry_isolation,
)
from pipeguard.clients.entries import Config, GuardState, ServerEntry, read_config
from pipeguard.clients.machine import Machine, find
from pipeguard.clients.rewrite import GuardOptions, judge
from pipeguard.config.isolate_key import IsolateEntry
from pipeguard.errors import LaunchError, PipeGuardError
from pipeguard.gateway.discovery import read_own_text
from pipeguard.gateway.servers_file import parse_servers
from pipeguard.identity.server_name import identify_server
from pipeguard.isolation import ServerCommand, ServerPreview
from pipeguard.runtime.start import running_guards

_STARTED_BARE = (GuardState.OPEN, GuardState.CANNOT)  # by its entry, without PipeGuard
START_FIELD = 19  # of /proc/PID/stat, behind the name: the time after boot (proc(5))


class ServerHere(NamedTuple):
    """A server that a client's entry starts here, or the gateway.

    Attributes:
        isolation: how it is isolated.
        touches: the access that it would get if it were started now.
    """

    server: ServerEntry
    isolation: EntryIsolation
    touches: ServerPreview

    @property
    def is_bare(self) -> bool:
        """True if a client starts it without PipeGuard."""
        return self.server.guard is None and not is_of_gateway(self.server)

    @property
    def name(self) -> str:
        """The value of its guard's `--name`, as in the audit; or else the name of its entry."""
        guard = self.server.guard
        return guard.name if guard is not None and guard.name else self.server.name

    @property
    def names(self) -> frozenset[str]:
        """Names of a server: by its entry, by an option, and by default."""
        guard = self.server.guard
        own = identify_server(self.server.own_words, guard.folder if guard else None).name
        return frozenset({self.server.name, self.name, own})

    @property
    def package(self) -> str:
        """The package that it fetches, as `REGISTRY:NAME`; empty if PipeGuard cannot tell."""
        with suppress(LaunchError):
            return ServerCommand(self.server.own_words).package
        return ""

    def fields(self) -> dict[str, object]:
        """The values for programs."""
        held = self.isolation
        return {
            "server": self.server.name,
            "name": self.name,
            "client": self.server.client,
            "file": str(self.server.file),
            "guarded": not self.is_bare,
            "engine": held.engine,
            "isolated": held.is_held,
            "given": list(held.given) if held.is_held else [],
            "variables": sorted({*self.server.env, *self.server.env_names}),
            **self.touches.fields(),
        }


def servers_here(entries: tuple[IsolateEntry, ...]) -> tuple[ServerHere, ...]:
    """List the servers that are started here, in the order of their files, even without PipeGuard.

    Args:
        entries: the isolation entries of the user's policy.
    """
    machine = Machine.in_current_folder()
    source = IsolationSource(machine, entries)
    configs = read_configs(machine)
    found = []
    for server in (server for config in configs for server in config.servers):
        isolation = entry_isolation(source, server)
        is_through = server.guard is not None or is_of_gateway(server)
        if isolation is not None and (
            is_through or judge(server, GuardOptions()).state in _STARTED_BARE
        ):
            extent = entry_extent(server, isolation, machine)
            found.append(ServerHere(server, isolation, extent))
    return tuple(found)


class RunningProcesses:
    """The guards that run now with the same state folder; Linux only."""

    def __init__(self) -> None:
        self._guards = list(running_guards())

    def find_start(self, server: ServerEntry) -> float | None:
        """Return the start time of the oldest process of an entry, as a Unix time, if one runs."""
        words = () if server.guard is None else server.words[len(server.guard.launcher) :]
        started = []
        for guard in self._guards:
            process = Path("/proc", guard.process)
            serves = guard.verb == "serve" and reads_file(guard.words, process / "cwd", server)
            if serves or (words and guard.words[-len(words) :] == tuple(words)):
                with suppress(OSError):  # it has ended
                    stat = (process / "stat").read_text("utf-8", "replace")
                    started.append(int(stat.rpartition(")")[2].split()[START_FIELD]))
        if not started:
            return None
        boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        return boot + min(started) / os.sysconf("SC_CLK_TCK")


def unread_files() -> list[str]:
    """Explain why servers in some files are unknown, one sentence with the file for each.

    For the gateway's own file, the text is the one that `pipeguard serve` would print.
    """
    found = [
        f"{config.path}: {config.problem}"
        for config in read_configs(Machine.in_current_folder())
        if config.is_unread and config.specs[0].client != GATEWAY
    ]
    for config in gateway_configs():
        try:
            parse_servers(read_own_text(str(config.path)), str(config.path), os.environ)
        except PipeGuardError as error:
            found.append(str(error))
    return found


def read_configs(machine: Machine) -> list[Config]:
    """The clients' files, and the gateway's."""
    return [*(read_config(file) for file in find(machine)), *gateway_configs()]
