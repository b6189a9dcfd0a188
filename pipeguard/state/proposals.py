"""Servers that agents proposed for the gateway, and what a person decided about them.

A proposal is started by nobody. Knows the store; not what a server's entry means.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple

from pipeguard.errors import InputError
from pipeguard.state.audit import Audit, decision_entry
from pipeguard.state.database import translated_errors
from pipeguard.state.store import Store
from pipeguard.state.timestamps import now_text, utc_text

MOST_WAITING = 20  # of all agents: more than a person reads at once
MOST_BYTES = 8192  # of an entry; the longest real ones have some 600
MOST_REASON_CHARS = 500

_COLUMNS = "name, definition, fingerprint, state, proposed_by, reason, proposed, decided"


class ProposalState(StrEnum):
    """The decision of a person so far."""

    WAITING = "waiting"
    APPROVED = "approved"
    LEAVING = "leaving"  # approved; an agent asks for its removal


class Proposal(NamedTuple):
    """A server that an agent proposed.

    Attributes:
        name: of the server.
        definition: its entry, as JSON.
        fingerprint: SHA-256 of the name and the entry: what a person approves.
        state: what was decided.
        proposed_by: the name of the agent's token, or empty.
        reason: what the agent says that it is for.
        proposed: when (ISO 8601, UTC).
        decided: when a person approved it, likewise; empty before that.
    """

    name: str
    definition: str
    fingerprint: str
    state: ProposalState
    proposed_by: str
    reason: str
    proposed: str
    decided: str = ""


def proposals(store: Store) -> list[Proposal]:
    """All proposals, by name."""
    with translated_errors(store.path):
        rows = store.connection.execute(f"SELECT {_COLUMNS} FROM proposals ORDER BY name")  # noqa: S608  constants
        return [
            Proposal(name, definition, fingerprint, ProposalState(state), *others)
            for name, definition, fingerprint, state, *others in rows
        ]


def propose(store: Store, name: str, definition: str, proposed_by: str, reason: str) -> Proposal:
    """Store a proposal, and record it in the audit.

    Args:
        store: the store.
        name: of the server.
        definition: its entry, as JSON.
        proposed_by: the name of the agent's token, or empty.
        reason: what the agent says that it is for.

    Raises:
        InputError: another proposal has the name, or too many wait, or it is too large.
    """
    if len(definition.encode()) > MOST_BYTES:
        raise InputError(f"a proposal has at most {MOST_BYTES} bytes.")
    if len(reason) > MOST_REASON_CHARS:
        raise InputError(f"a reason has at most {MOST_REASON_CHARS} characters.")
    fingerprint = sha256(f"{name}\0{definition}".encode()).hexdigest()
    proposal = Proposal(
        name, definition, fingerprint, ProposalState.WAITING, proposed_by, reason, now_text()
    )
    with store.transaction():
        present = proposals(store)
        if any(other.name.casefold() == name.casefold() for other in present):
            raise InputError(f"a server {name} is proposed already.")
        if sum(other.state is ProposalState.WAITING for other in present) >= MOST_WAITING:
            raise InputError(f"{MOST_WAITING} proposed servers wait for the user already.")
        store.connection.execute(
            f"INSERT INTO proposals ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608  constants
            (*proposal[:3], proposal.state.value, *proposal[4:]),
        )
        _record(store, proposal, "propose", proposed_by)
    return proposal


def withdraw(store: Store, name: str, withdrawn_by: str) -> ProposalState | None:
    """Take back a proposal of the same agent; one that is approved only asks a person.

    Returns:
        `LEAVING` where a person decides; None where it is gone.

    Raises:
        InputError: there is no such proposal of this agent.
    """
    with store.transaction():
        own = {each.name: each for each in proposals(store) if each.proposed_by == withdrawn_by}
        proposal = own.get(name)
        if proposal is None:
            names = ", ".join(own) or "none"
            raise InputError(
                f"you proposed no server named {name}, and you cannot change others. Yours: "
                f"{names}."
            )
        if proposal.state is ProposalState.LEAVING:
            return proposal.state
        _record(store, proposal, "withdraw", withdrawn_by)
        if proposal.state is ProposalState.WAITING:
            _delete(store, proposal)
            return None
        _set_state(store, proposal, ProposalState.LEAVING)
        return ProposalState.LEAVING


def approve(store: Store, shown: Proposal, by: str) -> bool:
    """Accept exactly what was shown to a person: a new server, or the removal of one.

    Returns:
        False where it has changed meanwhile.
    """
    with store.transaction():
        if shown not in proposals(store) or shown.state is ProposalState.APPROVED:
            return False
        _record(store, shown, "approve", by)
        if shown.state is ProposalState.LEAVING:
            _delete(store, shown)
        else:
            _set_state(store, shown, ProposalState.APPROVED)
    return True


def reject(store: Store, shown: Proposal, by: str) -> bool:
    """Refuse exactly what was shown: a new server goes, one that was to leave stays.

    Returns:
        False where it has changed meanwhile.
    """
    with store.transaction():
        if shown not in proposals(store) or shown.state is ProposalState.APPROVED:
            return False
        _record(store, shown, "reject", by)
        if shown.state is ProposalState.LEAVING:
            _set_state(store, shown, ProposalState.APPROVED)
        else:
            _delete(store, shown)
    return True


def restore(store: Store, before: Proposal, by: str) -> bool:
    """Take back a decision: the proposal waits again as it was.

    Returns:
        False where an agent has proposed another server of this name meanwhile.
    """
    with store.transaction():
        others = [each for each in proposals(store) if each.name == before.name]
        if any(each.fingerprint != before.fingerprint for each in others):
            return False
        _record(store, before, "undo", by)
        store.connection.execute(
            f"INSERT OR REPLACE INTO proposals ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608  constants
            (*before[:3], before.state.value, *before[4:]),
        )
    return True


def remove(store: Store, shown: Proposal, by: str) -> bool:
    """End an approved server; False where it has changed meanwhile."""
    with store.transaction():
        if shown not in proposals(store):
            return False
        _record(store, shown, "forget", by)
        _delete(store, shown)
    return True


def _set_state(store: Store, proposal: Proposal, state: ProposalState) -> None:
    decided = now_text() if state is ProposalState.APPROVED else proposal.decided
    store.connection.execute(
        "UPDATE proposals SET state = ?, decided = ? WHERE name = ?",
        (state.value, decided, proposal.name),
    )


def _delete(store: Store, proposal: Proposal) -> None:
    store.connection.execute("DELETE FROM proposals WHERE name = ?", (proposal.name,))


def _record(store: Store, proposal: Proposal, action: str, client: str) -> None:
    moment = utc_text(datetime.now(UTC))
    note = f"a server that was proposed: {proposal.state}"
    entry = decision_entry(action, moment, note=note, by=client)._replace(
        kind="proposal",
        frame_sha256=proposal.fingerprint,
        frame_bytes=len(proposal.definition.encode()),
    )
    chain = f"{action.upper()}-{secrets.token_hex(4).upper()}-{proposal.name}"
    Audit(store, chain, proposal.name, moment).append_many([entry])
