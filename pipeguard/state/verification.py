"""Verifies that the audit is as written: each row, each chain, and the table of chains.

Reads; fixes nothing. `audit` explains what the hashes cover and cannot prove.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.errors import InputError
from pipeguard.state.audit import (
    COLUMNS,
    MOST_CHAINS,
    PRUNED,
    AuditFilter,
    AuditRow,
    Chain,
    chains,
    hash_of_row,
    hash_row,
    list_findings,
    make_row,
    parse_findings,
    rows,
    select,
)
from pipeguard.state.missing import read_notes
from pipeguard.state.pins import Store
from pipeguard.state.store import open_store
from pipeguard.unicode.display import NAME_CHARS, cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


NO_CHAINS = "0 rows in 0 chains, unchanged."  # the list of heads of an audit that has no row
# How many chains were begun, by replica: of a shared store's, only those of decisions are counted.
_BEGUN = f"""
    SELECT {{}}, number & {MOST_CHAINS} FROM (SELECT seq AS number, '' AS replica
    FROM sqlite_sequence WHERE name = 'chains') AS begun"""  # noqa: S608  constants
_MAKE_LIST = "\n  Make such a list:  pipeguard audit verify --heads > FILE"


class Problem(NamedTuple):
    """A difference from the audit as written.

    Attributes:
        chain: the chain; empty if the table of chains itself is wrong.
        seq: the row, or 0; in the table of chains, the chain's number.
        what: the difference, for people.
        event: of the row as it is now, or empty.
    """

    chain: str
    seq: int
    what: str
    event: str = ""


class Examination(NamedTuple):
    """A look at the whole audit.

    Attributes:
        problems: differences from the audit as written.
        chains: all chains, the oldest first.
        gaps: verdicts that could not be recorded in time, a sentence each; not a change.
    """

    problems: list[Problem]
    chains: list[Chain]
    gaps: list[str]


def examine(path: Path) -> Examination:
    """Verify the audit, and list its chains and gaps.

    Raises:
        StateError: the store cannot be read.
    """
    problems = verify(path)
    with open_store(path) as store:
        listed = list(chains(store))
        gaps = [describe_gap(row) for row in rows(store, AuditFilter(rule="audit.gap"))]
    return Examination(problems, listed, gaps + [note.sentence() for note in read_notes(path)])


def compare(path: Path, heads: Iterable[str]) -> list[Problem]:
    """Find differences from an earlier list of heads; chains may have grown in the meantime.

    Args:
        path: the store.
        heads: the output of `audit verify --heads`: a line with head, length and name of each
            chain, and a last line that counts them.

    Raises:
        InputError: a line is neither, or there are no lines.
        StateError: the store cannot be read.
    """
    problems: list[Problem] = []
    lines = [line.strip() for line in heads if line.strip()]
    listed = [line for line in lines if not line.endswith("unchanged.")]
    if not listed and NO_CHAINS not in lines:
        raise InputError(f"it lists no head.{_MAKE_LIST}")
    with open_store(path) as store:
        is_pruned = bool(store.read("SELECT 1 FROM audit WHERE kind = ?", PRUNED))
        until = _read_pruning(store).until
        present = {chain.chain for chain in chains(store)}
        for line in listed:
            head, length, name = (*line.split(), "", "")[:3]
            if not name or not length.isdecimal():
                raise InputError(f"{cut(line, NAME_CHARS)!r} is not a head.{_MAKE_LIST}")
            if not until:
                is_pruned = is_pruned and name not in present  # the oldest chains are pruned
            query = "SELECT hash FROM audit WHERE chain = ? AND seq = ?"
            found = store.read(query, name, int(length))
            if name not in present and not is_pruned:
                problems.append(Problem(name, 0, "the chain was removed"))
            elif name in present and int(length) and found != [(head,)] and (found or not until):
                problems.append(Problem(name, int(length), f"row {length} is not the head it was"))
    return problems


def describe_gap(row: AuditRow) -> str:
    """The text of a row about missing rows, with its time."""
    notes = [str(finding.get("note", "")) for finding in parse_findings(row.entry)]
    return f"{'; '.join(notes)} ({' '.join(filter(None, (row.entry.time, row.entry.event)))})"


def verify(path: Path) -> list[Problem]:
    """Find every row and chain that is not as it was written.

    Raises:
        StateError: the store cannot be read.
    """
    problems = list[Problem]()
    with open_store(path) as store, store.snapshot():  # other processes keep writing
        pruning = _read_pruning(store)
        begun = dict(store.read(_BEGUN.format(store.REPLICA)))
        for replica, group in groupby(chains(store), key=lambda chain: chain.replica):
            expected = _without_pruned(list(group), pruning)
            problems += _verify_chains(expected, pruning, begun.pop(replica, 0))
            for chain in expected:
                problems += _verify_rows(store, chain, pruning.until)
        for count in begun.values():
            problems += _verify_chains([], pruning, count)
        orphans = store.read(
            "SELECT chain, count(*) FROM audit WHERE chain NOT IN (SELECT chain FROM chains)"
            " GROUP BY chain"
        )
        problems += [
            Problem(chain, 0, f"{count} rows of a chain that is not in the table of chains")
            for chain, count in orphans
        ]
        problems += [] if problems else _verify_order(store)  # a removed row leaves a gap, too
    return problems


def _verify_order(store: Store) -> Iterator[Problem]:
    """Find the first row whose place among the rows of all chains was changed: its id.

    Each id is one more than the last. Pruning leaves gaps, but none behind its own row.
    """
    moved = store.read(
        "WITH pruned AS (SELECT coalesce(max(id), 0) AS last FROM audit WHERE kind = ?),"
        " ordered AS (SELECT id, chain, seq, event, lag(id, 1, 0) OVER (ORDER BY id) AS before,"
        " lag(seq, 1, 0) OVER (PARTITION BY chain ORDER BY id) AS seq_before FROM audit)"
        " SELECT chain, seq, event FROM ordered, pruned"
        " WHERE seq < seq_before OR ? AND id > last AND id <> before + 1 ORDER BY id LIMIT 1",
        *(PRUNED, store.IDS_ARE_DENSE),
    )
    for chain, seq, event in moved:
        what = f"the id of row {seq}, or of the row listed before it, was changed"
        yield Problem(chain, seq, what, event)


class _Pruning(NamedTuple):
    """The rows about removed chains.

    Attributes:
        first: the first hashes of chains that are removed with all before them.
        linked: of all chains whose successor stays.
        until: the day before which no row is left; empty if none was dropped.
    """

    first: set[str]
    linked: set[str]
    until: str


def _read_pruning(store: Store) -> _Pruning:
    pruning = _Pruning(set(), set(), "")
    for columns in select(store, COLUMNS, "WHERE kind = ?", (PRUNED,)):
        row = make_row(columns)
        if row.hash == hash_of_row(columns[:-1]):  # else it proves nothing; _verify_rows reports it
            until = max((each.get("until", "") for each in list_findings(row.entry)), default="")
            pruning.linked.add(row.entry.frame_sha256)
            if until:
                pruning = pruning._replace(until=max(until, pruning.until))
            else:
                pruning.first.add(row.entry.frame_sha256)
    pruning.linked.discard("")
    pruning.first.discard("")
    return pruning


def _without_pruned(stored: list[Chain], pruning: _Pruning) -> list[Chain]:
    """The chains that must be there.

    Pruning first writes a row with the first hash of the newest chain to go, and removes that
    chain last, after all chains before it. Without such a row the first chain has the number 1.
    """
    while any(chain.first in pruning.first for chain in stored):
        stored = stored[1:]
    return stored


def _verify_chains(expected: list[Chain], pruning: _Pruning, begun: int) -> Iterator[Problem]:
    before = Chain(0, "", "", "", "", "", "", 0)
    for chain in expected:
        if chain.previous in pruning.linked:
            before = before._replace(number=chain.number - 1, first=chain.previous)
        for number in range(before.number + 1, chain.number):
            yield Problem("", number, f"chain number {number} was removed")
        first = hash_row(chain.number, chain.chain, chain.server, chain.started, chain.previous)
        if chain.first != first:
            yield Problem(chain.chain, 0, "the chain's own entry was changed")
        elif chain.number == before.number + 1 and chain.previous != before.first:
            yield Problem(chain.chain, 0, "the chain that began before it was replaced")
        before = chain
    for number in range(before.number + 1, begun + 1):
        yield Problem("", number, f"chain number {number} was removed")


def _verify_rows(store: Store, chain: Chain, until: str) -> Iterator[Problem]:
    seq = 0
    dropped = f"{until}T00:01" if chain.started < until else ""  # threads write a little late
    time = ""
    head = chain.first
    follows = True
    for columns in select(store, COLUMNS, "WHERE chain = ? ORDER BY seq", (chain.chain,)):
        row = make_row(columns)
        if row.seq != seq + 1:
            if time >= dropped:
                yield Problem(chain.chain, seq + 1, _missing(seq + 1, row.seq - 1))
            follows = False
        is_intact = row.hash == hash_of_row(columns[:-1])
        if not is_intact:
            what = f"row {row.seq} was changed or moved"
            event = row.entry.event
            yield Problem(chain.chain, row.seq, what, event)
        elif follows and row.prev_hash != head:
            yield Problem(chain.chain, row.seq, f"row {row.seq} does not follow the row before it")
        # The row after a wrong one is not wrong itself, so its link is not checked.
        seq = row.seq
        time = row.entry.time
        head = row.hash
        follows = is_intact
    if seq < chain.length:
        yield Problem(chain.chain, seq + 1, _missing(seq + 1, chain.length))
    elif seq > chain.length:
        yield Problem(chain.chain, chain.length + 1, "rows were added behind the head")
    elif head != chain.head:
        yield Problem(chain.chain, seq, "the last row is not the head of the chain")


def _missing(first: int, last: int) -> str:
    return f"row {first} is missing" if first >= last else f"rows {first} to {last} are missing"
