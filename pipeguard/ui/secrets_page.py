"""Stored secrets: their names and what uses each of them. No value is read, and none is here."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from pipeguard.assess.checks.secrets import SecretUse, find_uses
from pipeguard.assess.target import read_configs
from pipeguard.auth.place import Place
from pipeguard.auth.secrets import set_command, stored_secrets
from pipeguard.clients.machine import Machine
from pipeguard.state.timestamps import utc_text
from pipeguard.ui.page import draw

PATH = "/secrets"
_PLACES = {
    Place.KEYRING: "the system's keyring",
    Place.FILE: "a file of mode 0600, not encrypted",
}


class SecretRow(NamedTuple):
    """A secret as the page shows it.

    Attributes:
        name: its name.
        place: where its value is, in words.
        stored: when it was stored (ISO 8601, UTC).
        uses: the entries that refer to it.
    """

    name: str
    place: str
    stored: str
    uses: list[SecretUse]


def add_routes(app: web.Application) -> None:
    """Add the address of this page."""
    app.router.add_get(PATH, _secrets)


async def _secrets(request: web.Request) -> web.StreamResponse:
    rows, missing, unread = await asyncio.to_thread(_find)
    set_it = await asyncio.to_thread(set_command, "GITHUB_TOKEN")
    values = {"secrets": rows, "missing": missing, "unread": unread, "set_command": set_it}
    return await draw(request, "stored_secrets.html", "Secrets", **values)


def _find() -> tuple[list[SecretRow], dict[str, list[SecretUse]], list[str]]:
    """The stored secrets, those that an entry names and that are not stored, and unread files."""
    here = Path.cwd()
    configs = read_configs(Machine.here(None if here == Path.home() else here))
    uses = find_uses(configs)
    rows = [
        SecretRow(
            secret.name,
            _PLACES[secret.place],
            utc_text(datetime.fromtimestamp(secret.kept_at, UTC), "seconds"),
            uses.pop(secret.name, []),
        )
        for secret in stored_secrets()
    ]
    unread = [each for each in configs if each.is_unread or (each.problem and not each.text)]
    return rows, uses, [str(each.path) for each in unread]
