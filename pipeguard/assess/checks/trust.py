"""Trusted and waiting definitions, and the state of the audit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeguard.assess.gateway_file import pins_name
from pipeguard.assess.target import AssessmentTarget
from pipeguard.assess.values import PostureCheck, PostureFinding
from pipeguard.clients.entries import ServerEntry
from pipeguard.errors import StateError
from pipeguard.firewall.finding import Severity
from pipeguard.state.store import Store
from pipeguard.state.verification import verify
from pipeguard.unicode.display import pluralize

DRIFTED = PostureCheck(
    "definition-waits",
    "A tool is new or changed, and waits for a person",
    Severity.MEDIUM,
    "The model still reads the approved definition, or none. Somebody should know why the server "
    "says something else now: this is how a trusted tool is turned against its user.",
    "Look at the change, then approve or reject it.",
    "pipeguard diff NAME",
)
UNSEEN = PostureCheck(
    "pins-missing",
    "A guarded server has shown no definitions yet",
    Severity.LOW,
    "It has no pins, so the first definitions that it shows are trusted. Either it was not started "
    "under the guard, or it did not start, could not be reached, or offers nothing.",
    "Start its client once, and look at what was pinned. If you did, `pipeguard assess --connect` "
    "says what is wrong.",
    "pipeguard assess --connect",
)
UNREVIEWED = PostureCheck(
    "pins-never-reviewed",
    "A server's definitions were trusted at first sight, and no person has looked at them",
    Severity.INFO,
    "The rules found nothing in them; nobody said that they are what was wanted.",
    "Look at them once and approve them, or forget a server that is gone. With `trust: review` in "
    "the policy, new definitions wait for you.",
    "pipeguard approve NAME --all",
)
BROKEN = PostureCheck(
    "audit-broken",
    "The audit was changed",
    Severity.HIGH,
    "Rows were changed or removed, so the audit no longer shows what happened.",
    "See what is missing, and who could write the file. Store the heads of the chains elsewhere.",
    "pipeguard audit verify",
)
UNREADABLE = PostureCheck(
    "store-unreadable",
    "Pins and audit cannot be read",
    Severity.HIGH,
    "Without its pins no guarded server starts.",
    "The message says what to do.",
    "pipeguard audit verify",
)
CHECKS = (DRIFTED, UNSEEN, UNREVIEWED, BROKEN, UNREADABLE)
_MOST_NAMES = 3
_SHOWED_NOTHING = "It was started, and showed no definitions."
_NOT_STARTED = "It is guarded, but has not been started under the guard yet, or does not start."


def look(target: AssessmentTarget) -> Iterator[PostureFinding]:
    """Check the store; nothing if there is none and no server is guarded."""
    if target.is_repository:
        return
    guarded = [server for server in target.servers if server.guard is not None]
    if target.store is None:
        yield from (_unseen(target, server, _NOT_STARTED) for server in guarded)
        return
    try:
        with Store.open(target.store) as store:
            yield from _pins(target, store, guarded)
        problems = verify(target.store)
    except StateError as error:
        yield UNREADABLE.at(target.store, " ".join(str(error).split()))
        return
    if problems:  # the command lists them all: somebody may have changed every row
        first, more = problems[0], len(problems) - 1
        message = f"{first.chain or 'the table of chains'}: {first.what}"
        message += f", and {pluralize(more, 'more problem')}" if more else ""
        fix, key = ("pipeguard", "audit", "verify"), f"{first.chain} {first.seq}"
        yield BROKEN.at(target.store, f"{message}.", key=key, fix=fix)


def _pins(
    target: AssessmentTarget, store: Store, guarded: list[ServerEntry]
) -> Iterator[PostureFinding]:
    seen = store.servers()
    present = {pins_name(store, server) for server in target.all_servers}
    for name in seen:
        waiting = [pin for pin in store.pins(name).values() if pin.waits]
        if waiting:
            fix: tuple[str, ...] = ("pipeguard", "diff", name)
            listed = ", ".join(f"{pin.kind} {pin.name}" for pin in waiting[:_MOST_NAMES])
            more = f" and {len(waiting) - _MOST_NAMES} more" if len(waiting) > _MOST_NAMES else ""
            yield DRIFTED.at(_file(store), f"{name}: {listed}{more}.", key=name, fix=fix)
        elif not any(pin.is_reviewed for pin in store.pins(name).values()):
            is_gone = name not in present
            fix = ("pipeguard", "forget" if is_gone else "approve", name, "--all")
            message = f"{name}: no person approved it{', and no entry starts it now' * is_gone}."
            yield UNREVIEWED.at(_file(store), message, key=name, fix=fix)
    started = store.named_servers()
    for server in guarded:
        name = pins_name(store, server)
        if name not in seen:
            yield _unseen(target, server, _SHOWED_NOTHING if name in started else _NOT_STARTED)


def _unseen(target: AssessmentTarget, server: ServerEntry, message: str) -> PostureFinding:
    """A server without pins; if it was not connected to now, that says why."""
    is_asked = target.find_definitions(server) is not None or message == _NOT_STARTED
    fix = () if is_asked else ("pipeguard", "assess", "--connect")
    return UNSEEN.of_server(server, message, fix=fix)


def _file(store: Store) -> Path:
    return Path(store.path)
