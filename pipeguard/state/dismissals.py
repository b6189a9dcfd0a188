"""Events of which a person wants to hear no more; what they stopped stays stopped."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipeguard.state.database import translated_errors
from pipeguard.state.review import decision_entry, record_decision
from pipeguard.state.timestamps import utc_text

if TYPE_CHECKING:
    from pipeguard.state.store import Store


def dismissals(store: Store) -> set[str]:
    """The keys of what was dismissed.

    Raises:
        StateError: the store cannot be read.
    """
    with translated_errors(store.path):
        return {key for (key,) in store.connection.execute("SELECT key FROM dismissals")}


def dismiss(store: Store, key: str, server: str, note: str, by: str) -> None:
    """Remember that a person wants to hear no more of something, and record that in the audit.

    Args:
        store: the store.
        key: what it is, as its card names it.
        server: the server that it is about.
        note: what was decided on.
        by: who decided, and where.

    Raises:
        StateError: the store cannot be written.
    """
    moment = utc_text(datetime.now(UTC))
    with store.transaction():
        store.connection.execute("INSERT OR REPLACE INTO dismissals VALUES (?, ?)", (key, moment))
        record_decision(store, server, decision_entry("dismiss", moment, note=note, by=by))


def recall(store: Store, key: str) -> None:
    """Show again what was dismissed.

    Raises:
        StateError: the store cannot be written.
    """
    with store.transaction():
        store.connection.execute("DELETE FROM dismissals WHERE key = ?", (key,))
