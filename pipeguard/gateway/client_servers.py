"""The servers of a client's configuration, as servers of the gateway.

A server that is guarded there by `wrap` is taken without the guard, which the gateway has itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from pipeguard.clients.catalog import client
from pipeguard.clients.entries import ServerEntry, read_config
from pipeguard.clients.guarding import guarded
from pipeguard.clients.machine import ConfigFile, Machine, find
from pipeguard.errors import InputError, PolicyError
from pipeguard.gateway.own_files import check_own, read_own_text
from pipeguard.gateway.server_settings import ServerSettings, runs_gateway
from pipeguard.gateway.servers_file import NAME, parse_client_file
from pipeguard.runtime.transports import AUTO

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
