"""Decides from an entry if its server is isolated, or could be."""

import re
import shlex

from pipeguard.clients import catalog, guarding
from pipeguard.clients.entries import ServerEntry
from pipeguard.config.isolate_key import IsolateEntries
from pipeguard.errors import PipeGuardError
from pipeguard.isolation import Isolation, ServerCommand

# Advice for a person who starts a server by hand; not options of `setup`.
_TO_START_IT = re.compile(r"(?:, or| To) run (?:it|the server) without isolation: --isolate none\.")
_GAINS_RIGHTS = ("sudo", "doas", "pkexec", "run0", "su")
CANNOT_ISOLATE = "isolation"  # the code of a server that cannot be, and so is left as it is
HOW = Isolation.AUTO.value  # as `setup` writes it


def is_isolated(guard: guarding.GuardedCommand | None) -> bool:
    """True if a server's own entry isolates it."""
    return guard is not None and guard.isolate not in (None, Isolation.NONE, Isolation.LEARN)


def obstacle(server: ServerEntry, entries: IsolateEntries | None = None) -> str:
    """Explain why a server that is started here would not start isolated; empty if it would.

    Args:
        server: its entry.
        entries: the isolation entries of the user's policy; None to look at no file that is named.
    """
    program = next(iter(server.own_words), "").rpartition("/")[2]
    if program in _GAINS_RIGHTS:
        return (
            f"it cannot be isolated: {program} takes more rights, and no isolated program gets any"
        )
    command = ServerCommand(server.own_words)
    try:
        command.check()
        if entries is not None and command.is_container:
            command.check_hardened(entries, server.name)
    except PipeGuardError as error:
        why = _TO_START_IT.sub("", str(error)).rstrip(".")
        return f"it cannot be isolated: {why}"
    return ""


def instead(server: ServerEntry) -> str:
    """Explain how to guard a server that cannot be isolated; empty if it is guarded."""
    if server.guard:
        return ""
    words = ["pipeguard", "setup", server.client, f"--server={server.name}"]
    words += ["--scope", "project"] if server.scope is catalog.ConfigScope.PROJECT else []
    return f"; to guard it without isolation: {shlex.join(words)}"


def needs(server: ServerEntry, home_folder: str) -> str:
    """List what a person must still know or name for a known server; empty for nothing.

    Args:
        server: the server to isolate.
        home_folder: the user's home folder.
    """
    try:
        return ServerCommand(server.own_words).describe_needs(home_folder, server.env)
    except PipeGuardError:
        return ""
