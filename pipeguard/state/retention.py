"""Retention of the audit: the oldest chains are removed, each as a whole, and a row says which.

A shared store drops whole days instead, with the chains that then have no row.
The row about it is written first, in a chain of its own, so that `audit verify` knows at any moment
which chains are being removed. Knows times and chains, not the contents of rows.
"""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from itertools import takewhile, zip_longest
from typing import TYPE_CHECKING

from pipeguard.state.audit import PRUNED, Audit, AuditEntry, Chain, chains
from pipeguard.state.timestamps import utc_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipeguard.state.pins import Store

DAY_CHARS = len("2026-01-01")
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
    days = store.list_days(before)
    if days is not None:
        return _drop_days(store, days, before, keep_days, utc_text(now)) if days else 0
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
    write_pruned(store, moment, note, [last.first])


def write_pruned(store: Store, moment: str, note: str, removed: Iterable[str], **more: str) -> None:
    """Write that chains were removed, in a chain of its own.

    Args:
        store: of the audit.
        moment: when (ISO 8601, UTC).
        note: in words.
        removed: the first hash of each chain whose successor stays.
        more: `until`, the day before which no row is left.
    """
    finding = {"rule": "audit.pruned", "note": note, **more}
    findings = json.dumps([finding], separators=(",", ":"))
    entry = AuditEntry(moment, kind=PRUNED, action="prune", findings=findings)
    entries = [entry._replace(frame_sha256=first) for first in removed]
    Audit(store, f"PRUNE-{os.urandom(4).hex().upper()}", "", moment).append_many(entries)


def _drop_days(store: Store, days: Sequence[str], before: str, keep_days: int, moment: str) -> int:
    """Remove whole days, and the chains that have no row since."""
    until = before[:DAY_CHARS]
    note = f"the days before {until} were removed: kept for {keep_days} days"
    with store.transaction():
        query = (
            "SELECT chain FROM chains WHERE started < ? AND NOT EXISTS (SELECT 1 FROM audit"
            " WHERE audit.chain = chains.chain AND time >= ?)"
        )
        old = {chain for (chain,) in store.read(query, until, until)}
        present = list(chains(store))
        removed = [
            chain.first
            for chain, after in zip_longest(present, present[1:])
            if chain.chain in old and (after is None or after.chain not in old)
        ]
        write_pruned(store, moment, note, removed or [""], until=until)
        for day in days:
            store.write(f"DROP TABLE {day}")
        store.write_many("DELETE FROM chains WHERE chain = ?", [(chain,) for chain in old])
    return len(old)


def _remove(store: Store, chain: Chain) -> None:
    """Remove a chain's rows piece by piece, then its entry in the table of chains."""
    for seq in range(PIECE_ROWS, chain.length + PIECE_ROWS, PIECE_ROWS):
        store.write("DELETE FROM audit WHERE chain = ? AND seq <= ?", chain.chain, seq)
    store.write("DELETE FROM chains WHERE chain = ?", chain.chain)
