"""Calls that a person allowed, each once and for a time, and waiting calls that one refused.

A grant is bound by the call's mark to the server, the tool as it was defined, the arguments, the
policy and the reasons: if any of them differs, it does not apply. The process in which the person
decides makes one with `make_grant`; the process that judges the repeated call takes it. A refusal
is bound to the event of a waiting call, and ends the wait.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from time import time
from typing import TYPE_CHECKING

from pipeguard.errors import StateError
from pipeguard.firewall.session.replies import REFUSED_WAIT
from pipeguard.records import NamedTuple
from pipeguard.state.pins import Store
from pipeguard.state.replica import REPLICA
from pipeguard.state.schema import MAX_NAME_CHARS
from pipeguard.state.store import ask_store, open_store
from pipeguard.state.timestamps import exact_now_text, to_utc_text

if TYPE_CHECKING:
    from pathlib import Path

    from pipeguard.state.audit import AuditEntry

MINUTES = 30  # for which a call may be repeated
BUSY_MS = 200  # a call waits so long for another process to write; then it has no grant


class CallGrant(NamedTuple):
    """A call that a person allowed.

    Attributes:
        mark: of the call (firewall.session.guard.Guard.mark_call).
        event: that stopped it.
        why: the person's reason.
    """

    mark: str
    event: str
    server: str
    tool: str
    why: str


def make_grant(
    store: Store, grant: CallGrant, by: str, words: str = "", minutes: float = MINUTES
) -> str:
    """Store a grant, replacing one for the same call, and record who decided in the audit.

    Args:
        store: the store.
        grant: of the call.
        by: who decided, as `ada, on the page`.
        words: for which the call was stopped, as the person was shown them.
        minutes: for which it holds.

    Returns:
        When it ends (ISO 8601, UTC).

    Raises:
        StateError: the store cannot be written.
    """
    from pipeguard.state.audit import record_decision

    now = time()
    moment = to_utc_text(now)
    expires = to_utc_text(now + minutes * 60)
    with store.transaction():
        store.write("DELETE FROM grants WHERE expires <= ?", moment)
        store.write("DELETE FROM grants WHERE mark = ?", grant.mark)
        store.write("INSERT INTO grants VALUES (?, ?, ?, ?, ?, ?, ?)", *grant, moment, expires)
        note = f"event {grant.event}, once{_because(grant)}"
        entry = _entry("allow", grant, note, by, moment=moment, excerpt=words, until=expires)
        record_decision(store, grant.server, entry)
    return expires


def refuse_call(store: Store, grant: CallGrant, by: str) -> None:
    """End the wait of a call, and record who decided in the audit.

    Args:
        store: the store.
        grant: that is not given.
        by: who decided, as `ada, on the page`.

    Raises:
        StateError: the store cannot be written.
    """
    from pipeguard.state.dismissals import dismiss

    entry = _entry("refuse", grant, f"event {grant.event}{_because(grant)}", by)
    dismiss(store, grant.event, grant.server, entry)


def _because(grant: CallGrant) -> str:
    return f": {grant.why}" if grant.why else ""


def _entry(action: str, grant: CallGrant, note: str, by: str, **words: str) -> AuditEntry:
    """A decision about a call: by whom, and for which words."""
    from pipeguard.state.audit import decision_entry

    entry = decision_entry(action, note=note, by=by, **words)
    tool = grant.tool[:MAX_NAME_CHARS]
    return entry._replace(method="tools/call", tool=tool, event=grant.event)


def revoke_grant(store: Store, mark: str) -> bool:
    """Take back a grant; False if it was used or has ended.

    Raises:
        StateError: the store cannot be written.
    """
    return store.write("DELETE FROM grants WHERE mark = ?", mark) > 0


def find_granted(store: Store, since: str) -> frozenset[tuple[str, str]]:
    """The stopped calls that a person allowed once: server and event.

    These may still be repeated, or passed by a decision after a moment.

    Raises:
        StateError: the store cannot be read.
    """
    import re

    from pipeguard.firewall.session.remedies import GRANTED_AS

    listed = store.read(
        "SELECT server, findings FROM audit WHERE instr(findings, ?) > 0 AND id > (SELECT min(id)"
        " FROM audit WHERE chain >= 'ALLOW-' AND chain < 'ALLOW.' AND time >= ?)",
        *(GRANTED_AS, since),
    )
    query = "SELECT server, event FROM grants WHERE expires > ?"
    is_open = store.read(query, exact_now_text())
    note = re.compile(rf'"note": ?"{re.escape(GRANTED_AS)}([\w.]+)[";]')  # not as text of a value
    return frozenset(
        (*is_open, *((server, event) for server, found in listed for event in note.findall(found)))
    )


class StoredGrants:
    """The grants in a store, for the processes that judge calls (firewall.session.guard.Grants).

    Args:
        store: the file. It is opened only for a call that is stopped. A replica asks the shared
            store instead, if there was a grant of the call at its last look.
    """

    def __init__(self, store: Path | str) -> None:
        self._store, self._link = store, REPLICA.link
        self._refused = set[str]()  # by the users of this process, in their clients

    def take(self, mark: str) -> str:
        """Use up the grant of a call, in only one of several processes; its event, or empty."""
        if self._link is not None and mark not in self._link.shared.grants:
            return ""
        with suppress(StateError):
            return ask_store(self._store, partial(_use_grant, mark))
        return ""

    def refuse(self, event: str) -> None:
        """End the wait of a call: the user refused it in the client."""
        self._refused.add(event)

    def find_refusal(self, event: str) -> str:
        """The refusal of the call that waits by an event, in words; empty if nobody refused it."""
        if self._link is not None:
            if event in self._link.shared.refused:
                return REFUSED_WAIT
        else:
            with suppress(StateError), open_store(self._store) as store:
                if store.read("SELECT 1 FROM dismissals WHERE key = ?", event):
                    return REFUSED_WAIT
        return f"{REFUSED_WAIT} in the client" if event in self._refused else ""


def _use_grant(mark: str, store: Store) -> str:
    if not _is_granted(store, mark):  # without waiting for the lock of a writer
        return ""
    query = "DELETE FROM grants WHERE mark = ? RETURNING event, expires"
    for event, expires in store.read(query, mark):
        if expires > exact_now_text():
            return str(event)
    return ""


def _is_granted(store: Store, mark: str) -> bool:
    store.limit_wait(BUSY_MS)
    query = "SELECT 1 FROM grants WHERE mark = ? AND expires > ?"
    return bool(store.read(query, mark, exact_now_text()))
