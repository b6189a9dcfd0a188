"""Where the servers of a gateway come from: a file, a folder, the configuration of a client.

Reads all of them again when one has changed. Starts nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pipeguard.config.directories import config_folder
from pipeguard.errors import PolicyError, StateError
from pipeguard.gateway.client_servers import imported_files, imported_servers
from pipeguard.gateway.discovery import discovered_servers, watched_files
from pipeguard.gateway.own_files import read_own_text
from pipeguard.gateway.proposed_servers import approved_fingerprints, approved_servers
from pipeguard.gateway.server_settings import ServerSettings, Stamp, runs_gateway, stamp_of
from pipeguard.gateway.servers_file import ServersFile, parse_servers
from pipeguard.state.paths import existing_store

FILE_NAME = "pipeguard.yaml"


@dataclass(frozen=True, slots=True)
class Sources:
    """Where to look for servers.

    Attributes:
        file: a file with `servers:` or `mcpServers:`; empty for none.
        folder: a folder with a server in each file or folder; empty for none.
        imports: ids of clients, or files of theirs.
    """

    file: str = ""
    folder: str = ""
    imports: tuple[str, ...] = ()

    def read(self, variables: Mapping[str, str]) -> ServersFile:
        """All servers, in the order of their sources.

        Args:
            variables: what `${env:NAME}` stands for.

        Raises:
            PolicyError: naming file, line, column and key of what is wrong.
            InputError: there is no such file, folder or client.
        """
        read = ServersFile()
        if self.file:
            read = parse_servers(read_own_text(self.file), self.file, variables)
        servers = {server.name: server for server in read.servers}
        if self.folder:
            for server in discovered_servers(Path(self.folder), variables):
                if server.name in servers:
                    raise PolicyError(
                        f"{self.folder}: {self.file} has a server {server.name}, too; rename one."
                    )
                servers[server.name] = server
        notes: list[str] = []
        for name in self.imports:
            imported = imported_servers(name, variables)
            notes += imported.notes
            for server in imported.servers:
                servers.setdefault(server.name, server)  # what was said of it here goes first
        if read.management.add:
            approved = approved_servers(existing_store())
            notes += approved.notes
            for server in approved.servers:
                if servers.setdefault(server.name, server) is not server:
                    notes.append(f"the proposed server {server.name} is left out: you have one")
        others = (
            replace(
                server,
                start=server.start or read.start,
                idle_seconds=server.idle_seconds or read.idle_seconds,
            )
            for server in servers.values()
            if not runs_gateway(server.command)
        )
        return replace(read, servers=tuple(others), notes=tuple(notes))

    def stamp(self, servers: Iterable[ServerSettings] = ()) -> Stamp:
        """What changes when a file does, or a program, or a person decides about a proposal.

        Args:
            servers: whose programs are looked at, too.
        """
        try:
            approved = approved_fingerprints(existing_store())
        except StateError:  # who reads all of it next is told
            approved = ()
        programs = (path for server in servers for path in server.files)
        return (
            *stamp_of((*self._files(), *programs)),
            *((each, 0, 0, 0) for each in approved),
        )

    def _files(self) -> Iterator[str]:
        if self.file:
            yield self.file
        if self.folder:
            yield from watched_files(Path(self.folder))
        for name in self.imports:
            yield from imported_files(name)


def usual_file() -> str:
    """The usual place of the file, which need not exist."""
    return str(Path(config_folder()) / FILE_NAME)
