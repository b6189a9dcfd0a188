"""The name under which a server's pins are stored, and the pins."""

from __future__ import annotations

from contextlib import suppress

from pipeguard.assess.gateway_file import is_of_gateway
from pipeguard.assess.target import AssessmentTarget
from pipeguard.clients.entries import ServerEntry
from pipeguard.errors import PipeGuardError
from pipeguard.firewall.pins.fingerprint import Pin
from pipeguard.identity.server_name import Launched, launched, launched_at
from pipeguard.state.store import Store


def pins_name(store: Store | None, server: ServerEntry) -> str:
    """The name that `wrap` uses: that of `--name`, or one made from the command or address.

    Raises:
        StateError: the store cannot be read.
    """
    who = _launched(server)
    name = (server.guard.name if server.guard else None) or who.name
    if is_of_gateway(server):
        name = server.name
    return name if store is None else store.name_server(name, who, register=False).server


def name_in(target: AssessmentTarget, server: ServerEntry) -> str:
    """The same, looked up in the target's store, if there is one.

    Raises:
        StateError: the store cannot be read.
    """
    if target.store is None:
        return pins_name(None, server)
    with Store.open(target.store) as store:
        return pins_name(store, server)


def pins_of(target: AssessmentTarget, server: ServerEntry) -> dict[tuple[str, str], Pin]:
    """The pins of a server; none if there is no store.

    Raises:
        StateError: the store cannot be read.
    """
    if target.store is None:
        return {}
    with Store.open(target.store) as store:
        return store.pins(pins_name(store, server))


def _launched(server: ServerEntry) -> Launched:
    if server.own_url:
        from pipeguard.runtime.endpoints import name_of, url_of

        with suppress(PipeGuardError):  # an address with variables that only its client knows
            url = url_of(server.own_url)
            return launched_at(str(url), name_of(url))
        return launched_at(server.own_url, server.name)
    return launched(server.own_words, server.guard.folder if server.guard else None)
