"""Events that a person has dismissed, and warnings until they are cleared; nothing else changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeguard.state.schema import IS_NOTICED, IS_TO_DECIDE
from pipeguard.state.timestamps import parse_moment

if TYPE_CHECKING:
    from pipeguard.state.audit import AuditEntry
    from pipeguard.state.pins import Store

MOST_NOTED = 2_000  # messages with a warning, the newest, that are looked at: 30 ms
# Messages of a time that passed with a warning, each with its worst finding. What an isolated
# server did not get has a card instead, and a low severity is housekeeping, as in the log. Of a
# group, time and event are those of its newest row.
_NOTED = f"""
    SELECT kinds.server, kinds.tool, rule, number, last, time, event
    FROM (SELECT server, coalesce(nullif(json_extract(findings, '$[0].tool'), ''), tool) AS tool,
            coalesce(json_extract(findings, '$[0].rule'), 'audit.damaged') AS rule,
            count(*) AS number, max(id) AS last
        FROM (SELECT id, server, tool, iif(json_valid(findings), findings, '[]') AS findings
            FROM audit
            WHERE id > (SELECT coalesce(max(CAST(substr(key, 7) AS INTEGER)), 0)
                    FROM dismissals WHERE key GLOB 'noted *')
                AND {IS_NOTICED} AND time >= ? AND action = 'warn' AND NOT {IS_TO_DECIDE}
            ORDER BY id DESC LIMIT {MOST_NOTED}) AS newest
        WHERE json_extract(findings, '$[0].severity') IS NOT 'low'
        GROUP BY 1, 2, 3) AS kinds
    JOIN audit ON id = last ORDER BY last DESC"""  # noqa: S608  constants


def find_noted(store: Store) -> list[tuple[Any, ...]]:
    """The warnings of 7 days that nobody has cleared, the newest first.

    Returns:
        Of each kind: server, tool, rule, the number of messages, and of the newest one its row in
        the audit, its time (ISO 8601, UTC) and its event, or empty.

    Raises:
        StateError: the store cannot be read.
    """
    return store.read(_NOTED, parse_moment("7d"))


def clear_noted(store: Store, until: str, by: str) -> str:
    """Clear the warnings up to a row, and record that in the audit.

    Args:
        store: the store.
        until: the number of the row.
        by: who clears them, as `ada, on the page`.

    Returns:
        The key with which `recall` lists them again.

    Raises:
        StateError: the store cannot be written.
    """
    from pipeguard.state.audit import decision_entry

    query = "SELECT coalesce(max(id), 0) FROM audit WHERE id <= ?"
    with store.transaction():
        ((number,),) = store.read(query, int(until) if until.isdecimal() else 0)
        entry = decision_entry("dismiss", note=f"warnings to row {number}", by=by)
        dismiss(store, f"noted {number}", "*", entry)
    return f"noted {number}"


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
        store.write(
            "INSERT INTO dismissals VALUES (?, ?)"
            " ON CONFLICT (key) DO UPDATE SET made = excluded.made",
            *(key, decision.time),
        )
        record_decision(store, server, decision)


def recall(store: Store, key: str) -> bool:
    """Show a dismissed event again, which is always possible.

    Raises:
        StateError: the store cannot be written.
    """
    store.write("DELETE FROM dismissals WHERE key = ?", key)
    return True
