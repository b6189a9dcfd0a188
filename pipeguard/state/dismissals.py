"""Events of which a person wants to hear no more; what they stopped stays stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeguard.state.database import translated_errors

if TYPE_CHECKING:
    from pipeguard.state.audit import AuditEntry
    from pipeguard.state.store import Store


def dismissals(store: Store) -> set[str]:
    """The keys of what was dismissed.

    Raises:
        StateError: the store cannot be read.
    """
    with translated_errors(store.path):
        return {key for (key,) in store.connection.execute("SELECT key FROM dismissals")}


def dismiss(store: Store, key: str, server: str, decision: AuditEntry) -> None:
    """Remember that a person wants to hear no more of something, and record that in the audit.

    Args:
        store: the store.
        key: what it is: an event, or as its card names it.
        server: the server that it is about.
        decision: who decided, and on what.

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
    """Show again what was dismissed.

    Raises:
        StateError: the store cannot be written.
    """
    with store.transaction():
        store.connection.execute("DELETE FROM dismissals WHERE key = ?", (key,))
