"""Calls that a person allowed, each for one time and a while: the only grant of an exact call.

A grant is bound by the call's mark to the server, the tool as it was defined, the arguments, the
policy and the reasons: where any of them is another, it is no grant. Whoever decides makes one
with `make_grant`; the process that judges the repeated call takes it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.errors import StateError
from pipeguard.state.database import translated_errors
from pipeguard.state.schema import MAX_NAME_CHARS
from pipeguard.state.store import Store
from pipeguard.state.timestamps import utc_text

if TYPE_CHECKING:
    from pathlib import Path

MINUTES = 30  # for which a call may be repeated
BUSY_MS = 200  # that a call waits for another process to write; after that it has no grant


class CallGrant(NamedTuple):
    """A call that a person allowed.

    Attributes:
        mark: of the call (firewall.session.guard.Guard.mark_call).
        event: that stopped it.
        server: the server's name.
        tool: that is called.
        why: the person's reason.
    """

    mark: str
    event: str
    server: str
    tool: str
    why: str


def make_grant(store: Store, grant: CallGrant, minutes: float = MINUTES) -> str:
    """Store a grant, in place of one for the same call, and record who decided in the audit.

    Returns:
        When it ends (ISO 8601, UTC).

    Raises:
        StateError: the store cannot be written.
    """
    import secrets
    from datetime import UTC, datetime, timedelta

    from pipeguard.state.audit import Audit
    from pipeguard.state.review import decision_entry

    now = datetime.now(UTC)
    expires = utc_text(now + timedelta(minutes=minutes))
    with store.transaction():
        store.connection.execute("DELETE FROM grants WHERE expires <= ?", (utc_text(now),))
        store.connection.execute(
            "INSERT OR REPLACE INTO grants VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*grant, utc_text(now), expires),
        )
        note = f"event {grant.event}, for one time until {expires}: {grant.why}"
        entry = decision_entry("allow", utc_text(now), note=note)
        entry = entry._replace(method="tools/call", tool=grant.tool[:MAX_NAME_CHARS])
        chain = f"ALLOW-{secrets.token_hex(8).upper()}"
        Audit(store, chain, grant.server, utc_text(now)).append_many([entry])
    return expires


def revoke_grant(store: Store, mark: str) -> bool:
    """Take back a grant; False where it was used or has ended.

    Raises:
        StateError: the store cannot be written.
    """
    with store.transaction():
        gone = store.connection.execute("DELETE FROM grants WHERE mark = ?", (mark,))
        return gone.rowcount > 0


class StoredGrants:
    """The grants in a store, for the processes that judge calls (firewall.session.guard.Grants).

    Args:
        store: the file. It is opened only for a call that is stopped.
    """

    def __init__(self, store: Path | str) -> None:
        self._store = store

    def take(self, mark: str) -> str:
        """Use up the grant of a call, of several processes in one alone; its event, or empty."""
        from datetime import UTC, datetime

        with suppress(StateError), Store.open(self._store) as store:
            if not _is_granted(store, mark):  # without waiting for the lock of a writer
                return ""
            with store.transaction():
                row = store.connection.execute(
                    "DELETE FROM grants WHERE mark = ? RETURNING event, expires", (mark,)
                ).fetchone()
            if row is not None and row[1] > utc_text(datetime.now(UTC)):
                return str(row[0])
        return ""

    def has(self, mark: str) -> bool:
        """True where a call is granted, which only `take` makes sure."""
        with suppress(StateError), Store.open(self._store) as store:
            return _is_granted(store, mark)
        return False


def _is_granted(store: Store, mark: str) -> bool:
    from datetime import UTC, datetime

    with translated_errors(store.path):
        store.connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        moment = utc_text(datetime.now(UTC))
        query = "SELECT 1 FROM grants WHERE mark = ? AND expires > ?"
        found = store.connection.execute(query, (mark, moment))
        return found.fetchone() is not None
