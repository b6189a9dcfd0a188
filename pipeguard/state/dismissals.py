"""Events that a person has dismissed; messages that they stopped stay stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeguard.state.audit import AuditEntry
    from pipeguard.state.store import Store


def dismissals(store: Store) -> set[str]:
    """The keys of dismissed events.

    Raises:
        StateError: the store cannot be read.
    """
    return {key for (key,) in store.read("SELECT key FROM dismissals")}


def dismiss(store: Store, key: str, server: str, decision: AuditEntry) -> None:
    """Remember that a person dismissed an event, and record that in the audit.

    Args:
        store: the store.
        key: of an event, or of its card.
        server: the server that it concerns.
        decision: its entry in the audit.

    Raises:
        StateError: the store cannot be written.
    """
    from pipeguard.state.audit import record_decision  # here: a session asks only for refusals

    with store.transaction():
        store.connection.execute(
            "INSERT OR REPLACE INTO dismissals VALUES (?, ?)", (key, decision.time)
        )
        record_decision(store, server, decision)


def recall(store: Store, key: str) -> None:
    """Show a dismissed event again.

    Raises:
        StateError: the store cannot be written.
    """
    with store.transaction():
        store.connection.execute("DELETE FROM dismissals WHERE key = ?", (key,))
