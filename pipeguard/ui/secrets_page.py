"""Stored secrets: their names and the entries that use them. Reads and holds no value."""

import asyncio

from aiohttp import web

from pipeguard.assess.checks.secrets import find_uses
from pipeguard.assess.target import read_configs
from pipeguard.auth.secrets import set_command, stored_secrets
from pipeguard.clients.machine import Machine
from pipeguard.state.timestamps import second_text
from pipeguard.ui.page import Request, Response, draw

PATH = "/secrets"


async def _secrets(request: Request) -> Response:
    return await draw(request, "stored_secrets.html", "Secrets", **await asyncio.to_thread(_find))


def _find() -> dict[str, object]:
    """Find the secrets with their times and uses, others that entries name, and unread files."""
    configs = read_configs(Machine.in_current_folder())
    uses = find_uses(configs)
    rows = [
        (secret, second_text(secret.kept_at), uses.pop(secret.name, []))
        for secret in stored_secrets()
    ]
    unread = [each for each in configs if each.is_unread or (each.problem and not each.text)]
    return {
        "secrets": rows,
        "missing": uses,
        "unread": [str(each.path) for each in unread],
        "set_command": set_command("GITHUB_TOKEN"),
    }


ROUTES = (web.get(PATH, _secrets),)
