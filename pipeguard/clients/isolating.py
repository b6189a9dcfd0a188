"""True if the server of an entry is isolated, or could be, by what the entry says."""

from __future__ import annotations

import re
import shlex

from pipeguard.clients.catalog import ConfigScope
from pipeguard.clients.entries import ServerEntry
from pipeguard.clients.guarding import GuardedCommand
from pipeguard.errors import PipeGuardError
from pipeguard.isolation.docker_words import is_of_containers, parse_run
from pipeguard.isolation.engines import AUTO, LEARN, NONE
from pipeguard.isolation.kept_homes import old_home_warning
from pipeguard.isolation.packages import find_package
from pipeguard.isolation.shipped import find_profile, package_key

# What helps whoever starts a server by hand, and is no option of `setup`.
_TO_START_IT = re.compile(r"(?:, or| To) run (?:it|the server) without isolation: --isolate none\.")
CANNOT_ISOLATE = "isolation"  # the code of a server that cannot be, and so is left as it is
HOW = AUTO  # what `setup` writes


def is_isolated(guard: GuardedCommand | None) -> bool:
    """True if a server's own entry isolates it."""
    return guard is not None and guard.isolate not in (None, NONE, LEARN)


def obstacle(server: ServerEntry) -> str:
    """Why a server that is started here would not start isolated; empty where nothing is known."""
    try:
        if is_of_containers(server.own_words):
            parse_run(server.own_words)
        else:
            find_package(server.own_words)
    except PipeGuardError as error:
        why = _TO_START_IT.sub("", str(error)).rstrip(".")
        return f"it cannot be isolated: {why}"
    return ""


def instead(server: ServerEntry) -> str:
    """Explain how to guard a server that cannot be isolated; empty if it is guarded."""
    if server.guard is not None:
        return ""
    words = ["pipeguard", "setup", server.client, f"--server={server.name}"]
    words += ["--scope", "project"] if server.scope is ConfigScope.PROJECT else []
    return f"; to guard it without isolation: {shlex.join(words)}"


def needs(server: ServerEntry, home_folder: str) -> str:
    """List what a person must still know or name of a known server; empty for none.

    Args:
        server: that is to be isolated.
        home_folder: of the user.
    """
    try:
        package = find_package(server.own_words)
    except PipeGuardError:
        return ""
    shipped = find_profile(package_key(package)) if package is not None else None
    if shipped is None:
        return ""
    return " ".join(
        filter(None, (shipped.needs, old_home_warning(shipped, server.env, home_folder)))
    )
