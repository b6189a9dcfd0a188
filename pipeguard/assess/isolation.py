"""The isolation of a server, and its grants."""

import datetime
import os.path
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pipeguard.assess.gateway_file import is_of_gateway
from pipeguard.clients.entries import ServerEntry, list_values
from pipeguard.clients.guarding import ISOLATE, gateway_launcher, wrap_options
from pipeguard.clients.isolating import HOW
from pipeguard.clients.machine import Machine
from pipeguard.config.isolate_key import IsolateEntries, IsolateEntry, find_entries
from pipeguard.config.options import WrapOptions, read
from pipeguard.config.policy_edit import read_policy
from pipeguard.errors import PipeGuardError, PolicyError
from pipeguard.identity.server_name import identify_server
from pipeguard.isolation import Isolation, ServerCommand, ServerPreview, preview_server, short_path
from pipeguard.state.paths import existing_store
from pipeguard.state.store import open_store

_GIVES = {"--read": "read", "--write": "write", "--connect": "hosts", "--loopback": "loopback"}
_REMOTE = ("//", "\\\\")  # how a path on another machine begins, which would learn of the look
_PATH = re.compile(r"(?:/|~/|\.{1,2}/)")
_Said = Mapping[str, Sequence[str]]  # what an entry or the policy says, by the options of `wrap`


class IsolationSource(NamedTuple):
    """The settings that say how servers are isolated: of the assessed target, or this machine.

    Attributes:
        machine: the owner of the servers.
        entries: isolation settings of the user's policy.
        root: the repository; None for a machine.
    """

    machine: Machine
    entries: IsolateEntries
    root: Path | None = None


class EntryIsolation(NamedTuple):
    """The isolation of a server that is started here.

    Attributes:
        engine: from its entry, or else the policy; `none` if neither names one.
        by_entry: the engine that its own entry names, or empty.
        by_policy: the engine that the user's policy names, or empty.
        given: everything that an isolated server may touch, in words.
    """

    engine: str
    by_entry: str
    by_policy: str
    given: tuple[str, ...]

    @property
    def is_held(self) -> bool:
        """True if isolation restricts it."""
        return self.engine not in (Isolation.NONE, Isolation.LEARN)


def entry_isolation(source: IsolationSource, server: ServerEntry) -> EntryIsolation | None:
    """Find how a server is isolated; None if it is not started here, or is the gateway.

    Args:
        source: the policy that applies.
        server: its entry.
    """
    if not server.own_words or gateway_launcher(server.words):
        return None
    said = _find_said(server)
    policy = _policy(source, server, said)
    by_entry = said.get(ISOLATE, ("",))[-1]
    by_policy = policy[0].engine if policy else ""
    engine = by_entry or by_policy or Isolation.NONE
    given = dict.fromkeys(
        _describe_grants(source, server, engine, [*map(_of_policy, policy), said])
    )
    return EntryIsolation(engine, by_entry, by_policy, tuple(given))


def _find_said(server: ServerEntry) -> _Said:
    """Find what an entry says about isolation: in its command, or in the gateway's file."""
    said: dict[str, list[str]] = {}
    if not is_of_gateway(server):
        for option in wrap_options(server.words):
            said.setdefault(option.name, []).append(option.value)
    elif isinstance(fields := server.fields.get("isolate"), Mapping):
        said = {option: list_values(fields.get(name)) for option, name in _GIVES.items()}
        said[ISOLATE] = [str(fields.get("engine") or Isolation.AUTO)]
    return said


def _of_policy(entry: IsolateEntry) -> _Said:
    return {option: getattr(entry, name) for option, name in _GIVES.items()}


def _policy(source: IsolationSource, server: ServerEntry, by_entry: _Said) -> IsolateEntries:
    """Return the policy's entries for a server that PipeGuard starts, by its name there."""
    if is_of_gateway(server):
        return find_entries(server.name, source.entries, list_values(server.fields.get("tags")))
    if not server.guard:
        return ()
    name = server.guard.name or identify_server(server.own_words, _folder(source, server)).name
    chosen = by_entry.get("--policy", ()) if source.root is None else ()
    policy = [Path(_find_home(path, str(source.machine.home))) for path in chosen]
    entries = isolate_entries(policy[0]) if policy else source.entries
    return find_entries(name, entries, by_entry.get("--tag", ()))


def _folder(source: IsolationSource, server: ServerEntry) -> str:
    """Return the folder that a server starts in, as far as it is known."""
    folder = (server.guard.folder if server.guard else None) or server.cwd
    home_folder = str(source.machine.home)
    return _find_home(folder, home_folder) if folder else str(source.root or home_folder)


def _find_home(path: str, home_folder: str) -> str:
    return home_folder + path[1:] if path == "~" or path.startswith("~/") else path


def _folders(source: IsolationSource, server: ServerEntry) -> tuple[str, ...]:
    """List the folders among a server's arguments, to which it gets access.

    For a repository only the words count: the folders are not looked up on this machine.
    """
    words = [word for word in server.own_words[1:] if "\0" not in word and word[:2] not in _REMOTE]
    if source.root:
        return tuple(word for word in words if word == "." or _PATH.match(word))
    command = ServerCommand((server.own_words[0], *words))
    return command.list_folders(_folder(source, server), str(source.machine.home))


def _describe_grants(
    source: IsolationSource, server: ServerEntry, engine: str, sources: Sequence[_Said]
) -> Iterator[str]:
    """Describe the grants of a server, folders first."""
    command = ServerCommand(server.own_words)
    home_folder = str(source.machine.home)
    if command.is_container:
        yield "its own container"
        return
    read = [_find_home(text, home_folder) for each in sources for text in each.get("--read", ())]
    for path in _folders(source, server):
        if not any(Path(path).is_relative_to(each) for each in read):
            yield short_path(path, home_folder)
    for name, form in (("--write", "{}"), ("--read", "{}, to read"), ("--connect", "{}")):
        for each in sources:
            yield from (form.format(short_path(text, home_folder)) for text in each.get(name, ()))
    if engine not in (Isolation.NONE, Isolation.LEARN):
        with suppress(PipeGuardError):
            if shipped := command.shipped_profile:
                yield from shipped.hosts
    for each in sources:
        yield from (f"port {port} here" for port in each.get("--loopback", ()))


def isolate_entries(policy: Path | None) -> IsolateEntries:
    """Read the isolation settings of a user's policy file; empty if it is invalid."""
    if policy is None:
        return ()
    today = datetime.date.today()  # noqa: DTZ011  the user's own calendar
    with suppress(PolicyError):  # a check reports it
        return read_policy(str(policy), today)[1].isolate
    return ()


# --- extent -----------------------------------------------------------------------------
# All that the server of an entry would be given if it were started isolated here, now.


def entry_extent(server: ServerEntry, isolation: EntryIsolation, machine: Machine) -> ServerPreview:
    """The extent of a server of this machine.

    Args:
        server: its entry.
        isolation: how it is isolated.
        machine: whose entry it is.
    """
    if not isolation.is_held:
        return ServerPreview()
    options = _options(server)
    if options is None:
        return ServerPreview(problem="its options cannot be read: run its command to see why.")
    return _preview(server, options, isolation.engine, machine)


def extent_if_isolated(server: ServerEntry, machine: Machine) -> ServerPreview:
    """The extent that a server of this machine will have once `setup` has isolated it.

    Args:
        server: its entry, guarded or not.
        machine: the machine of the entry.
    """
    guarded = _options(server) if server.guard else None
    names = (*server.env, *server.env_names)  # which `setup` passes as `--env`
    options = guarded or WrapOptions(server.words, {}, {"--env": names}, ())
    return _preview(server, options, HOW, machine)


def _preview(
    server: ServerEntry, options: WrapOptions, requested: str, machine: Machine
) -> ServerPreview:
    folder = (server.guard.folder if server.guard else None) or server.cwd or str(machine.home)
    folder = os.path.expanduser(folder)
    name = server.name if is_of_gateway(server) else _stored_name(server, folder)
    return preview_server(options, name, requested, server.env, folder)


def _stored_name(server: ServerEntry, folder: str) -> str:
    """Return the name under which audit, pins and policy store it."""
    guard = server.guard
    who = identify_server(server.own_words, (guard.folder if guard else None) or folder)
    wanted = guard.name or "" if guard else server.name  # which `setup` writes
    path = existing_store()
    with suppress(PipeGuardError):
        if path:
            with open_store(path) as store:
                return store.name_server(wanted, who, register=False)
    return wanted or who.name


def _options(server: ServerEntry) -> WrapOptions | None:
    """The options that start it; None if only the full parser could read them."""
    guard = server.guard
    if guard:
        return read(server.words[len(guard.launcher) + 1 :])
    said = server.fields.get("isolate")
    fields = said if isinstance(said, Mapping) else {}
    lists = {**_find_said(server)}
    limits = fields.get("limits")
    items = limits.items() if isinstance(limits, Mapping) else ()
    lists["--limit"] = [f"{name}={value}" for name, value in items]
    lists["--tag"] = list_values(server.fields.get("tags"))
    flags = ["--keep-home"] if str(fields.get("keep_home")).lower() == "true" else []
    return WrapOptions(server.own_words, {}, lists, flags)
