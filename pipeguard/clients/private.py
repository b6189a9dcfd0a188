"""A user's own guarded copy of a project's server, in a file that git does not track.

In some clients a user's own entry overrides the project's of the same name. So a file that
everybody shares can stay as it is. Writes nothing: it says what a person can run.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from pipeguard.clients.catalog import Client
from pipeguard.clients.entries import ServerEntry
from pipeguard.clients.guarding import HEADER_PREFIX
from pipeguard.clients.masking import is_secret
from pipeguard.clients.rewrite import guarded_fields
from pipeguard.config.tree import Value
from pipeguard.launch.environment import REFERENCE

_NAME_CHARS = 48  # of each half of a secret's name, which has a hundred


@dataclass(frozen=True, slots=True)
class OwnCopy:
    """Instructions for making the copy.

    Attributes:
        secrets: names of secrets to store first, so that they are not in the command line.
        command: the client's own command that adds the entry; empty where there is none.
        file: the file to copy the entry into; empty where there is a command.
    """

    secrets: tuple[str, ...] = ()
    command: str = ""
    file: str = ""


def own_copy(
    server: ServerEntry,
    client: Client,
    launcher: Sequence[str],
    *,
    isolate: bool = False,
    name: str = "",
) -> OwnCopy | None:
    """Explain how a user adds a guarded entry; None if the client has no way for that.

    Args:
        server: the project's entry, which is open.
        client: the client.
        launcher: the words that start PipeGuard.
        isolate: whether to isolate its server.
        name: for PipeGuard; empty for the entry's own.
    """
    if "{entry}" not in client.private:
        return OwnCopy(file=client.private) if client.private else None
    fields = dict(guarded_fields(server, launcher, isolate=isolate, name=name).fields)
    secrets = []
    env = fields.get(server.shape.env)
    if isinstance(env, dict):
        variables: dict[str, Value] = dict(env)
        for variable, value in env.items():
            scheme, text = _split_scheme(str(value))
            is_header = variable.startswith(HEADER_PREFIX)
            if re.search(server.shape.variable, text) or text.startswith(REFERENCE):
                continue
            if is_header or is_secret(variable, text):
                secrets.append(secret_name(server.name, variable.removeprefix("PIPEGUARD_")))
                variables[variable] = f"{scheme}{REFERENCE}{secrets[-1]}"
        fields[server.shape.env] = variables
    entry = json.dumps(fields, separators=(",", ":"), ensure_ascii=False)
    command = client.private.format(name=shlex.quote(server.name), entry=shlex.quote(entry))
    return OwnCopy(tuple(secrets), command)


def _split_scheme(value: str) -> tuple[str, str]:
    """The scheme of a header's value, with its space, and the rest of it."""
    scheme = re.match(r"(?:bearer|basic|token)\s+", value, re.IGNORECASE)
    return (scheme[0], value[scheme.end() :]) if scheme else ("", value)


def secret_name(server: str, name: str) -> str:
    """A name for a secret in the keyring, with the server's: two servers may have an API_KEY."""
    parts = (re.sub(r"[^A-Za-z0-9_-]+", "_", part).strip("_-") for part in (server, name))
    return ".".join(part[:_NAME_CHARS] for part in parts if part) or "TOKEN"
