"""The servers of this machine's clients, with how each is isolated."""

import os
import sys
import time
from collections.abc import Iterable
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
from pipeguard.clients.guarding import split_guarded
from pipeguard.clients.machine import Machine, find
from pipeguard.clients.rewrite import GuardOptions, judge
from pipeguard.config.isolate_key import IsolateEntries
from pipeguard.errors import LaunchError, PipeGuardError
from pipeguard.gateway.discovery import read_own_text
from pipeguard.gateway.servers_file import parse_servers
from pipeguard.identity.server_name import identify_server
from pipeguard.isolation import ServerCommand, ServerPreview
from pipeguard.runtime.start import RunningGuard, running_guards
from pipeguard.state.activity import list_runs
from pipeguard.state.pins import Store
from pipeguard.state.timestamps import to_utc_text

_STARTED_BARE = (GuardState.OPEN, GuardState.CANNOT)  # by its entry, without PipeGuard
CLOCK_SECONDS = 1.0  # by which a process's start, counted since boot, may seem later
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
        return guard.name if guard and guard.name else self.server.name

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


def servers_here(entries: IsolateEntries) -> tuple[ServerHere, ...]:
    """List the servers that are started here, in the order of their files, even without PipeGuard.

    Args:
        entries: the isolation entries of the user's policy.
    """
    machine = Machine.in_current_folder()
    source = IsolationSource(machine, entries)
    configs = read_configs()
    found = []
    for server in (server for config in configs for server in config.servers):
        isolation = entry_isolation(source, server)
        is_through = server.guard is not None or is_of_gateway(server)
        if isolation and (is_through or judge(server, GuardOptions()).state in _STARTED_BARE):
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
            folder = Path("/proc", guard.process, "cwd")
            serves = guard.verb == "serve" and reads_file(guard.words, folder, server)
            if serves or (words and guard.words[-len(words) :] == tuple(words)):
                started += _find_start(guard)
        return min(started, default=None)

    def find_living(
        self, store: Store, guards: Iterable[tuple[float, str]] | None = None
    ) -> dict[str, str]:
        """The runs that may still live, each with its server.

        Args:
            store: the store.
            guards: when each process began, in seconds since the epoch, and the name of its server;
                without a name it guards any number, and has the last run of each. None for those
                that run; on a system that does not tell, for one that always ran.

        Raises:
            StateError: the store cannot be read.
        """
        if guards is None and sys.platform == "linux":
            guards = [
                (began, _name_server(each)) for each in self._guards for began in _find_start(each)
            ]
        elif guards is None:
            guards = [(0.0, "")]
        runs = list_runs(store)
        living: dict[str, str] = {}
        for began, name in guards:
            since = to_utc_text(max(0.0, began - CLOCK_SECONDS))
            newest = dict[str, str]()
            for _, server, chain in (run for run in runs if run[0] >= since):
                if not name:
                    newest.setdefault(server, chain)
                elif server == name or server.startswith(f"{name}-"):
                    newest = {server: chain}  # the first one after its start
            living |= {chain: server for server, chain in newest.items()}
        return living


def _find_start(guard: RunningGuard) -> list[float]:
    """The start time of a process; empty if it has ended."""
    try:
        stat = Path("/proc", guard.process, "stat").read_text("utf-8", "replace")
    except OSError:
        return []
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    ticks = int(stat.rpartition(")")[2].split()[START_FIELD])
    return [boot + ticks / os.sysconf("SC_CLK_TCK")]


def _name_server(guard: RunningGuard) -> str:
    """The name that a guard's server asks for; empty for a gateway, and for an address."""
    words = guard.words[guard.words.index("wrap") :] if "wrap" in guard.words else ()
    wrapped = split_guarded(("pipeguard", *words))
    if wrapped is None or guard.address:
        return ""
    return wrapped.name or (identify_server(wrapped.command).name if wrapped.command else "")


def unread_files() -> list[str]:
    """Explain why servers in some files are unknown, one sentence with the file for each.

    For the gateway's own file, the text is the one that `pipeguard serve` would print.
    """
    found = [
        f"{config.path}: {config.problem}"
        for config in read_configs()
        if config.is_unread and config.specs[0].client != GATEWAY
    ]
    for config in gateway_configs():
        try:
            parse_servers(read_own_text(str(config.path)), str(config.path), os.environ)
        except PipeGuardError as error:
            found.append(str(error))
    return found


def read_configs() -> list[Config]:
    """The clients' files here, and the gateway's."""
    files = find(Machine.in_current_folder())
    return [*map(read_config, files), *gateway_configs()]
