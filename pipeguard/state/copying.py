"""Copies a whole store into an empty one, a file or a database, with its ids, chains and hashes.

What replicas share only while they run (notes, sessions, rates) stays behind.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from pipeguard.errors import StateError
from pipeguard.state.audit import COLUMNS, MOST_CHAINS, Chain, chains
from pipeguard.state.retention import write_pruned
from pipeguard.state.timestamps import now_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pipeguard.state.pins import Store

BATCH_ROWS = 1000
_TABLES = {
    "pins": "server, kind, name, approved, approved_fingerprint, approved_at, held,"
    " held_fingerprint, held_at, reason, is_reviewed",
    "servers": "server, name, identity, launched, since",
    "tokens": "name, sha256, servers, tools, effect, per_minute, created, expires, manages",
    "proposals": "name, definition, fingerprint, state, proposed_by, reason, proposed, decided",
    "grants": "mark, event, server, tool, why, made, expires",
    "dismissals": "key, made",
}
_AUDIT = f"id, {COLUMNS}"
_TIME = _AUDIT.split(", ").index("time")


def copy_store(source: Store, target: Store, tell: Callable[[int], None]) -> dict[str, int]:
    """Copy all rows in one transaction.

    Args:
        source: the store.
        target: an empty store.
        tell: takes the number of rows so far, after each batch.

    Returns:
        The number of rows of each table.

    Raises:
        StateError: the target is not empty, or a store cannot be read or written.
    """
    counts = dict.fromkeys((*_TABLES, "chains", "audit"), 0)
    with source.snapshot(), target.transaction():
        for table in counts:
            if target.read(f"SELECT 1 FROM {table} LIMIT 1"):  # noqa: S608  constants
                raise StateError(f"the store {target.path} is not empty.")
        for table in counts:
            for number in _copy_table(source, target, table):
                counts[table] += number
                tell(sum(counts.values()))
        _continue_numbers(source, target)
    return counts


def _copy_table(source: Store, target: Store, table: str) -> Iterator[int]:
    """Copy a table, and yield the number of rows of each batch."""
    columns = _TABLES.get(table, _AUDIT)
    if table == "chains":
        columns, rows = _list_chains(source, target)
    else:
        rows = source.stream(f"SELECT {columns} FROM {table}")  # noqa: S608  constants
    marks = ", ".join("?" * len(columns.split(", ")))
    insert = f"INSERT INTO {table} ({columns}) VALUES ({marks})"  # noqa: S608  constants
    for batch in _take_batches(rows):
        if table == "audit":
            target.prepare_days(row[_TIME] for row in batch)
        target.write_many(insert, batch)
        yield len(batch)


def _take_batches(rows: Iterable[tuple[Any, ...]]) -> Iterator[Sequence[tuple[Any, ...]]]:
    iterator = iter(rows)
    while batch := tuple(islice(iterator, BATCH_ROWS)):
        yield batch


def _list_chains(source: Store, target: Store) -> tuple[str, Iterator[tuple[Any, ...]]]:
    """The columns and rows of the table of chains, as the target has it."""
    found = list(chains(source))
    others = list(dict.fromkeys(chain.replica for chain in found if chain.replica))
    names = ", ".join(Chain._fields[:-1])
    if target.REPLICA in Chain._fields:
        rows = ((*chain[:-1], str(chain.replica or "")) for chain in found)
        return f"{names}, {target.REPLICA}", rows
    places = {replica: place << 32 for place, replica in enumerate(others, 1)}
    return names, ((places.get(c.replica, 0) | c.number, *c[1:-1]) for c in found)


def _continue_numbers(source: Store, target: Store) -> None:
    """Let new chains and rows follow the copied ones."""
    query = "SELECT seq FROM sqlite_sequence WHERE name = 'chains'"
    begun = max((seq for (seq,) in source.read(query)), default=0)
    if begun > MOST_CHAINS:  # of another replica
        begun = max((chain.number for chain in chains(target) if not chain.replica), default=0)
    target.write("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'chains'", begun)
    target.continue_ids()
    if target.IDS_ARE_DENSE and not source.IDS_ARE_DENSE:
        write_pruned(target, now_text(), f"copied from {source.path}, with gaps between rows", [""])
