"""All that the server of an entry would be given if it were started isolated here, now."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress

from pipeguard.assess.gateway_file import is_of_gateway
from pipeguard.assess.isolation import EntryIsolation
from pipeguard.clients.entries import ServerEntry
from pipeguard.clients.isolating import HOW
from pipeguard.clients.machine import Machine
from pipeguard.config.options import WrapOptions, read
from pipeguard.errors import PipeGuardError
from pipeguard.identity.server_name import identify_server
from pipeguard.isolation import ServerPreview, preview_server
from pipeguard.state.paths import existing_store
from pipeguard.state.store import Store

_GIVES = {"--read": "read", "--write": "write", "--connect": "hosts", "--loopback": "loopback"}


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
        machine: whose entry it is.
    """
    guarded = _options(server) if server.guard is not None else None
    return _preview(server, guarded or WrapOptions(server.words, {}, {}, ()), HOW, machine)


def _preview(
    server: ServerEntry, options: WrapOptions, requested: str, machine: Machine
) -> ServerPreview:
    folder = (server.guard.folder if server.guard else None) or server.cwd or str(machine.home)
    folder = os.path.expanduser(folder)
    name = server.name if is_of_gateway(server) else _stored_name(server, folder)
    return preview_server(options, name, requested, server.env, folder)


def _stored_name(server: ServerEntry, folder: str) -> str:
    """The name under which audit, pins and policy know it."""
    guard = server.guard
    who = identify_server(server.own_words, (guard.folder if guard else None) or folder)
    wanted = guard.name or "" if guard else server.name  # which `setup` writes
    path = existing_store()
    with suppress(PipeGuardError):
        if path is not None:
            with Store.open(path) as store:
                return store.name_server(wanted, who, register=False)
    return wanted or who.name


def _options(server: ServerEntry) -> WrapOptions | None:
    """The options that start it; None where only the full parser could read them."""
    guard = server.guard
    if guard is not None:
        return read(server.words[len(guard.launcher) + 1 :])
    said = server.fields.get("isolate")
    fields = said if isinstance(said, Mapping) else {}
    lists = {option: _texts(fields.get(name)) for option, name in _GIVES.items()}
    limits = fields.get("limits")
    items = limits.items() if isinstance(limits, Mapping) else ()
    lists["--limit"] = [f"{name}={value}" for name, value in items]
    lists["--tag"] = _texts(server.fields.get("tags"))
    flags = ["--keep-home"] if str(fields.get("keep_home")).lower() == "true" else []
    return WrapOptions(server.own_words, {}, lists, flags)


def _texts(value: object) -> list[str]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return []
    return [str(each) for each in value]
