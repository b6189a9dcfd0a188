"""The servers of this machine's clients, with how each is isolated. Not a command itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeguard.assess.gateway_file import gateway_configs, is_of_gateway
from pipeguard.assess.isolation import EntryIsolation, entry_isolation
from pipeguard.clients.entries import ServerEntry, read_config
from pipeguard.clients.machine import Machine, find
from pipeguard.config.isolate_key import IsolateEntry
from pipeguard.core.unicode.display import visible
from pipeguard.errors import LaunchError
from pipeguard.identity.server_name import launched
from pipeguard.isolation.packages import package_of
from pipeguard.isolation.shipped import key_of


@dataclass(frozen=True, slots=True)
class ServerHere:
    """A server that a client's entry starts through PipeGuard.

    Attributes:
        server: the entry.
        isolation: how it is isolated.
    """

    server: ServerEntry
    isolation: EntryIsolation

    @property
    def names(self) -> frozenset[str]:
        """What it is called: by its entry, by an option, and where nobody names it."""
        guard = self.server.guard
        own = launched(self.server.own_words, guard.folder if guard else None).name
        given = guard.name if guard is not None and guard.name else own
        return frozenset({self.server.name, given, own})

    @property
    def package(self) -> str:
        """The key of the package that it fetches (isolation.shipped); empty where it is none."""
        try:
            package = package_of(self.server.own_words)
        except LaunchError:
            return ""
        return key_of(package) if package is not None else ""

    @property
    def engine_words(self) -> str:
        """How it is isolated, in words."""
        held = self.isolation
        if not held.is_held:
            return "learned, nothing is kept from it" if held.engine == "learn" else "not isolated"
        return f"{held.engine}, by {'its entry' if held.by_entry else 'your policy'}"

    @property
    def given(self) -> str:
        """What it is given, in words."""
        if not self.isolation.is_held:
            return "all that you may do"
        return visible(", ".join(self.isolation.given)) or "nothing more"

    def fields(self) -> dict[str, object]:
        """For programs."""
        held = self.isolation
        return {
            "server": self.server.name,
            "client": self.server.client,
            "file": str(self.server.file),
            "engine": held.engine,
            "isolated": held.is_held,
            "given": list(held.given) if held.is_held else [],
        }

    def lines(self) -> Iterator[str]:
        """For people, of one server."""
        where = visible(short_path(str(self.server.file)))
        yield f"  {visible(self.server.name)} in {where}: {self.engine_words}"
        yield f"    is given {self.given}"


@dataclass(frozen=True, slots=True)
class _Here:
    """What says how servers of this machine are isolated (assess.isolation)."""

    machine: Machine
    isolate_entries: tuple[IsolateEntry, ...]
    root: Path | None = None
    is_repository: bool = False


def servers_here(entries: tuple[IsolateEntry, ...]) -> tuple[ServerHere, ...]:
    """The servers that are started through PipeGuard, in the order of their files.

    Args:
        entries: what the user's policy says about isolation.
    """
    folder = Path.cwd()
    machine = Machine.here(None if folder == Path.home() else folder)
    here = _Here(machine, entries)
    configs = [*(read_config(file) for file in find(machine)), *gateway_configs()]
    found = []
    for server in (server for config in configs for server in config.servers):
        isolation = entry_isolation(here, server)
        if isolation is not None and (server.guard is not None or is_of_gateway(server)):
            found.append(ServerHere(server, isolation))
    return tuple(found)


def short_path(path: str) -> str:
    """A path with `~` for the home folder, as all of them are shown."""
    home_folder = os.path.expanduser("~")  # noqa: PTH111  as it is written
    is_below = path == home_folder or path.startswith(f"{home_folder}/")
    return f"~{path[len(home_folder) :]}" if is_below else path
