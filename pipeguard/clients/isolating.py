"""Whether the server of an entry is isolated, or could be, by what the entry says."""

from __future__ import annotations

from pipeguard.clients.entries import ServerEntry
from pipeguard.clients.guarding import GuardedCommand
from pipeguard.errors import PipeGuardError
from pipeguard.isolation.docker_words import is_of_containers, run_of
from pipeguard.isolation.engines import AUTO, LEARN, NONE
from pipeguard.isolation.packages import package_of
from pipeguard.isolation.shipped import key_of, shipped_for

HOW = AUTO  # what `setup` writes


def is_isolated(guard: GuardedCommand | None) -> bool:
    """Whether a server's own entry isolates it."""
    return guard is not None and guard.isolate not in (None, NONE, LEARN)


def obstacle(server: ServerEntry) -> str:
    """Why a server that is started here would not start isolated; empty where nothing is known."""
    try:
        if is_of_containers(server.own_words):
            run_of(server.own_words)
        else:
            package_of(server.own_words)
    except PipeGuardError as error:
        instead = "" if server.guard else ", and without --isolate it can be guarded"
        return f"it cannot be isolated{instead}: {error}"
    return ""


def outlook(server: ServerEntry) -> str:
    """What isolation means for a server that has no obstacle, for people."""
    if is_of_containers(server.own_words):
        return "it will be isolated: its own container, closed by options that are added"
    package = package_of(server.own_words)
    shipped = shipped_for(key_of(package)) if package is not None else None
    program = "its own project" if package is None else "its package"
    hosts = shipped.hosts if shipped is not None else ()
    kept = ["a home that is kept"] if shipped is not None and shipped.keeps_home else []
    given = [f"{program} to read", "the folders among its arguments", *hosts, *kept]
    network = "no other host" if hosts else "no network"
    needs = f". {shipped.needs}" if shipped is not None and shipped.needs else ""
    return (
        f"it will be isolated: it is given {', '.join(given)}, and what its entry and policy name;"
        f" no other file and {network}{needs}"
    )
