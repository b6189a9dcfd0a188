"""Servers whose last answer asked for a login, as the audit tells. Connects to none."""

from collections.abc import Iterator
from typing import NamedTuple

from pipeguard.auth.server import login_command
from pipeguard.installation import installed_extras
from pipeguard.state.activity import WANTS_TOKEN, find_login_requests
from pipeguard.state.exceptions import AuditedEvent, to_event
from pipeguard.state.pins import Store


class NeededLogin(NamedTuple):
    """A server that asked for a login, and has answered nothing since.

    Attributes:
        event: the first such answer.
        command: logs in; empty for a gateway of PipeGuard, which wants a token.
        lacks_extra: True if the command needs an extra that is not installed.
    """

    event: AuditedEvent
    command: str
    lacks_extra: bool


def find_logins(store: Store) -> Iterator[NeededLogin]:
    """Find the servers that ask for a login.

    Raises:
        StateError: the store cannot be read.
    """
    for row in find_login_requests(store):
        event = to_event(row)
        note = event.findings[0].get("note", "")
        # Its beginning, because the server chose the scopes at its end.
        url = note.partition(" ")[0] if "://" in note.partition(" ")[0] else "URL"
        wants_token = note.startswith(f"{url} is a PipeGuard gateway, which {WANTS_TOKEN}")
        command = "" if wants_token else login_command(url)
        yield NeededLogin(event, command, bool(command) and "oauth" not in installed_extras())
