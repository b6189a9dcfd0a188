"""Trusted and pending definitions, and the state of the audit."""

from pathlib import Path

from pipeguard.assess.gateway_file import pins_name
from pipeguard.assess.target import AssessmentTarget
from pipeguard.assess.values import Findings, PostureFinding, read_checks
from pipeguard.clients.entries import ServerEntry
from pipeguard.errors import StateError
from pipeguard.state.pins import Store
from pipeguard.state.store import open_store
from pipeguard.state.verification import verify
from pipeguard.unicode.display import pluralize

DRIFTED, UNSEEN, UNREVIEWED, BROKEN, UNREADABLE = CHECKS = read_checks("trust")
_MOST_NAMES = 3
_SHOWED_NOTHING = "It was started, and showed no definitions."
_NOT_STARTED = "It is guarded, but has not been started under the guard yet, or does not start."


def look(target: AssessmentTarget) -> Findings:
    """Check the store, if there is one or a server is guarded."""
    if target.is_repository:
        return
    guarded = [server for server in target.servers if server.guard]
    if not target.store:
        yield from (_unseen(target, server, _NOT_STARTED) for server in guarded)
        return
    try:
        with open_store(target.store) as store:
            yield from _pins(target, store, guarded)
        problems = verify(target.store)
    except StateError as error:
        yield UNREADABLE.at(target.store, " ".join(str(error).split()))
        return
    if problems:  # the command lists them all: somebody may have changed every row
        first = problems[0]
        more = len(problems) - 1
        message = f"{first.chain or 'the table of chains'}: {first.what}"
        message += f", and {pluralize(more, 'more problem')}" if more else ""
        fix = ("pipeguard", "audit", "verify")
        key = f"{first.chain} {first.seq}"
        yield BROKEN.at(target.store, f"{message}.", key=key, fix=fix)


def _pins(target: AssessmentTarget, store: Store, guarded: list[ServerEntry]) -> Findings:
    seen = store.servers()
    present = {pins_name(store, server) for server in target.all_servers}
    for name in seen:
        waiting = [pin for pin in store.pins(name).values() if pin.waits]
        if waiting:
            fix: tuple[str, ...] = ("pipeguard", "diff", name)
            listed = ", ".join(f"{pin.kind} {pin.name}" for pin in waiting[:_MOST_NAMES])
            more = f" and {len(waiting) - _MOST_NAMES} more" if len(waiting) > _MOST_NAMES else ""
            yield DRIFTED.at(Path(store.path), f"{name}: {listed}{more}.", key=name, fix=fix)
        elif not any(pin.is_reviewed for pin in store.pins(name).values()):
            is_gone = name not in present
            fix = ("pipeguard", "forget" if is_gone else "approve", name, "--all")
            message = f"{name}: no person approved it{', and no entry starts it now' * is_gone}."
            yield UNREVIEWED.at(Path(store.path), message, key=name, fix=fix)
    started = store.named_servers()
    for server in guarded:
        name = pins_name(store, server)
        if name not in seen:
            yield _unseen(target, server, _SHOWED_NOTHING if name in started else _NOT_STARTED)


def _unseen(target: AssessmentTarget, server: ServerEntry, message: str) -> PostureFinding:
    """Report a server without pins; if it was not connected to now, say why."""
    is_asked = target.find_definitions(server) is not None or message == _NOT_STARTED
    fix = () if is_asked else ("pipeguard", "assess", "--connect")
    return UNSEEN.at(server, message, fix=fix)
