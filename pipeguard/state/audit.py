"""The audit: events in chains of rows that each contain the hash of the row before.

A row has client, time, place and verdict, and the hash of the frame; of one that was stopped, the
part that a person decides about; never a secret. Knows rows and hashes, not the reasons of a
verdict.

A chain is one run of one process, so that processes do not wait for each other. Its first hash
covers the first hash of the chain begun before it, and a table has each chain's head and length. So
a row or chain that is changed, moved or removed is noticed, at the end of a chain too
(`verification`). No hash covers a row's id, its place among all chains: ids have no gaps. Rows past
their retention are removed as whole chains, the oldest first, and a row says so (`retention`). The
hashes have no key: anyone who can write the file can rewrite it from the first row. Against that,
keep the heads that `pipeguard audit verify` prints in another place.
"""

from __future__ import annotations

import itertools
import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from pipeguard.errors import StateError
from pipeguard.firewall.finding import SHOWN, Finding, worst_first
from pipeguard.records import NamedTuple
from pipeguard.state import row_conditions, row_filter, timestamps
from pipeguard.state.schema import IS_NOTICED, IS_TO_DECIDE, MAX_NAME_CHARS
from pipeguard.state.sealed_texts import open_texts, write_findings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pipeguard.state.pins import Store

_IS_PING = "method = 'ping' AND action = 'allow'"
# A row may be written after so many newer rows of other processes: each writes batches.
LATE_ROWS = 1_000
MOST_CHAINS = 2**32 - 1  # of a replica; in a file, what is above in a number is the replica's
FINDINGS_KEPT = 50  # of one verdict, the most serious; a frame can have thousands
TEXT_CHARS = 500  # of a pointer, an excerpt or a note: a peer chooses their contents
DAMAGED = "audit.damaged"  # replaces findings that PipeGuard did not write
PRUNED = "retention"  # the kind of a row that says which chains were removed


class AuditEntry(NamedTuple):
    """The audit row of one verdict, or of one approval.

    Attributes:
        time: when it was given (ISO 8601, UTC, to the millisecond).
        client: the client's name and version; for a refusal, its address; for a decision, who made
            it, as `ada, on the page`; or empty.
        direction: `to-server`, `to-client`, or empty.
        kind: of the message, as `request`; without a message: `unreadable`, `refusal`, `notice`,
            `connection`, `approval`, `proposal`, `gap` or `retention`.
        method: the method, or empty; for a connection, its kind and target, as `connect
            api.example.com:443`.
        tool: the tool, or empty.
        action: `allow`, `warn`, `redact`, `cut`, `block`, `approve`, `reject`, `forget`,
            `revoke`, `propose`, `withdraw`, `refuse`, `dismiss`, `undo` or `prune`.
        event: the verdict's name, as `K7Q2M9D4.c12`; for a decision, the name of the verdict
            decided on; or empty.
        frame_sha256: HMAC-SHA-256 of the frame with the installation's key, 64 hex digits: a short
            frame could else be guessed. For a decision, the fingerprint of the definition. Or
            empty.
        frame_bytes: its length; for a connection, the bytes that the server received.
        findings: a JSON list of objects.
        token: the name of the client's bearer token, or None.
        request_bytes: for the answer to a request, the length of the request; for a connection, the
            bytes that the server sent; else None.
        duration_ms: for the same rows, the milliseconds from request to answer, or of the
            connection.
    """

    time: str
    client: str = ""
    direction: str = ""
    kind: str = ""
    method: str = ""
    tool: str = ""
    action: str = ""
    event: str = ""
    frame_sha256: str = ""
    frame_bytes: int = 0
    findings: str = "[]"
    token: str | None = None
    request_bytes: int | None = None
    duration_ms: float | None = None


class AuditRow(NamedTuple):
    """An entry in its chain.

    Attributes:
        chain: the run that it belongs to.
        seq: its number in the chain, from 1.
        prev_hash: the hash of the row before, or the chain's first.
        hash: SHA-256 over all other fields, written as an ASCII JSON array without spaces, in the
            order of `COLUMNS`; no other fields give the same text. The last three fields of the
            entry are left out if all are None, as in rows older than they are.
    """

    chain: str
    seq: int
    server: str
    entry: AuditEntry
    prev_hash: str
    hash: str


class Chain(NamedTuple):
    """One run's chain, as in the table of chains.

    Attributes:
        number: its position among the chains, from 1.
        chain: the run's name.
        started: when it began (ISO 8601, UTC).
        previous: the first hash of the chain begun before it, or empty.
        first: SHA-256 over the fields above; the first row's `prev_hash`.
        head: the hash of its last row, or `first`.
        length: how many rows it has.
        replica: that began it; chains are numbered for each.
    """

    number: int
    chain: str
    server: str
    started: str
    previous: str
    first: str
    head: str
    length: int
    replica: str | int = 0


LOOSENED = "audit.loosened"  # of a run whose new policy stops less than the one before
UNSHARED = "audit.unshared"  # of a run that follows only its own flows: a file failed


class AuditFilter(NamedTuple):
    """A selection of rows; an empty field does not restrict them.

    Attributes:
        server: only this server's.
        since: not before this time (ISO 8601, UTC).
        action: only with this action.
        rule: only with a finding of this rule or, without a dot, of this pack.
        event: only this event.
        token: only of clients with this token.
        would: only with a finding that would have had this action, or `any` more, with
            `mode: enforce`.
        note: only with findings that have this text.
        limit: at most this many, the newest; 0 for all.
        pings: False without pings that passed.
        is_stopped: only rows that stopped or changed something, or kept a file from an isolated
            server; an index finds them.
        from_event: only from the row of this event on.
        chain: only of this run.
    """

    server: str = ""
    since: str = ""
    action: str = ""
    rule: str = ""
    event: str = ""
    token: str = ""
    would: str = ""
    note: str = ""
    limit: int = 0
    pings: bool = True
    is_stopped: bool = False
    from_event: str = ""
    chain: str = ""


def find_loosened(store: Store) -> str:
    """The last time in 24 hours that a policy came into force which stops less; else empty.

    Raises:
        StateError: the store cannot be read.
    """
    condition = "WHERE action = 'warn' AND kind = 'notice' AND time >= ? AND instr(findings, ?) > 0"
    values = (timestamps.parse_moment("1d"), f'"rule":"{LOOSENED}"')
    return next((time for (time,) in select(store, "max(time)", condition, values)), None) or ""


def findings_json(findings: Sequence[Finding]) -> str:
    """The most serious `FINDINGS_KEPT` findings as JSON, without their spans."""
    if not findings:
        return "[]"
    fields: list[dict[str, str]] = [
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
            "tool": (finding.tool or "")[:MAX_NAME_CHARS],
            **{
                key: value
                for key in ("content", "path", "host", "call", *SHOWN)
                if (value := getattr(finding, key))
            },
            **({"steps": "; ".join(finding.steps)} if finding.steps else {}),
            **({"length": str(length)} if (length := finding.end - finding.start) > 0 else {}),
            **({} if finding.would is None else {"would": finding.would.name.lower()}),
        }
        for finding in worst_first(findings)[:FINDINGS_KEPT]
    ]
    if len(findings) > FINDINGS_KEPT:
        fields.append({"rule": "audit.more", "note": f"{len(findings) - FINDINGS_KEPT} more"})
    return write_findings(fields)


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_CHARS else text[: TEXT_CHARS - 1] + "\N{HORIZONTAL ELLIPSIS}"


class Audit:
    """One chain of a store, to append to.

    Args:
        store: the store.
        chain: the run's name; no other run appends under it.
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
        with self._store.transaction():
            entries = list(entries)
            self._store.prepare_days(entry.time for entry in entries)
            head, length = self._head()
            rows = []
            for entry in entries:
                length += 1
                row_fields = _fields(self._chain, length, self._server, entry)
                digest = hash_of_row((*row_fields, head))
                rows.append((*row_fields, head, digest))
                head = digest
            self._store.write_many(_INSERT, rows)
            self._store.write(
                "UPDATE chains SET head = ?, length = ? WHERE chain = ?",
                *(head, length, self._chain),
            )

    def _head(self) -> tuple[str, int]:
        store = self._store
        for head, length in store.read(
            "SELECT head, length FROM chains WHERE chain = ?", self._chain
        ):
            return head, length
        ((number, replica),) = store.read(
            "INSERT INTO chains (chain, server, started, previous, first, head, length)"  # noqa: S608  a constant
            f" VALUES (?, ?, ?, '', '', '', 0) RETURNING number, {store.REPLICA}",
            *(self._chain, self._server, self._started),
        )
        before = store.read(
            f"SELECT first FROM chains WHERE {store.REPLICA} = ? AND number < ?"  # noqa: S608  a constant
            " ORDER BY number DESC LIMIT 1",
            *(replica, number),
        )
        previous = before[0][0] if before else ""
        names = (self._chain, self._server, self._started)
        first = hash_row(number & MOST_CHAINS, *names, previous)
        store.write(
            "UPDATE chains SET previous = ?, first = ?, head = ? WHERE chain = ?",
            *(previous, first, first, self._chain),
        )
        return first, 0


def rows(store: Store, where: AuditFilter, *, by_time: bool = False) -> Iterator[AuditRow]:
    """Read rows, oldest first, as the caller takes them.

    Args:
        store: the store.
        where: which rows.
        by_time: in the order of their times; False for the order in which they were written.

    Raises:
        StateError: the store cannot be read.
    """
    condition, values = _conditions(where)
    values += [where.limit + LATE_ROWS if where.limit and by_time else where.limit or -1]
    values.append(where.limit or -1)
    latest, order = ("time DESC, id DESC", "time, id") if by_time else ("id DESC", "id")
    newest = f"(SELECT * FROM audit WHERE {condition} ORDER BY id DESC LIMIT ?) AS late"  # noqa: S608  constants
    newest = f"(SELECT * FROM {newest} ORDER BY {latest} LIMIT ?) AS newest"  # noqa: S608  constants
    yield from map(make_row, select(store, COLUMNS, f"ORDER BY {order}", values, newest))


def select(
    store: Store, columns: str, condition: str, values: Sequence[object] = (), table: str = "audit"
) -> Iterator[tuple[Any, ...]]:
    """Read columns of rows of the audit, as the caller takes them.

    Args:
        store: the store.
        columns: in SQL.
        condition: in SQL, with WHERE or ORDER BY.
        values: of the condition.
        table: of the audit, or a selection of it.

    Raises:
        StateError: the store cannot be read.
    """
    return store.stream(f"SELECT {columns} FROM {table} {condition}", values)  # noqa: S608  constants


# By field of a filter, the condition; every `?` is the value.
_CONDITIONS = {
    "since": "time >= ?",
    "action": "action = ?",
    "event": "event = ?",
    "token": "token = ?",
    "chain": "chain = ?",
    "from_event": "id >= (SELECT min(id) FROM audit WHERE event = ? AND event <> '')",
    "note": f"{IS_NOTICED} AND instr(findings, ?) > 0",
    "is_stopped": IS_TO_DECIDE,
    # Servers that a person calls so, even if another server has the name.
    "server": "server IN (SELECT ? UNION SELECT server FROM servers WHERE name = ?)",
    "rule": row_conditions.HAS_RULE,
    "would": row_conditions.HAS_WOULD,
}


def _conditions(where: AuditFilter) -> tuple[str, list[str | int]]:
    """The condition of a selection in SQL, and its values."""
    event = row_filter.spell_event(where.event) or where.event
    where = where._replace(event=event, rule=where.rule.removesuffix(".*"))  # as a policy names it
    conditions = ["TRUE" if where.pings else f"NOT ({_IS_PING})"]
    values = list[str | int]()
    for field, condition in _CONDITIONS.items():
        if value := getattr(where, field):
            conditions.append(condition)
            values += [value] * condition.count("?")
    return " AND ".join(conditions), values


def as_fields(row: AuditRow) -> dict[str, Any]:
    """A row as one flat object, its findings parsed."""
    values = (*_fields(row.chain, row.seq, row.server, row.entry), row.prev_hash, row.hash)
    fields = dict(zip(COLUMNS.split(", "), values, strict=True))
    return {**fields, "findings": parse_findings(row.entry)}


def parse_findings(entry: AuditEntry) -> list[dict[str, str]]:
    """The findings of a row, as `findings_json` wrote them.

    Raises:
        StateError: PipeGuard did not write them.
    """
    try:
        findings = json.loads(entry.findings)
    except (ValueError, RecursionError):
        findings = None
    if not isinstance(findings, list) or not all(map(_is_finding, findings)):
        raise StateError(
            f"the row of {entry.time} is damaged: its findings are not valid.\n"
            "  Check what else was changed:  pipeguard audit verify"
        )
    return [*map(open_texts, findings)]


def list_findings(entry: AuditEntry) -> list[dict[str, str]]:
    """The findings of a row in a list; a damaged row does not stop the list."""
    try:
        return parse_findings(entry)
    except StateError:
        return [{"rule": DAMAGED}]


def _is_finding(value: object) -> bool:
    return (
        isinstance(value, dict)
        and "rule" in value
        and all(isinstance(text, str) for text in value.values())
    )


def chains(store: Store) -> Iterator[Chain]:
    """Read every chain, those of each replica oldest first, as the caller takes them.

    Raises:
        StateError: the store cannot be read.
    """
    columns = ", ".join((f"number & {MOST_CHAINS}", *Chain._fields[1:-1], store.REPLICA))
    order = f"ORDER BY {store.REPLICA}, number"
    return itertools.starmap(Chain, select(store, columns, order, table="chains"))


_ENTRY = AuditEntry._fields
COLUMNS = ", ".join(("chain", "seq", _ENTRY[0], "server", *_ENTRY[1:], "prev_hash", "hash"))
_INSERT = f"INSERT INTO audit ({COLUMNS}) VALUES ({', '.join('?' * (len(_ENTRY) + 5))})"  # noqa: S608  constants


def _fields(chain: str, seq: int, server: str, entry: AuditEntry) -> tuple[object, ...]:
    return (chain, seq, entry[0], server, *entry[1:])


def make_row(columns: Sequence[Any]) -> AuditRow:
    """The row with these values, in the order of `COLUMNS`."""
    chain, seq, time, server, *entry, prev_hash, digest = columns
    return AuditRow(chain, seq, server, AuditEntry(time, *entry), prev_hash, digest)


def hash_of_row(columns: Sequence[object]) -> str:
    """The hash of a row, by its values in the order of `COLUMNS` without the hash itself."""
    *fields, token, request_bytes, duration_ms, prev_hash = columns
    if token is None and request_bytes is None and duration_ms is None:
        return hash_row(*fields, prev_hash)
    return hash_row(*fields, token, request_bytes, duration_ms, prev_hash)


def hash_row(*fields: object) -> str:
    """SHA-256 over fields as `AuditRow.hash` describes, in hexadecimal."""
    return sha256(_encode(fields).encode("ascii")).hexdigest()


_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


# --- decisions --------------------------------------------------------------------------
# Decisions of a person, as entries.


def decision_entry(
    action: str, *, note: str, by: str, moment: str = "", **words: str
) -> AuditEntry:
    """A decision about a server as an entry of the audit.

    Args:
        action: as in `approve`.
        note: the subject of the decision, and the reason.
        by: who decided, as `ada, on the page`.
        moment: when (ISO 8601, UTC); empty for now.
        words: further fields: the `excerpt` that the person was shown, the time `until` which it
            holds.
    """
    finding = {"rule": f"trust.{DONE[action]}", "note": note, **words}
    by = by[:MAX_NAME_CHARS]
    time = moment or timestamps.now_text()
    findings = write_findings([finding])
    return AuditEntry(time, by, "", "approval", "server", action=action, findings=findings)


def record_decision(store: Store, server: str, *entries: AuditEntry) -> None:
    """Append decisions about a server to the audit, in a chain of their own."""
    import secrets  # imports at the top delay a server's start

    chain = f"{entries[0].action.upper()}-{secrets.token_hex(8).upper()}"
    Audit(store, chain, server, entries[0].time).append_many(entries)


_REGULAR = ("create", "allow", "approve", "reject", "refuse", "revoke", "propose", "dismiss")
DONE = {action: f"{action.removesuffix('e')}ed" for action in _REGULAR}
DONE |= {"rotate": "exchanged", "forget": "forgotten", "withdraw": "withdrawn", "undo": "undone"}
