"""Where the servers of a gateway come from: a file, a folder, the configuration of a client.

Reads all of them again when one has changed. Starts nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from pipeguard.clients.catalog import client
from pipeguard.clients.entries import ServerEntry, read_config
from pipeguard.clients.guarding import guarded
from pipeguard.clients.machine import ConfigFile, Machine, find
from pipeguard.config.directories import config_folder
from pipeguard.errors import InputError, PolicyError, StateError
from pipeguard.gateway.discovery import discovered_servers, watched_files
from pipeguard.gateway.own_files import check_own, read_own_text
from pipeguard.gateway.proposed_servers import approved_fingerprints, approved_servers
from pipeguard.gateway.server_settings import ServerSettings, Stamp, runs_gateway, stamp_of
from pipeguard.gateway.servers_file import NAME, ServersFile, parse_client_file, parse_servers
from pipeguard.runtime.transports import AUTO
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


# --- client servers ---------------------------------------------------------------------
# The servers of a client's configuration, as servers of the gateway.

# As clients write them, with a default as in a shell.
_VARIABLE = re.compile(
    r"\$\{(?P<env>env:)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}"
)
_UNNAMED = re.compile(r"[^A-Za-z0-9._-]+")


class Imported(NamedTuple):
    """The servers of a client.

    Attributes:
        servers: those that are switched on.
        notes: what became of entries whose names are none for the gateway, for the user.
    """

    servers: tuple[ServerSettings, ...]
    notes: tuple[str, ...] = ()


def imported_servers(source: str, variables: Mapping[str, str]) -> Imported:
    """The servers of a client, or of a file with `mcpServers`.

    Args:
        source: a client's id, as `pipeguard setup` takes it, or a path.
        variables: what `${env:NAME}` and `${NAME}` stand for.

    Raises:
        InputError: there is no such client or file, or it has none.
        PolicyError: the file cannot be read, or an entry of it is wrong.
    """
    if _is_path(source):
        parsed = parse_client_file(read_own_text(source), source, variables)
        return Imported(tuple(map(_without_guard, parsed.servers)))
    reader = _Reader(variables)
    files = _files(source)
    if not files:
        raise InputError(
            f"--import {source}: this client has no file with servers on this machine."
        )
    for file in files:
        check_own(file.path)
        config = read_config(file)
        if config.problem:
            raise PolicyError(f"{file.path}: {config.problem}")
        for entry in config.servers:
            reader.add(entry)
    return Imported(tuple(reader.servers.values()), tuple(reader.notes))


def imported_files(source: str) -> Iterator[str]:
    """The files that an import reads."""
    if _is_path(source):
        yield source
        return
    yield from (str(file.path) for file in _files(source))


def _files(name: str) -> list[ConfigFile]:
    return find(Machine.here(None), [client(name)])


def _without_guard(server: ServerSettings) -> ServerSettings:
    guard = guarded(list(server.command))
    return replace(server, command=tuple(guard.command)) if guard and guard.command else server


def _is_path(source: str) -> bool:
    return source.endswith(".json") or os.sep in source


class _Reader:
    """The entries of one client as servers of ours, and notes for the user.

    Args:
        variables: what `${env:NAME}` and `${NAME}` stand for.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._entries: dict[str, str] = {}  # the name of the entry, by that of the server
        self.servers: dict[str, ServerSettings] = {}
        self.notes: list[str] = []

    def add(self, entry: ServerEntry) -> None:
        """Add an entry, unless it is switched off, or is the gateway itself.

        Raises:
            PolicyError: it starts nothing, or uses a variable that is not set.
        """
        words, url = entry.own_words, entry.own_url
        if entry.off or runs_gateway(words):
            return
        if not words and not url:
            raise PolicyError(f"{_where(entry)} has no `command` and no `url`.")
        name = _UNNAMED.sub("-", entry.name).strip("-._")[:50]
        if not NAME.match(name):
            self.notes.append(f"{_where(entry)} is left out: give it a name with a letter or digit")
            return
        earlier = self._entries.setdefault(name, entry.name)
        if earlier != entry.name:
            why = f"{earlier!r} is called {name}, too"
            self.notes.append(f"{_where(entry)} is left out: {why}; rename one")
        elif name not in self.servers:
            if name != entry.name:
                self.notes.append(f"{_where(entry)} is called {name} here")
            self.servers[name] = self._settings_of(name, entry)

    def _settings_of(self, name: str, entry: ServerEntry) -> ServerSettings:
        known = {**self._variables, **entry.env}

        def filled(text: str) -> str:
            return _VARIABLE.sub(value, text)

        def value(match: re.Match[str]) -> str:
            if match["name"] in known:
                return known[match["name"]]
            if match["default"] is not None:
                return str(match["default"])
            if match["env"] or match["name"].isupper():
                raise PolicyError(f"{_where(entry)}: the variable {match['name']} is not set.")
            return match[0]  # of the client's own, as ${workspaceFolder}

        env = {key: filled(text) for key, text in entry.env.items()}
        named = entry.env_names
        env |= {key: self._variables[key] for key in named if key in self._variables}
        if entry.own_words:
            command = tuple(filled(word) for word in entry.own_words)
            return ServerSettings(name, command, env=env, cwd=filled(entry.cwd))
        headers = {key: filled(text) for key, text in _headers(entry).items()}
        transport = entry.transport.value if entry.transport else AUTO
        url = filled(entry.own_url or "")
        return ServerSettings(name, url=url, headers=headers, transport=transport)


def _where(entry: ServerEntry) -> str:
    return f"{entry.file}: line {entry.line}: the server {entry.name}"


def _headers(entry: ServerEntry) -> dict[str, str]:
    """The headers of a remote server, also where `wrap` takes them from variables."""
    if entry.guard is None:
        return dict(entry.headers)
    headers = {name: f"${{env:{value}}}" for name, value in entry.guard.headers.items()}
    if entry.guard.bearer:
        headers["Authorization"] = f"Bearer ${{env:{entry.guard.bearer}}}"
    return headers
