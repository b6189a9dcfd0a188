"""Where the servers of a gateway come from: a file, a folder, the configuration of a client.

Reads all of them again when one has changed. Starts nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeguard.config.directories import closing_command, config_folder, other_writer
from pipeguard.errors import InputError, PolicyError
from pipeguard.gateway.client_servers import imported_files, imported_servers
from pipeguard.gateway.discovery import discovered_servers, watched_files
from pipeguard.gateway.server_settings import ServerSettings
from pipeguard.gateway.servers_file import ServersFile, parse_servers

FILE_NAME = "pipeguard.yaml"
MOST_BYTES = 1024 * 1024

Stamp = tuple[tuple[str, int, int, int], ...]


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
            read = parse_servers(read_servers_file(self.file), self.file, variables)
        servers = {server.name: server for server in read.servers}
        if self.folder:
            for server in discovered_servers(Path(self.folder), variables):
                if server.name in servers:
                    raise PolicyError(
                        f"{self.folder}: {self.file} has a server {server.name}, too; rename one."
                    )
                servers[server.name] = server
        for name in self.imports:
            for server in imported_servers(name, variables):
                servers.setdefault(server.name, server)  # what was said of it here goes first
        return ServersFile(tuple(servers.values()), read.mode)

    def stamp(self) -> Stamp:
        """What changes when one of the files does."""
        return tuple(_stamps(self._files()))

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


def read_servers_file(path: str) -> str:
    """The text of a file that names commands to run.

    Raises:
        InputError: there is no such file, or it is no text.
        PolicyError: others could have written it.
    """
    try:
        with Path(path).open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}.") from None
    if who := other_writer(status):
        raise PolicyError(
            f"{who} may write to {path}, which says what to start.\n"
            f"  Close it:  {closing_command(path, status)}"
        )
    if len(content) > MOST_BYTES:
        raise PolicyError(f"{path}: it is larger than {MOST_BYTES} bytes.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise PolicyError(f"{path}: it is not in UTF-8.") from None


def _stamps(files: Iterable[str]) -> Iterator[tuple[str, int, int, int]]:
    for path in files:
        try:
            status = Path(path).stat()
        except OSError:
            yield path, 0, 0, 0
        else:
            yield path, status.st_mtime_ns, status.st_size, status.st_ino


def names_of(servers: Iterable[ServerSettings]) -> str:
    """The names of servers, for people."""
    return ", ".join(server.name for server in servers) or "none"
