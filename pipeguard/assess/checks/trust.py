"""What is trusted, what waits for a person, and whether the record of it is whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeguard.assess.pins import pins_name
from pipeguard.assess.target import AssessmentTarget
from pipeguard.assess.values import PostureCheck, PostureFinding
from pipeguard.clients.entries import ServerEntry
from pipeguard.core.finding import Severity
from pipeguard.errors import StateError
from pipeguard.state.audit import AuditFilter, rows
from pipeguard.state.store import Store
from pipeguard.state.verification import verify

DRIFTED = PostureCheck(
    "definition-waits",
    "A tool changed, or came new, and waits for a person",
    Severity.MEDIUM,
    "Its model still reads the definition that was approved, or none. Somebody should know why the "
    "server says something else now: it is how a trusted tool is turned.",
    "Look at the change, then accept it or throw it away.",
    "pipeguard diff NAME",
)
UNSEEN = PostureCheck(
    "pins-missing",
    "A guarded server was never seen",
    Severity.LOW,
    "Nothing of it is pinned, so what it says first is what is trusted.",
    "Start its client once, and look at what was pinned.",
    "pipeguard diff NAME",
)
UNREVIEWED = PostureCheck(
    "pins-never-reviewed",
    "A server's definitions were trusted at first sight, and no person looked at them",
    Severity.INFO,
    "They came clean through the rules; nobody said that they are what was wanted.",
    "Look at them once. With `trust: review` in the policy, new definitions wait for you.",
    "pipeguard diff NAME",
)
BROKEN = PostureCheck(
    "audit-broken",
    "The audit is not as it was written",
    Severity.HIGH,
    "Rows were changed or removed, so what happened cannot be told any more.",
    "See what is missing, and who could write the file. Keep the heads in another place.",
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


def look(subject: AssessmentTarget) -> Iterator[PostureFinding]:
    """The store; nothing where there is none and no server is guarded."""
    if subject.is_repository:
        return
    guarded = [server for server in subject.servers if server.guard is not None]
    if subject.store is None:
        yield from map(_unseen, guarded)
        return
    try:
        with Store.open(subject.store) as store:
            yield from _pins(store, guarded)
        problems = verify(subject.store)
    except StateError as error:
        yield UNREADABLE.at(subject.store, " ".join(str(error).split()))
        return
    for problem in problems:
        chain = problem.chain or "the table of chains"
        mend = ("pipeguard", "audit", "verify")
        key = f"{problem.chain} {problem.seq}"
        yield BROKEN.at(subject.store, f"{chain}: {problem.what}.", key=key, mend=mend)


def _pins(store: Store, guarded: list[ServerEntry]) -> Iterator[PostureFinding]:
    known = store.servers()
    for name in known:
        held = [pin for pin in store.pins(name).values() if pin.held is not None]
        if held:
            told = ", ".join(f"{pin.kind} {pin.name}" for pin in held[:_MOST_NAMES])
            more = f" and {len(held) - _MOST_NAMES} more" if len(held) > _MOST_NAMES else ""
            mend = ("pipeguard", "diff", name)
            yield DRIFTED.at(_file(store), f"{name}: {told}{more}.", key=name, mend=mend)
        elif not any(
            True for _ in rows(store, AuditFilter(server=name, action="approve", limit=1))
        ):
            mend = ("pipeguard", "diff", name)
            yield UNREVIEWED.at(
                _file(store), f"{name}: no person approved it.", key=name, mend=mend
            )
    for server in guarded:
        if pins_name(store, server) not in known:
            yield _unseen(server)


def _unseen(server: ServerEntry) -> PostureFinding:
    message = "It is guarded, and has not been started under the guard yet."
    return UNSEEN.of_server(server, message)


def _file(store: Store) -> Path:
    return Path(store.path)
