"""Servers that agents proposed for the gateway, and a person's decisions on them.

A proposal itself is never started. Knows the store, not the meaning of a server's entry.
"""

from hashlib import sha256
from typing import NamedTuple

from pipeguard.errors import InputError
from pipeguard.state.audit import decision_entry, record_decision
from pipeguard.state.pins import Store
from pipeguard.state.timestamps import now_text

MOST_WAITING = 20  # of all agents: more than a person reads at once
MOST_BYTES = 8192  # of an entry; the longest real ones have some 600
MOST_REASON_CHARS = 500

_COLUMNS = "name, definition, fingerprint, proposed_by, reason, proposed, decided"


class Proposal(NamedTuple):
    """A server that an agent proposed.

    Attributes:
        definition: its entry, as JSON.
        fingerprint: SHA-256 of the name and the entry, which a person approves.
        proposed_by: the name of the agent's token, or empty.
        reason: the agent's statement of its purpose.
        proposed: when (ISO 8601, UTC).
        decided: when a person approved it (ISO 8601, UTC); empty before that.
    """

    name: str
    definition: str
    fingerprint: str
    proposed_by: str
    reason: str
    proposed: str
    decided: str = ""

    @property
    def waits(self) -> bool:
        """True until a person approves it."""
        return not self.decided

    @property
    def state(self) -> str:
        """Its state in a word."""
        return "waiting" if self.waits else "approved"


def proposals(store: Store) -> list[Proposal]:
    """All proposals, by name."""
    rows = store.read(f"SELECT {_COLUMNS} FROM proposals ORDER BY name")  # noqa: S608  constants
    return [Proposal(*row) for row in rows]


def propose(store: Store, name: str, definition: str, proposed_by: str, reason: str) -> Proposal:
    """Store a proposal, and record it in the audit.

    Args:
        store: the store.
        name: of the server.
        definition: its entry, as JSON.
        proposed_by: the name of the agent's token, or empty.
        reason: the agent's statement of its purpose.

    Raises:
        InputError: another proposal has the name, or too many wait, or it is too large.
    """
    if len(definition.encode()) > MOST_BYTES:
        raise InputError(f"a proposal has at most {MOST_BYTES} bytes.")
    if len(reason) > MOST_REASON_CHARS:
        raise InputError(f"a reason has at most {MOST_REASON_CHARS} characters.")
    fingerprint = sha256(f"{name}\0{definition}".encode()).hexdigest()
    proposal = Proposal(name, definition, fingerprint, proposed_by, reason, now_text())
    with store.transaction():
        present = proposals(store)
        if any(other.name.casefold() == name.casefold() for other in present):
            raise InputError(f"a server {name} is proposed already.")
        if sum(other.waits for other in present) >= MOST_WAITING:
            raise InputError(f"{MOST_WAITING} proposed servers wait for the user already.")
        _put(store, proposal)
        _record(store, proposal, "propose", proposed_by)
    return proposal


def withdraw(store: Store, name: str, withdrawn_by: str) -> None:
    """Take back a proposal of the same agent; only a person ends one that is approved.

    Raises:
        InputError: this agent has no such waiting proposal.
    """
    with store.transaction():
        all_own = (each for each in proposals(store) if each.proposed_by == withdrawn_by)
        own = {each.name: each for each in all_own if each.waits}
        if name not in own:
            names = ", ".join(own) or "none"
            raise InputError(
                f"no server {name} that you proposed waits, and you cannot change others. Yours:"
                f" {names}."
            )
        _record(store, own[name], "withdraw", withdrawn_by)
        _delete(store, own[name])


def approve(store: Store, shown: Proposal, by: str) -> bool:
    """Accept the proposal exactly as shown to a person; False if it has changed."""
    with store.transaction():
        if shown not in proposals(store) or not shown.waits:
            return False
        _record(store, shown, "approve", by)
        _put(store, shown._replace(decided=now_text()))
    return True


def reject(store: Store, shown: Proposal, by: str) -> bool:
    """Refuse the proposal shown, or end it if it was approved; False if it has changed."""
    with store.transaction():
        if shown not in proposals(store):
            return False
        _record(store, shown, "reject", by)
        _delete(store, shown)
    return True


def restore(store: Store, before: Proposal, by: str) -> bool:
    """Take back a decision: the proposal waits again as it was.

    Returns:
        False if an agent has proposed another server of this name in the meantime.
    """
    with store.transaction():
        others = [each for each in proposals(store) if each.name == before.name]
        if any(each.fingerprint != before.fingerprint for each in others):
            return False
        _record(store, before, "undo", by)
        _put(store, before)
    return True


def _put(store: Store, proposal: Proposal) -> None:
    _delete(store, proposal)
    store.write(
        f"INSERT INTO proposals ({_COLUMNS}, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608  constants
        *proposal,
        proposal.state,
    )


def _delete(store: Store, proposal: Proposal) -> None:
    store.write("DELETE FROM proposals WHERE name = ?", proposal.name)


def _record(store: Store, proposal: Proposal, action: str, client: str) -> None:
    note = f"a server that was proposed: {proposal.state}"
    entry = decision_entry(action, note=note, by=client)._replace(
        kind="proposal",
        frame_sha256=proposal.fingerprint,
        frame_bytes=len(proposal.definition.encode()),
    )
    record_decision(store, proposal.name, entry)
