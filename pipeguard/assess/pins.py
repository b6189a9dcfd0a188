"""Under which name a server's pins are kept, and what they are."""

from __future__ import annotations

from contextlib import suppress

from pipeguard.assess.subject import Subject
from pipeguard.clients.entries import Server
from pipeguard.core.fingerprint import Pin
from pipeguard.errors import PipeGuardError
from pipeguard.naming import server_name
from pipeguard.state.store import Store


def pins_name(server: Server) -> str:
    """The name that `wrap` gives it: that of `--name`, else one made of its command or address."""
    words = server.args[: server.args.index("--")] if "--" in server.args else server.args
    for index, word in enumerate(words if server.guard is not None else ()):
        if word == "--name" and index + 1 < len(words):
            return words[index + 1]
        if word.startswith("--name="):
            return word.removeprefix("--name=")
    if server.own_url:
        from pipeguard.address import name_of, url_of

        with suppress(PipeGuardError):  # an address that only its client can complete
            return name_of(url_of(server.own_url))
        return server.name
    return server_name(server.own_words)


def pins_of(subject: Subject, server: Server) -> dict[tuple[str, str], Pin]:
    """What is kept of a server; nothing where there is no store.

    Raises:
        StateError: the store cannot be read.
    """
    if subject.store is None:
        return {}
    with Store.open(subject.store) as store:
        return store.pins(pins_name(server))
