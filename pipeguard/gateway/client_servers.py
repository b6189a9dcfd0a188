"""The servers of a client's configuration, as servers of the gateway.

A server that is guarded there by `wrap` is taken without the guard, which the gateway has itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeguard.clients.catalog import client
from pipeguard.clients.entries import ServerEntry, read_config
from pipeguard.clients.machine import ConfigFile, Machine, find
from pipeguard.config.directories import other_writer
from pipeguard.errors import InputError, PolicyError
from pipeguard.gateway.server_settings import ServerSettings, runs_gateway
from pipeguard.gateway.servers_file import NAME, parse_servers
from pipeguard.runtime.transports import AUTO

_VARIABLE = re.compile(r"\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)\}")
_UNNAMED = re.compile(r"[^A-Za-z0-9._-]+")


def imported_servers(source: str, variables: Mapping[str, str]) -> list[ServerSettings]:
    """The servers of a client, or of a file with `mcpServers`.

    Args:
        source: a client's id, as `pipeguard setup --list` shows it, or a path.
        variables: what `${env:NAME}` and `${NAME}` stand for.

    Raises:
        InputError: there is no such client or file, or it has none.
        PolicyError: the file cannot be read.
    """
    if _is_path(source):
        return list(parse_servers(_text(source), source, variables).servers)
    servers: dict[str, ServerSettings] = {}
    files = _files(source)
    if not files:
        raise InputError(
            f"--import {source}: this client has no file with servers on this machine."
        )
    for file in files:
        config = read_config(file)
        if config.problem:
            raise PolicyError(f"{file.path}: {config.problem}")
        for entry in config.servers:
            server = _settings_of(entry, variables)
            if server is not None:
                servers.setdefault(server.name, server)
    return list(servers.values())


def imported_files(source: str) -> Iterator[str]:
    """The files that an import reads."""
    if _is_path(source):
        yield source
        return
    yield from (str(file.path) for file in _files(source))


def _files(name: str) -> list[ConfigFile]:
    return find(Machine.here(None), [client(name)])


def _is_path(source: str) -> bool:
    return source.endswith(".json") or os.sep in source


def _settings_of(entry: ServerEntry, variables: Mapping[str, str]) -> ServerSettings | None:
    """An entry as a server of ours; None where it is switched off, or is the gateway itself."""
    words, url = entry.own_words, entry.own_url
    if entry.off or runs_gateway(words):
        return None

    if not words and not url:
        raise PolicyError(
            f"{entry.file}: line {entry.line}: the server {entry.name} has no `command` and no"
            " `url`."
        )
    known = {**variables, **entry.env}

    def filled(text: str) -> str:
        return _VARIABLE.sub(lambda match: known.get(match[1], match[0]), text)

    name = _UNNAMED.sub("-", entry.name).strip("-.")[:50]
    if not NAME.match(name):
        return None
    env = {key: filled(value) for key, value in entry.env.items()}
    env |= {key: variables[key] for key in entry.env_names if key in variables}
    if words:
        command = tuple(filled(word) for word in words)
        return ServerSettings(name, command, env=env, cwd=filled(entry.cwd))
    headers = {key: filled(value) for key, value in _headers(entry).items()}
    transport = entry.transport.value if entry.transport else AUTO
    return ServerSettings(name, url=filled(url or ""), headers=headers, transport=transport)


def _headers(entry: ServerEntry) -> dict[str, str]:
    """The headers of a remote server, also where `wrap` takes them from variables."""
    if entry.guard is None:
        return dict(entry.headers)
    headers = {name: f"${{env:{value}}}" for name, value in entry.guard.headers.items()}
    if entry.guard.bearer:
        headers["Authorization"] = f"Bearer ${{env:{entry.guard.bearer}}}"
    return headers


def _text(path: str) -> str:
    try:
        if who := other_writer(Path(path).stat()):
            raise PolicyError(f"{who} may write to {path}, which says what to start.")
        return Path(path).read_text("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise PolicyError(f"{path}: it is not in UTF-8.") from None
