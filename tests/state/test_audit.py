"""The chains of the audit: the content of a row, and no tampering goes unnoticed."""

# ruff: noqa: S608
# the statements are put together from this file's own words

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeguard.errors import StateError
from pipeguard.state.audit import (
    FINDINGS_KEPT,
    Audit,
    AuditEntry,
    AuditFilter,
    chains,
    findings_json,
    rows,
)
from pipeguard.state.store import open_store
from pipeguard.state.verification import verify
from tests.state.samples import FINDING, audit_entry


def entry(i: int = 0, action: str = "allow", findings: str = "[]") -> AuditEntry:
    times = {"time": f"2026-03-02T10:00:{i:02d}.000Z", "client": "editor 1.0"}
    frame = {"frame_sha256": f"{i:064x}", "frame_bytes": i}
    return audit_entry(f"RUN.c{i}", action=action, findings=findings, **times, **frame)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two runs, each with ten rows in batches of five, interleaved."""
    path = tmp_path / "pipeguard.db"
    with open_store(path) as store:
        runs = [Audit(store, f"RUN{i}", "weather", "2026-03-02T10:00:00Z") for i in range(2)]
        for batch in range(2):
            for run in runs:
                run.append_many(entry(5 * batch + i) for i in range(5))
    return path


def test_an_untouched_audit_has_no_problems(path: Path) -> None:
    assert verify(path) == []
    with open_store(path) as store:
        assert [(chain.chain, chain.length) for chain in chains(store)] == [
            ("RUN0", 10),
            ("RUN1", 10),
        ]
        found = list(rows(store, AuditFilter()))
    assert [row.entry for row in found if row.chain == "RUN0"] == [entry(i) for i in range(10)]
    assert [row.seq for row in found if row.chain == "RUN1"] == list(range(1, 11))


def test_an_empty_audit_has_no_problems(tmp_path: Path) -> None:
    assert verify(tmp_path / "pipeguard.db") == []


COLUMNS = [*AuditEntry._fields, "server", "prev_hash", "hash"]
ROW_4 = "chain = 'RUN0' AND seq = 4"
CHAIN_0 = "chain = 'RUN0'"


def tamper(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


@pytest.mark.parametrize("column", COLUMNS)
def test_any_changed_field_is_seen_at_its_row(path: Path, column: str) -> None:
    tamper(path, f"UPDATE audit SET {column} = 7 WHERE {ROW_4}")
    problems = verify(path)
    assert (problems[0].chain, problems[0].seq) == ("RUN0", 4)
    assert problems[0].what == "row 4 was changed or moved"


@pytest.mark.parametrize("column", ["token", "request_bytes", "duration_ms"])
def test_what_a_call_cost_cannot_be_removed_unseen(path: Path, column: str) -> None:
    with open_store(path) as store:
        measured = entry(10)._replace(token="ci", request_bytes=7, duration_ms=1.5)
        Audit(store, "RUN0", "weather", "").append_many([measured])
        assert list(rows(store, AuditFilter(token="ci")))[-1].entry == measured
    assert verify(path) == []
    tamper(path, f"UPDATE audit SET {column} = NULL WHERE {CHAIN_0} AND seq = 11")
    assert [p.what for p in verify(path)] == ["row 11 was changed or moved"]


@pytest.mark.parametrize("place", ["-7", "0", "id + 1000", "(SELECT max(id) + 2 FROM audit)"])
@pytest.mark.parametrize("seq", [1, 4, 10])
def test_a_row_with_another_place_in_the_list_is_seen(path: Path, place: str, seq: int) -> None:
    tamper(path, f"UPDATE audit SET id = {place} WHERE {CHAIN_0} AND seq = {seq}")
    (problem,) = verify(path)
    assert "or of the row listed before it, was changed" in problem.what


IN = "UPDATE audit SET chain = 'RUN0' WHERE chain = 'RUN1' AND seq = 4"
OUT = f"DELETE FROM audit WHERE {ROW_4}"
CUT = f"DELETE FROM audit WHERE {CHAIN_0} AND seq > 8"
SEEN = {  # what is done to the file, and what is told of it
    OUT: ["RUN0 4: row 4 is missing"],
    f"""{OUT};
    UPDATE audit SET seq = -seq WHERE {CHAIN_0} AND seq > 4;
    UPDATE audit SET seq = -seq - 1 WHERE {CHAIN_0} AND seq < 0;
    UPDATE chains SET length = 9 WHERE {CHAIN_0}""": ["RUN0 4: row 4 was changed or moved"],
    f"""UPDATE audit SET seq = -1 WHERE {ROW_4};
    UPDATE audit SET seq = 4 WHERE {CHAIN_0} AND seq = 5;
    UPDATE audit SET seq = 5 WHERE {CHAIN_0} AND seq = -1""": ["RUN0 4: ", "RUN0 5: "],
    CUT: ["RUN0 9: rows 9 to 10 are missing"],
    f"{CUT}; UPDATE chains SET length = 8 WHERE {CHAIN_0}": ["the last row is not the head"],
    f"{OUT}; {IN}": ["RUN0 4", "RUN1 4"],
    f"""INSERT INTO audit (chain, seq, {", ".join(COLUMNS)}) SELECT chain, 11, {", ".join(COLUMNS)}
    FROM audit WHERE {CHAIN_0} AND seq = 10""": ["rows were added behind the head"],
    **{
        f"DELETE FROM audit WHERE chain = 'RUN{n}'; DELETE FROM chains WHERE chain = 'RUN{n}'": [
            f"chain number {n + 1} was removed"
        ]
        for n in range(2)
    },
    f"DELETE FROM chains WHERE {CHAIN_0}": [
        "10 rows of a chain that is not in the table of chains"
    ],
    **{
        f"UPDATE chains SET {column} = 'x' WHERE {CHAIN_0}": ["the chain's own entry was changed"]
        for column in ("server", "started", "previous", "first")
    },
}


@pytest.mark.parametrize(("statements", "told"), SEEN.items())
def test_what_is_done_to_a_chain_is_seen(path: Path, statements: str, told: list[str]) -> None:
    tamper(path, *statements.split(";"))
    problems = [f"{problem.chain} {problem.seq}: {problem.what}" for problem in verify(path)]
    for wanted in told:
        assert any(wanted in problem for problem in problems), problems


def test_a_failed_append_leaves_the_chain_as_it_was(path: Path) -> None:
    with open_store(path) as store:
        (pages,) = store.connection.execute("PRAGMA page_count").fetchone()
        store.connection.execute(f"PRAGMA max_page_count = {pages}")
        audit = Audit(store, "RUN0", "weather", "")
        with pytest.raises(StateError, match="disk is full"):
            audit.append_many(entry(i, findings="[" + " " * 9000 + "]") for i in range(50))
    assert verify(path) == []


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        (AuditFilter(limit=3), lambda e: e.event in {"RUN.c7", "RUN.c8", "RUN.c9"}),
        (AuditFilter(action="block"), lambda e: e.action == "block"),
        (AuditFilter(since="2026-03-02T10:00:05"), lambda e: e.frame_bytes >= 5),
        (AuditFilter(event="RUN.c3"), lambda e: e.event == "RUN.c3"),
        (AuditFilter(rule="secrets.aws-access-key-id"), lambda e: e.action == "block"),
        (AuditFilter(rule="secrets.*"), lambda e: e.action == "block"),
        (AuditFilter(rule="secret"), lambda e: False),
        (AuditFilter(server="weather", rule="%"), lambda e: False),
    ],
)
def test_rows_are_found_by_what_is_wanted(
    tmp_path: Path, wanted: AuditFilter, matches: Callable[[AuditEntry], bool]
) -> None:
    blocked = findings_json((FINDING,))
    entries = [entry(i) if i % 2 else entry(i, "block", blocked) for i in range(10)]
    with open_store(tmp_path / "pipeguard.db") as store:
        Audit(store, "RUN", "weather", "").append_many(entries)
        found = [row.entry for row in rows(store, wanted)]
    assert found == [e for e in entries if matches(e)]


def test_findings_are_kept_with_all_but_their_span() -> None:
    assert json.loads(findings_json((FINDING,))) == [
        {
            "rule": "secrets.aws-access-key-id",
            "place": "call.arguments",
            "pointer": "/params/arguments/key",
            "severity": "high",
            "confidence": "high",
            "action": "block",
            "view": "text",
            "excerpt": "AKIA****************",
            "note": "",
            "tool": "get_forecast",
        }
    ]
    assert findings_json(()) == "[]"


def test_of_very_many_findings_the_first_are_kept_and_the_rest_counted() -> None:
    kept = json.loads(findings_json((FINDING,) * (FINDINGS_KEPT + 7)))
    assert len(kept) == FINDINGS_KEPT + 1
    assert kept[-1] == {"rule": "audit.more", "note": "7 more"}
