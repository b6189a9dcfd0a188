"""Sources of a gateway's servers: a file, a folder, the configuration of a client.

Reads all of them again when one has changed. Starts nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yarl import URL

from pipeguard.clients.catalog import clients_called
from pipeguard.clients.entries import ServerEntry, read_config
from pipeguard.clients.guarding import split_guarded
from pipeguard.clients.machine import ConfigFile, Machine, find
from pipeguard.config.options import WrapOptions
from pipeguard.errors import InputError, PipeGuardError, PolicyError, StateError
from pipeguard.firewall.protocol.json_values import (
    JsonObject,
    as_list,
    as_object,
    read_object,
    serialise,
)
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.gateway.answers import dial
from pipeguard.gateway.catalog import Catalog
from pipeguard.gateway.discovery import (
    UNNAMEABLE,
    check_own,
    discovered_servers,
    read_own_text,
    watched_files,
)
from pipeguard.gateway.eras import Opening
from pipeguard.gateway.gateway import Gateway
from pipeguard.gateway.menu import CALL_OF, RETRIEVE, ToolMode
from pipeguard.gateway.proposed_servers import approved_fingerprints, approved_servers
from pipeguard.gateway.servers_file import (
    NAME,
    ServerSettings,
    ServersFile,
    parse_client_file,
    parse_servers,
    runs_gateway,
)
from pipeguard.gateway.tools import CatalogTool
from pipeguard.log import say
from pipeguard.rulebook.policy_rules import load_wrap_policy
from pipeguard.runtime.policy_watch import Stamp, stamp_file
from pipeguard.runtime.progress import say_if_slow, wait_for_engines
from pipeguard.runtime.transports import AUTO
from pipeguard.state.paths import existing_store
from pipeguard.transports.channel import AsyncChannel
from pipeguard.version import VERSION

if TYPE_CHECKING:
    from aiohttp import ClientSession

    from pipeguard.transports.http.client.upstream import Remote


@dataclass(frozen=True, slots=True)
class Sources:
    """Places to look for servers.

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
            variables: the values of `${env:NAME}`.

        Raises:
            PolicyError: with file, line, column and key of each error.
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
                servers.setdefault(server.name, server)  # settings given here have precedence
        if "add" in read.management:
            approved, left_out = approved_servers(existing_store())
            notes += left_out
            for server in approved:
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
        return read._replace(servers=tuple(others), notes=tuple(notes))

    def stamp(self) -> Stamp:
        """A fingerprint of the files, and of decisions about proposals."""
        try:
            approved = approved_fingerprints(existing_store())
        except StateError:  # the next full read reports it
            approved = ()
        files = map(stamp_file, self._files())
        return (*files, *approved)

    def _files(self) -> Iterator[str]:
        if self.file:
            yield self.file
        if self.folder:
            yield from watched_files(Path(self.folder))
        for name in self.imports:
            yield from [name] if _is_path(name) else (str(file.path) for file in _files(name))


# --- client servers ---------------------------------------------------------------------
# The servers of a client's configuration, as servers of the gateway.

# As clients write them, with a default as in a shell.
_VARIABLE = re.compile(
    r"\$\{(?P<env>env:)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}"
)


def imported_servers(source: str, variables: Mapping[str, str]) -> ServersFile:
    """The servers of a client, or of a file with `mcpServers`, with notes for the user.

    Args:
        source: a client's id, as `pipeguard setup` takes it, or a path.
        variables: the values of `${env:NAME}` and `${NAME}`.

    Raises:
        InputError: there is no such client or file, or it has none.
        PolicyError: the file cannot be read, or an entry of it is wrong.
    """
    if _is_path(source):
        parsed = parse_client_file(read_own_text(source), source, variables)
        return parsed._replace(servers=tuple(map(_without_guard, parsed.servers)))
    reader = _Reader(variables)
    files = _files(source)
    if not files:
        raise InputError(f"--import {source}: this client has no file with servers here.")
    for file in files:
        check_own(file.path)
        config = read_config(file)
        if config.problem:
            raise PolicyError(f"{file.path}: {config.problem}")
        for entry in config.servers:
            reader.add(entry)
    return ServersFile(tuple(reader.servers.values()), notes=tuple(reader.notes))


def _files(name: str) -> list[ConfigFile]:
    return find(Machine.here(), clients_called(name))


def _without_guard(server: ServerSettings) -> ServerSettings:
    guard = split_guarded(list(server.command))
    return replace(server, command=tuple(guard.command)) if guard and guard.command else server


def _is_path(source: str) -> bool:
    return source.endswith(".json") or os.sep in source


class _Reader:
    """The entries of one client as servers of ours, and notes for the user.

    Args:
        variables: the values of `${env:NAME}` and `${NAME}`.
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
        name = UNNAMEABLE.sub("-", entry.name).strip("-._")[:50]
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
            self.servers[name] = self._read_settings(name, entry)

    def _read_settings(self, name: str, entry: ServerEntry) -> ServerSettings:
        known = {**self._variables, **entry.env}

        def fill(text: str) -> str:
            return _VARIABLE.sub(value, text)

        def value(match: re.Match[str]) -> str:
            if match["name"] in known:
                return known[match["name"]]
            if match["default"] is not None:
                return str(match["default"])
            if match["env"] or match["name"].isupper():
                raise PolicyError(f"{_where(entry)}: the variable {match['name']} is not set.")
            return match[0]  # of the client's own, as ${workspaceFolder}

        env = {key: fill(text) for key, text in entry.env.items()}
        named = entry.env_names
        env |= {key: self._variables[key] for key in named if key in self._variables}
        if entry.own_words:
            command = tuple(fill(word) for word in entry.own_words)
            return ServerSettings(name, command, env=env, cwd=fill(entry.cwd))
        headers = {key: fill(text) for key, text in _headers(entry).items()}
        transport = entry.transport.value if entry.transport else AUTO
        url = fill(entry.own_url or "")
        return ServerSettings(name, url=url, headers=headers, transport=transport)


def _where(entry: ServerEntry) -> str:
    return f"{entry.file}: line {entry.line}: the server {entry.name}"


def _headers(entry: ServerEntry) -> dict[str, str]:
    """The headers of a remote server, including those that `wrap` takes from variables."""
    if entry.guard is None:
        return dict(entry.headers)
    headers = {name: f"${{env:{value}}}" for name, value in entry.guard.headers.items()}
    if entry.guard.bearer:
        headers["Authorization"] = f"Bearer ${{env:{entry.guard.bearer}}}"
    return headers


# --- inspection -------------------------------------------------------------------------
# The gateway for a person at a terminal: its servers are started, asked, and ended; or one that
# runs is asked.

STARTING = "starting the servers"
# For which a person waits, who sees why: the first start of a package fetches it.
SETTLING_SECONDS = 60.0
MOST_BYTES = 64 * 2**20  # of a running gateway's list: a tool has some 1 KB


class Inspector:
    """A person's conversation with a gateway whose catalogue is known.

    Args:
        catalog: the tools.
        channel: a client's side of it.
        servers: the names of all.
        missing: why servers have no tools, or wait, by name.

    Attributes:
        start_all: starts the servers that are not running; True if there were some.
    """

    def __init__(
        self,
        catalog: Catalog,
        channel: AsyncChannel,
        servers: Sequence[str],
        missing: Mapping[str, str],
    ) -> None:
        self.catalog, self.servers, self.missing = catalog, servers, missing
        self.start_all: Callable[[], Awaitable[bool]] = _start_none
        self._channel = channel
        self._count = 0

    async def call(self, tool: CatalogTool, arguments: JsonObject) -> JsonObject:
        """Call a tool, directly or through the gateway's menu; return its `result` or `error`."""
        opening = Opening({}, {"name": "pipeguard", "version": VERSION})
        await self._request("initialize", opening.params())
        await self._write({"method": "notifications/initialized"})
        listed = as_list(read_object(await self._request("tools/list", {}), "result").get("tools"))
        params: JsonObject = {"name": tool.public, "arguments": arguments}
        if any(as_object(each).get("name") == RETRIEVE for each in listed):
            params = {"name": CALL_OF[tool.effect], "arguments": params}
        return await self._request("tools/call", params)

    async def _request(self, method: str, params: JsonObject) -> JsonObject:
        self._count += 1
        await self._write({"id": self._count, "method": method, "params": params})
        while (frame := await self._channel.read()) is not None:
            message: JsonObject = json.loads(frame)
            if message.get("id") == self._count and "method" not in message:
                return message
        return {"error": {"message": "the gateway ended"}}

    async def _write(self, message: dict[str, object]) -> None:
        await self._channel.write(json.dumps({"jsonrpc": "2.0", **message}).encode())


async def _start_none() -> bool:
    return False


@asynccontextmanager
async def ask_gateway(url: str, token: str) -> AsyncIterator[Inspector]:
    """Talk to a gateway that listens at an address; start nothing.

    Args:
        url: of the gateway: any path below it.
        token: a bearer token, or empty: the rest of the gateway is invisible to it.

    Raises:
        PipeGuardError: it does not answer, or refuses.
    """
    from pipeguard.transports.http.client.streamable import StreamableChannel
    from pipeguard.transports.http.client.upstream import Remote, connect

    try:
        address = URL(url)
    except ValueError:
        address = URL()
    if address.scheme not in ("http", "https") or not address.host:
        raise PipeGuardError(f"{url} is not an address: try http://127.0.0.1:8080.")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    remote = Remote(address.with_path("/mcp").with_query(None), headers)
    async with connect(remote) as http:
        try:
            value: Any = parse_json(await _fetch_tools(remote, http))
            tools = [CatalogTool.from_json(*each) for each in enumerate(value["tools"])]
            servers, missing = list(map(str, value["servers"])), dict(value["missing"])
        except (ValueError, KeyError, TypeError) as error:
            raise PipeGuardError(f"{url} does not list tools: {error}") from None
        channel = StreamableChannel(remote, http)
        try:
            yield Inspector(Catalog.of_tools(tools), channel, servers, missing)
        finally:
            await channel.close()


async def _fetch_tools(remote: Remote, http: ClientSession) -> bytes:
    """The list of a gateway's tools.

    Raises:
        PipeGuardError: it does not answer, or refuses.
    """
    from aiohttp import ClientError

    from pipeguard.transports.http.client import upstream
    from pipeguard.transports.http.client.bodies import Unreadable, read_body

    url = remote.url.with_path("/tools")
    try:
        async with asyncio.timeout(SETTLING_SECONDS):
            answer = await upstream.RemoteEndpoint(remote, http, url).send("GET", {})
            if answer.status == HTTPStatus.OK:
                return await read_body(answer, MOST_BYTES)
            why = upstream.describe_status(answer.status)
    except (TimeoutError, Unreadable) as error:
        why = str(error) or "it does not answer"
    except (ClientError, OSError) as error:
        why = upstream.describe_unreachable(error)
    raise PipeGuardError(f"{url}: {why}")


@asynccontextmanager
async def inspect_tools(
    sources: Sources, only: Callable[[str], bool] = lambda _: True
) -> AsyncIterator[Inspector]:
    """Start the servers for a while, and talk to them.

    Args:
        sources: of the servers.
        only: True for the name of a server that is needed; if none is, all are started.

    Raises:
        PipeGuardError: a file is wrong, or rules, policy or store do not load.
    """
    load_wrap_policy(WrapOptions())  # errors in it are reported once, not for each server
    file = sources.read(os.environ)
    for note in file.notes:
        say(note)
    engines = wait_for_engines()
    gateway = Gateway(engines, ToolMode.DIRECT, {"--log-level": "error"})
    needed = [server for server in file.servers if only(server.name)]
    await gateway.apply(needed or file.servers)
    channel = await dial(gateway)
    inspector = Inspector(gateway.catalog, channel, [each.name for each in file.servers], {})

    async def settle() -> None:
        with say_if_slow(STARTING):
            await gateway.settle(SETTLING_SECONDS)
        inspector.missing = gateway.describe_missing()

    async def start_all() -> bool:
        if len(gateway.members) == len(file.servers):
            return False
        await gateway.apply(file.servers)
        await settle()
        return True

    inspector.start_all = start_all
    try:
        await settle()
        yield inspector
    finally:
        await channel.close()
        await gateway.close()


def as_json(value: JsonObject) -> str:
    """A JSON text for programs, with unprintable characters escaped."""
    text = serialise(value).decode()
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)
