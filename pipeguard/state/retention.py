"""How long the audit is kept: the oldest chains go, each as a whole, and a row says which.

That row is written first, in a chain of its own, so that `audit verify` knows at any moment what
is on its way out. Knows times and chains, not what is in a row.
"""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import TYPE_CHECKING

from pipeguard.state.audit import PRUNED, Audit, AuditEntry, Chain, chains
from pipeguard.state.store import told, written

if TYPE_CHECKING:
    from datetime import datetime

    from pipeguard.state.store import Store

PIECE_ROWS = 5000  # removed at a time, some 50 ms: who writes meanwhile waits no longer


def prune(store: Store, keep_days: int, now: datetime) -> int:
    """Remove the oldest chains, up to the first with a row that is to be kept.

    Args:
        store: where the audit is.
        keep_days: how long a row is kept at least.
        now: the time.

    Returns:
        How many chains were removed.

    Raises:
        StateError: the store could not be written; what is left goes the next time.
    """
    old = _ended(store, written(now - timedelta(days=keep_days)))
    if old:
        _announce(store, old, keep_days, written(now))
    for chain in old:
        _remove(store, chain)
    return len(old)


def _ended(store: Store, before: str) -> list[Chain]:
    old = []
    for chain in chains(store):
        if _last_time(store, chain) >= before:
            break
        old.append(chain)
    return old


def _last_time(store: Store, chain: Chain) -> str:
    with told(store.path):
        row: tuple[str] | None = store.connection.execute(
            "SELECT time FROM audit WHERE chain = ? ORDER BY seq DESC LIMIT 1", (chain.chain,)
        ).fetchone()
    return row[0] if row is not None else chain.started


def _announce(store: Store, old: list[Chain], keep_days: int, moment: str) -> None:
    last = old[-1]
    finding = {
        "rule": "audit.pruned",
        "note": f"chains up to number {last.number} were removed: kept for {keep_days} days",
    }
    entry = AuditEntry(
        time=moment,
        client="",
        direction="",
        kind=PRUNED,
        method="",
        tool="",
        action="prune",
        event="",
        frame_sha256=last.first,
        frame_bytes=0,
        findings=json.dumps([finding], separators=(",", ":")),
    )
    Audit(store, f"PRUNE-{os.urandom(4).hex().upper()}", "", moment).append_many([entry])


def _remove(store: Store, chain: Chain) -> None:
    """Its rows piece by piece, then its place in the table of chains."""
    with told(store.path):
        for seq in range(PIECE_ROWS, chain.length + PIECE_ROWS, PIECE_ROWS):
            store.connection.execute(
                "DELETE FROM audit WHERE chain = ? AND seq <= ?", (chain.chain, seq)
            )
        store.connection.execute("DELETE FROM chains WHERE number = ?", (chain.number,))
