"""What happened, in chains of rows that each hold the hash of the one before.

Who, when, at which place, with what verdict, and the hash of the frame; never the frame, never
a secret. Knows rows and hashes, not why a verdict was given.

A chain is one run of one process, so that processes do not wait for each other. Its first hash
covers the first hash of the chain that was begun before it, and a table keeps each chain's head
and length. So a row or a chain that is changed, moved or removed is seen, at the end as well. What
was kept for long enough goes as whole chains, the oldest first, and a row says so (retention). The
hashes have no key: who can write the file can write it anew from the first row. Against that,
note the heads that `pipeguard audit verify` prints somewhere else.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeguard.state.store import Store, told

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from pipeguard.core.finding import Finding

FINDINGS_KEPT = 50  # of one verdict, the most serious; a frame can have thousands
TEXT_CHARS = 500  # of a pointer, an excerpt or a note: a peer chooses what stands in them
PRUNED = "retention"  # the kind of a row that says which chains were removed
NAME_CHARS = 200  # of a method or a tool's name: a peer chooses those


class AuditEntry(NamedTuple):
    """What is to be kept of one verdict, or of one approval.

    Attributes:
        time: when it was given (ISO 8601, UTC, to the millisecond).
        client: the client's name and version, or of a refusal its address; or empty.
        direction: `to-server`, `to-client`, or empty.
        kind: what the message is, as `request`; `unreadable`, `refusal`, `approval`, `gap` or
            `retention` for what is none.
        method: the method, or empty.
        tool: the tool, or empty.
        action: `allow`, `warn`, `redact`, `block`, `approve`, `reject`, `forget`
            or `prune`.
        event: the verdict's name, as `K7Q2M9D4.c12`, or empty.
        frame_sha256: SHA-256 of the frame, 64 hex digits; empty where there is none.
        frame_bytes: its length.
        findings: a JSON list of objects.
    """

    time: str
    client: str
    direction: str
    kind: str
    method: str
    tool: str
    action: str
    event: str
    frame_sha256: str
    frame_bytes: int
    findings: str


class AuditRow(NamedTuple):
    """An entry in its chain.

    Attributes:
        chain: the run that it belongs to.
        seq: its number in the chain, from 1.
        server: the server's name.
        entry: what happened.
        prev_hash: the hash of the row before, or the chain's first.
        hash: SHA-256 over all other fields, as an ASCII JSON array without spaces of the strings
            and integers in the order of the table; no other fields have that text.
    """

    chain: str
    seq: int
    server: str
    entry: AuditEntry
    prev_hash: str
    hash: str


class Chain(NamedTuple):
    """One run's chain as the table of chains has it.

    Attributes:
        number: its place among the chains, from 1.
        chain: the run's name.
        server: the server's name.
        started: when it was begun (ISO 8601, UTC).
        previous: the first hash of the chain begun before it, or empty.
        first: SHA-256 over the fields above; the first row's `prev_hash`.
        head: the hash of its last row, or `first`.
        length: how many rows it has.
    """

    number: int
    chain: str
    server: str
    started: str
    previous: str
    first: str
    head: str
    length: int


class Problem(NamedTuple):
    """Something that is not as it was written.

    Attributes:
        chain: in which chain; empty where it is the table of chains.
        seq: at which row, or 0.
        what: what is wrong, in words.
    """

    chain: str
    seq: int
    what: str


class Wanted(NamedTuple):
    """Which rows are asked for; what is empty does not restrict.

    Attributes:
        server: only this server's.
        since: not before this time (ISO 8601, UTC).
        action: only with this action.
        rule: only with a finding of this rule or, without a dot, of this pack.
        event: only this event.
        limit: the newest so many, or 0 for all.
    """

    server: str = ""
    since: str = ""
    action: str = ""
    rule: str = ""
    event: str = ""
    limit: int = 0


def findings_json(findings: Sequence[Finding]) -> str:
    """Findings as they are kept: all but their span, the most serious `FINDINGS_KEPT`."""
    if not findings:
        return "[]"
    kept: list[dict[str, str]] = [
        {
            "rule": finding.rule,
            "place": finding.place,
            "pointer": _cut(finding.pointer),
            "severity": finding.severity.name.lower(),
            "confidence": finding.confidence.name.lower(),
            "action": finding.action.name.lower(),
            "view": finding.view,
            "excerpt": _cut(finding.excerpt),
            "note": _cut(finding.note),
            "tool": (finding.tool or "")[:NAME_CHARS],
        }
        for finding in _most_serious(findings)
    ]
    if len(findings) > FINDINGS_KEPT:
        kept.append({"rule": "audit.more", "note": f"{len(findings) - FINDINGS_KEPT} more"})
    return json.dumps(kept, separators=(",", ":")) if kept else "[]"


def _most_serious(findings: Sequence[Finding]) -> Sequence[Finding]:
    if len(findings) <= FINDINGS_KEPT:
        return findings
    order = sorted(findings, key=lambda one: (-one.action, -one.severity, -one.confidence))
    return order[:FINDINGS_KEPT]


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_CHARS else text[: TEXT_CHARS - 1] + "\N{HORIZONTAL ELLIPSIS}"


class Audit:
    """One chain of a store, to append to.

    Args:
        store: where it is kept.
        chain: the run's name; nobody else appends under it.
        server: the server's name.
        started: when the run began (ISO 8601, UTC).
    """

    def __init__(self, store: Store, chain: str, server: str, started: str) -> None:
        self._store = store
        self._chain = chain
        self._server = server
        self._started = started

    def append_many(self, entries: Iterable[AuditEntry]) -> None:
        """Append to the chain and move its head, in one transaction.

        Raises:
            StateError: the store could not be written; nothing was appended.
        """
        connection = self._store.connection
        with self._store.transaction():
            head, length = self._head(connection)
            rows = []
            for entry in entries:
                length += 1
                row_fields = _fields(self._chain, length, self._server, entry)
                digest = _hash(*row_fields, head)
                rows.append((*row_fields, head, digest))
                head = digest
            connection.executemany(_INSERT, rows)
            connection.execute(
                "UPDATE chains SET head = ?, length = ? WHERE chain = ?",
                (head, length, self._chain),
            )

    def _head(self, connection: sqlite3.Connection) -> tuple[str, int]:
        row = connection.execute(
            "SELECT head, length FROM chains WHERE chain = ?", (self._chain,)
        ).fetchone()
        if row is not None:
            return row[0], row[1]
        before = connection.execute(
            "SELECT number, first FROM chains ORDER BY number DESC LIMIT 1"
        ).fetchone()
        previous = before[1] if before else ""
        number = connection.execute(
            "INSERT INTO chains (chain, server, started, previous, first, head, length)"
            " VALUES (?, ?, ?, ?, '', '', 0)",
            (self._chain, self._server, self._started, previous),
        ).lastrowid
        first = _hash(number, self._chain, self._server, self._started, previous)
        connection.execute(
            "UPDATE chains SET first = ?, head = ? WHERE number = ?", (first, first, number)
        )
        return first, 0


def rows(store: Store, wanted: Wanted) -> Iterator[AuditRow]:
    """Rows, oldest first, read as they are taken.

    Raises:
        StateError: the store cannot be read.
    """
    conditions, values = ["1"], list[str | int]()
    for condition, value in (
        ("server = ?", wanted.server),
        ("time >= ?", wanted.since),
        ("action = ?", wanted.action),
        ("event = ?", wanted.event),
    ):
        if value:
            conditions.append(condition)
            values.append(value)
    if wanted.rule:
        conditions.append(
            "EXISTS (SELECT 1 FROM json_each(findings) WHERE json_extract(value, '$.rule') = ?"
            " OR substr(json_extract(value, '$.rule'), 1, length(?) + 1) = ? || '.')"
        )
        values += [wanted.rule.removesuffix(".*")] * 3  # as a policy names a pack
    values.append(wanted.limit or -1)
    with told(store.path):
        found = store.connection.execute(
            f"SELECT {_COLUMNS} FROM (SELECT * FROM audit WHERE {' AND '.join(conditions)}"  # noqa: S608  constants
            " ORDER BY id DESC LIMIT ?) ORDER BY id",
            values,
        )
        for columns in found:
            yield _row(columns)


def as_fields(row: AuditRow) -> dict[str, object]:
    """A row as one flat object; its findings are parsed."""
    values = (*_fields(row.chain, row.seq, row.server, row.entry), row.prev_hash, row.hash)
    fields: dict[str, object] = dict(zip(_COLUMNS.split(", "), values, strict=True))
    return {**fields, "findings": json.loads(row.entry.findings)}


def chains(store: Store) -> Iterator[Chain]:
    """Every chain, in the order in which they were begun, read as they are taken.

    Raises:
        StateError: the store cannot be read.
    """
    with told(store.path):
        found = store.connection.execute(
            "SELECT number, chain, server, started, previous, first, head, length"
            " FROM chains ORDER BY number"
        )
        for columns in found:
            yield Chain(*columns)


def verify(path: Path) -> list[Problem]:
    """Find every row and chain that is not as it was written.

    Raises:
        StateError: the store cannot be read.
    """
    with Store.open(path) as store, told(path):
        store.connection.execute("BEGIN")  # one state of the file, while others go on writing
        known, before = _without_pruned(store, list(chains(store)))
        problems = list(_verify_chains(store, known, before))
        for chain in known:
            problems += _verify_rows(store, chain)
        orphans = store.connection.execute(
            "SELECT chain, count(*) FROM audit WHERE chain NOT IN (SELECT chain FROM chains)"
            " GROUP BY chain"
        )
        problems += [
            Problem(chain, 0, f"{count} rows of a chain that is not in the table of chains")
            for chain, count in orphans
        ]
    return problems


def _without_pruned(store: Store, known: list[Chain]) -> tuple[list[Chain], Chain]:
    """The chains that are to be there, and what is known of the one before them.

    A chain that was kept for long enough goes with all before it, once a row holds its first
    hash; it goes last. Without such a row the first chain is that with the number 1.
    """
    gone = set()
    for columns in store.connection.execute(
        f"SELECT {_COLUMNS} FROM audit WHERE kind = ?",  # noqa: S608  a constant
        (PRUNED,),
    ):
        row = _row(columns)
        if row.hash == _hash(*columns[:-1]):  # else it proves nothing, and is told as changed
            gone.add(row.entry.frame_sha256)
    while any(chain.first in gone for chain in known):
        known = known[1:]
    number, first = 0, ""
    if known and known[0].previous in gone:
        number, first = known[0].number - 1, known[0].previous
    return known, Chain(number, "", "", "", "", first, "", 0)


def _verify_chains(store: Store, known: list[Chain], before: Chain) -> Iterator[Problem]:
    for chain in known:
        for number in range(before.number + 1, chain.number):
            yield Problem("", number, f"chain number {number} was removed")
        first = _hash(chain.number, chain.chain, chain.server, chain.started, chain.previous)
        if chain.first != first:
            yield Problem(chain.chain, 0, "the chain's own entry was changed")
        elif chain.number == before.number + 1 and chain.previous != before.first:
            yield Problem(chain.chain, 0, "the chain begun before it was replaced")
        before = chain
    begun = store.connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'chains'")
    for number in range(before.number + 1, (begun.fetchone() or (0,))[0] + 1):
        yield Problem("", number, f"chain number {number} was removed")


def _verify_rows(store: Store, chain: Chain) -> Iterator[Problem]:
    seq, head, follows = 0, chain.first, True
    for columns in store.connection.execute(
        f"SELECT {_COLUMNS} FROM audit WHERE chain = ? ORDER BY seq",  # noqa: S608  a constant
        (chain.chain,),
    ):
        row = _row(columns)
        if row.seq != seq + 1:
            yield Problem(chain.chain, seq + 1, _missing(seq + 1, row.seq - 1))
            follows = False
        whole = row.hash == _hash(*columns[:-1])
        if not whole:
            yield Problem(chain.chain, row.seq, f"row {row.seq} was changed or moved")
        elif follows and row.prev_hash != head:
            yield Problem(chain.chain, row.seq, f"row {row.seq} does not follow the row before it")
        # What follows a row that is wrong is not wrong itself: only the first is told.
        seq, head, follows = row.seq, row.hash, whole
    if seq < chain.length:
        yield Problem(chain.chain, seq + 1, _missing(seq + 1, chain.length))
    elif seq > chain.length:
        yield Problem(chain.chain, chain.length + 1, "rows were added behind the head")
    elif head != chain.head:
        yield Problem(chain.chain, seq, "the last row is not the head of the chain")


def _missing(first: int, last: int) -> str:
    return f"row {first} is missing" if first >= last else f"rows {first} to {last} are missing"


_ENTRY = AuditEntry._fields
_COLUMNS = ", ".join(("chain", "seq", _ENTRY[0], "server", *_ENTRY[1:], "prev_hash", "hash"))
_INSERT = f"INSERT INTO audit ({_COLUMNS}) VALUES ({', '.join('?' * (len(_ENTRY) + 5))})"  # noqa: S608  constants


def _fields(chain: str, seq: int, server: str, entry: AuditEntry) -> tuple[str | int, ...]:
    return (
        chain, seq, entry.time, server, entry.client, entry.direction, entry.kind, entry.method,
        entry.tool, entry.action, entry.event, entry.frame_sha256, entry.frame_bytes,
        entry.findings,
    )  # fmt: skip


def _row(columns: Sequence[Any]) -> AuditRow:
    chain, seq, time, server, *entry, prev_hash, digest = columns
    return AuditRow(chain, seq, server, AuditEntry(time, *entry), prev_hash, digest)


def _hash(*fields: object) -> str:
    from pipeguard.core.digest import sha256

    return sha256(_encode(fields).encode("ascii")).hexdigest()


_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
