"""Servers that agents propose: what an entry of theirs may say, and those that a person approved.

Reads entries as the file of servers is read, with the same errors. Starts nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from pipeguard.core.protocol.json_values import JsonObject, JsonValue, serialise
from pipeguard.errors import InputError, PolicyError
from pipeguard.gateway.server_settings import ServerSettings, runs_gateway
from pipeguard.gateway.servers_file import parse_server
from pipeguard.state.proposals import MOST_BYTES, Proposal, ProposalState, proposals
from pipeguard.state.store import Store

# Without `trust`, `tools`, `tags` and `prefix`, which say what agents get to see and how.
ENTRY_KEYS = ("command", "args", "env", "cwd", "url", "headers", "transport")
_SOURCE = "the proposed server"


class ApprovedServers(NamedTuple):
    """Servers that an agent proposed and a person approved.

    Attributes:
        servers: as they are started.
        notes: why others are left out.
    """

    servers: tuple[ServerSettings, ...] = ()
    notes: tuple[str, ...] = ()


def checked_entry(name: str, fields: Mapping[str, JsonValue]) -> str:
    """The entry of a proposed server as JSON.

    Args:
        name: of the server.
        fields: of the entry, as an agent gave them.

    Raises:
        PolicyError: naming all that is wrong, as for the file of servers.
        InputError: the entry is too large.
    """
    entry: JsonObject = {key: fields[key] for key in ENTRY_KEYS if key in fields}
    unknown = sorted(fields.keys() - set(ENTRY_KEYS))
    if unknown:
        allowed = ", ".join(ENTRY_KEYS)
        raise PolicyError(f"{_SOURCE} has an unknown key {unknown[0]!r}. Choose from {allowed}.")
    text = serialise(entry).decode()
    if len(text) > MOST_BYTES:  # before any of it is read
        raise InputError(f"a proposal has at most {MOST_BYTES} bytes.")
    for word in _texts(entry):
        if "${" in word or "keyring:" in word.lower():
            raise PolicyError(
                f"{_SOURCE} may use neither variables nor stored secrets (`${{…}}`, `keyring:`)."
                " Propose it without them; the user adds what it needs."
            )
    settings = _settings_of(name, text)
    if runs_gateway(settings.command):
        raise PolicyError(f"{_SOURCE} would start the gateway itself.")
    try:
        settings.launched()
    except PolicyError as error:
        why = str(error).removeprefix("--upstream: ")
        raise PolicyError(f"{_SOURCE}: `url`: {why}") from None
    return text


def approved_servers(path: Path | None) -> ApprovedServers:
    """The servers that a person approved.

    Args:
        path: the store; None where there is none.

    Raises:
        StateError: the store cannot be read.
    """
    servers: list[ServerSettings] = []
    notes: list[str] = []
    for proposal in _approved(path):
        try:
            servers.append(_settings_of(proposal.name, proposal.definition))
        except PolicyError as error:
            notes.append(f"the proposed server {proposal.name} is left out: {error}")
    return ApprovedServers(tuple(servers), tuple(notes))


def approved_fingerprints(path: Path | None) -> tuple[str, ...]:
    """What changes when a person approves or removes one.

    Raises:
        StateError: the store cannot be read.
    """
    return tuple(proposal.fingerprint for proposal in _approved(path))


def _approved(path: Path | None) -> list[Proposal]:
    if path is None:
        return []
    with Store.open(path) as store:
        return [each for each in proposals(store) if each.state is not ProposalState.WAITING]


def _settings_of(name: str, definition: str) -> ServerSettings:
    settings = parse_server(definition, _SOURCE, name, {})
    if settings is None:
        raise PolicyError(f"{_SOURCE} is switched off.")
    return settings


def _texts(value: JsonValue) -> Iterator[str]:
    """All strings in a value, keys included."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value
