"""Retention of the audit: the oldest chains are removed, each as a whole, and a row says which.

The row about it is written first, in a chain of its own, so that `audit verify` knows at any moment
which chains are being removed. Knows times and chains, not the contents of rows.
"""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from itertools import takewhile
from typing import TYPE_CHECKING

from pipeguard.state.audit import PRUNED, Audit, AuditEntry, Chain, chains
from pipeguard.state.timestamps import utc_text

if TYPE_CHECKING:
    from pipeguard.state.pins import Store

PIECE_ROWS = 5000  # removed at a time, about 50 ms: the longest that a writer waits for it


def prune(store: Store, keep_days: int, now: datetime) -> int:
    """Remove the oldest chains, up to the first with a row young enough to keep.

    Args:
        store: of the audit.
        keep_days: how long each row is kept at least.
        now: the time.

    Returns:
        How many chains were removed.

    Raises:
        StateError: the store could not be written; the remaining chains are removed next time.
    """
    before = utc_text(now - timedelta(days=keep_days))
    old = list(takewhile(lambda chain: _last_time(store, chain) < before, chains(store)))
    if old:
        _announce(store, old, keep_days, utc_text(now))
    for chain in old:
        _remove(store, chain)
    return len(old)


def _last_time(store: Store, chain: Chain) -> str:
    query = "SELECT time FROM audit WHERE chain = ? ORDER BY seq DESC LIMIT 1"
    found = store.read(query, chain.chain)
    return found[0][0] if found else chain.started


def _announce(store: Store, old: list[Chain], keep_days: int, moment: str) -> None:
    last = old[-1]
    note = f"chains up to number {last.number} were removed: kept for {keep_days} days"
    findings = json.dumps([{"rule": "audit.pruned", "note": note}], separators=(",", ":"))
    entry = AuditEntry(
        moment, kind=PRUNED, action="prune", frame_sha256=last.first, findings=findings
    )
    Audit(store, f"PRUNE-{os.urandom(4).hex().upper()}", "", moment).append_many([entry])


def _remove(store: Store, chain: Chain) -> None:
    """Remove a chain's rows piece by piece, then its entry in the table of chains."""
    for seq in range(PIECE_ROWS, chain.length + PIECE_ROWS, PIECE_ROWS):
        store.write("DELETE FROM audit WHERE chain = ? AND seq <= ?", chain.chain, seq)
    store.write("DELETE FROM chains WHERE number = ?", chain.number)
