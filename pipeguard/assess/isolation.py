"""The reach of a server that enforcement leaves: its isolation and its grants."""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeguard.assess.extent_report import short_path
from pipeguard.assess.gateway_file import is_of_gateway
from pipeguard.assess.target import isolate_entries
from pipeguard.clients.entries import ServerEntry
from pipeguard.clients.guarding import ISOLATE, gateway_launcher, wrap_options
from pipeguard.clients.machine import Machine
from pipeguard.config.isolate_key import IsolateEntry, find_entries
from pipeguard.config.tree import Value
from pipeguard.errors import PipeGuardError
from pipeguard.identity.server_name import identify_server
from pipeguard.isolation import Isolation, ServerCommand

_GIVES = {"--read": "read", "--write": "write", "--connect": "hosts", "--loopback": "loopback"}
_REMOTE = ("//", "\\\\")  # how a path on another machine begins, which would learn of the look
_PATH = re.compile(r"(?:/|~/|\.{1,2}/)")
_Said = Mapping[str, Sequence[str]]  # what an entry or the policy gives, by the policy's names


class IsolationSource(Protocol):
    """The source of isolation settings: the assessed target, or this machine."""

    @property
    def machine(self) -> Machine:
        """The owner of the servers."""

    @property
    def root(self) -> Path | None:
        """The repository; None for a machine."""

    @property
    def is_repository(self) -> bool:
        """True if it is one."""

    @property
    def isolate_entries(self) -> tuple[IsolateEntry, ...]:
        """Isolation settings of the user's policy."""


@dataclass(frozen=True, slots=True)
class EntryIsolation:
    """The isolation of a server that is started here.

    Attributes:
        engine: as its entry, or else the policy, says; `none` where neither does.
        by_entry: the engine that its own entry says; empty where it says none.
        by_policy: the engine that the user's policy says; empty where it says none.
        given: where it is held, all that it may touch, in words.
    """

    engine: str
    by_entry: str
    by_policy: str
    given: tuple[str, ...]

    @property
    def is_held(self) -> bool:
        """True if anything is kept from it."""
        return self.engine not in (Isolation.NONE, Isolation.LEARN)


def entry_isolation(target: IsolationSource, server: ServerEntry) -> EntryIsolation | None:
    """Find how a server is isolated; None for one that is not started here, and for the gateway.

    Args:
        target: whose policy counts.
        server: its entry.
    """
    if not server.own_words or gateway_launcher(server.words):
        return None
    said = _said_by_gateway(server) if is_of_gateway(server) else _said_by_options(server)
    policy = _policy(target, server, said)
    by_entry = next(iter(said.get("engine", ())), "")
    by_policy = policy[0].engine if policy else ""
    engine = by_entry or by_policy or Isolation.NONE
    given = dict.fromkeys(
        _describe_grants(target, server, engine, [*map(_of_policy, policy), said])
    )
    return EntryIsolation(engine, by_entry, by_policy, tuple(given))


def _said_by_options(server: ServerEntry) -> _Said:
    said: dict[str, list[str]] = {}
    for option in wrap_options(server.words):
        if option.name == ISOLATE:
            said["engine"] = [option.value]
        elif option.name in ("--policy", "--tag"):
            said.setdefault(option.name[2:], []).append(option.value)
        elif option.name in _GIVES:
            said.setdefault(_GIVES[option.name], []).append(option.value)
    return said


def _said_by_gateway(server: ServerEntry) -> _Said:
    fields = server.fields.get("isolate")
    if not isinstance(fields, Mapping):
        return {}
    engine = {"engine": [str(fields.get("engine") or Isolation.AUTO)]}
    return engine | {name: _texts(fields.get(name)) for name in _GIVES.values()}


def _texts(value: Value) -> list[str]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return []
    return [str(item) for item in value]


def _of_policy(entry: IsolateEntry) -> _Said:
    return {name: getattr(entry, name) for name in _GIVES.values()}


def _policy(
    target: IsolationSource, server: ServerEntry, by_entry: _Said
) -> tuple[IsolateEntry, ...]:
    """The entries of the policy for a server that PipeGuard starts, by the name it has there."""
    if is_of_gateway(server):
        return find_entries(server.name, target.isolate_entries, _texts(server.fields.get("tags")))
    if server.guard is None:
        return ()
    name = server.guard.name or identify_server(server.own_words, _folder(target, server)).name
    chosen = [] if target.is_repository else by_entry.get("policy", ())
    policy = [Path(_find_home(path, str(target.machine.home))) for path in chosen]
    entries = isolate_entries(policy[0]) if policy else target.isolate_entries
    return find_entries(name, entries, by_entry.get("tag", ()))


def _folder(target: IsolationSource, server: ServerEntry) -> str:
    """The folder that a server starts in, as far as it is said."""
    folder = (server.guard.folder if server.guard else None) or server.cwd
    home_folder = str(target.machine.home)
    return _find_home(folder, home_folder) if folder else str(target.root or home_folder)


def _find_home(path: str, home_folder: str) -> str:
    return home_folder + path[1:] if path == "~" or path.startswith("~/") else path


def _folders(target: IsolationSource, server: ServerEntry) -> tuple[str, ...]:
    """The folders among a server's arguments, which it is given.

    Those of a repository are read as words: what it names on this machine is not looked for.
    """
    words = [word for word in server.own_words[1:] if "\0" not in word and word[:2] not in _REMOTE]
    if target.is_repository:
        return tuple(word for word in words if word == "." or _PATH.match(word))
    command = ServerCommand((server.own_words[0], *words))
    return command.list_folders(_folder(target, server), str(target.machine.home))


def _describe_grants(
    target: IsolationSource, server: ServerEntry, engine: str, sources: Sequence[_Said]
) -> Iterator[str]:
    """Describe the grants of a server, folders first."""
    command, home_folder = ServerCommand(server.own_words), str(target.machine.home)
    if command.is_container:
        yield "its own container"
        return
    read = [_find_home(text, home_folder) for each in sources for text in each.get("read", ())]
    for path in _folders(target, server):
        if not any(Path(path).is_relative_to(each) for each in read):
            yield short_path(path, home_folder)
    for name, form in (("write", "{}"), ("read", "{}, to read"), ("hosts", "{}")):
        for each in sources:
            yield from (form.format(short_path(text, home_folder)) for text in each.get(name, ()))
    if engine not in (Isolation.NONE, Isolation.LEARN):
        yield from _shipped_hosts(command)
    for each in sources:
        yield from (f"port {port} here" for port in each.get("loopback", ()))


def _shipped_hosts(command: ServerCommand) -> tuple[str, ...]:
    """The hosts of a known server."""
    try:
        shipped = command.shipped_profile
    except PipeGuardError:
        return ()
    return tuple(shipped.hosts) if shipped is not None else ()


def holds_home(text: str, home_folder: str) -> bool:
    """True if a path is the home folder, by any spelling, or one that it is in."""
    home = Path(os.path.normpath(home_folder))
    if text == "~" or text.startswith("~/"):
        text = str(home) + text[1:]
    text = re.sub(r"\A\$(?:HOME\b|\{HOME\}|\{env:HOME\})", lambda _: str(home), text)
    path = Path(os.path.normpath(text))  # no link is followed: nothing that is named is looked for
    return path == home or path in home.parents
