"""Under which name a server's pins are kept, and what they are."""

from __future__ import annotations

from contextlib import suppress

from pipeguard.assess.target import AssessmentTarget
from pipeguard.clients.entries import ServerEntry
from pipeguard.core.pins.fingerprint import Pin
from pipeguard.errors import PipeGuardError
from pipeguard.identity.server_name import Launched, launched, launched_at
from pipeguard.state.store import Store


def pins_name(store: Store | None, server: ServerEntry) -> str:
    """The name under which `wrap` keeps it: that of `--name`, or of its command or address.

    Raises:
        StateError: the store cannot be read.
    """
    who = _launched(server)
    asked = (server.guard.name if server.guard else None) or who.name
    return asked if store is None else store.name_server(asked, who, register=False).server


def name_in(subject: AssessmentTarget, server: ServerEntry) -> str:
    """The same, looked up in the store that there is.

    Raises:
        StateError: the store cannot be read.
    """
    if subject.store is None:
        return pins_name(None, server)
    with Store.open(subject.store) as store:
        return pins_name(store, server)


def pins_of(subject: AssessmentTarget, server: ServerEntry) -> dict[tuple[str, str], Pin]:
    """What is kept of a server; nothing where there is no store.

    Raises:
        StateError: the store cannot be read.
    """
    if subject.store is None:
        return {}
    with Store.open(subject.store) as store:
        return store.pins(pins_name(store, server))


def _launched(server: ServerEntry) -> Launched:
    if server.own_url:
        from pipeguard.runtime.endpoints import name_of, url_of

        with suppress(PipeGuardError):  # an address that only its client can complete
            url = url_of(server.own_url)
            return launched_at(str(url), name_of(url))
        return launched_at(server.own_url, server.name)
    return launched(server.own_words, server.guard.folder if server.guard else None)
