"""The form of the store's file, and what is done where SQLite cannot give it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from pipeguard.errors import StateError
from pipeguard.state import review
from pipeguard.state.audit import Audit, AuditFilter, hash_row, rows
from pipeguard.state.schema import MIGRATIONS, migrate
from pipeguard.state.store import Store
from pipeguard.state.verification import verify
from tests.state.samples import held, seen


def test_a_file_is_brought_to_this_version_once(tmp_path: Path) -> None:
    path = tmp_path / "pipeguard.db"
    connection = sqlite3.connect(path, isolation_level=None)
    migrate(connection, path, 1.0)
    migrate(connection, path, 1.0)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_rows_of_an_older_version_keep_their_hashes_and_new_ones_follow_them(
    tmp_path: Path,
) -> None:
    path = tmp_path / "pipeguard.db"
    connection = sqlite3.connect(path, isolation_level=None)
    for statements in MIGRATIONS[:3]:
        for statement in statements:
            connection.execute(statement)
    connection.execute("PRAGMA user_version = 3")
    # As that version wrote them.
    fields = ("OLD", 1, "2026-03-02T10:00:00.000Z", "weather", "editor 1", "to-server", "request")
    more = ("tools/call", "get_forecast", "allow", "OLD.c1", "0" * 64, 2, "[]")
    first = hash_row(1, "OLD", "weather", "2026-03-02T10:00:00.000Z", "")
    head = hash_row(*fields, *more, first)
    connection.execute(
        "INSERT INTO chains VALUES (1, 'OLD', 'weather', '2026-03-02T10:00:00.000Z', '', ?, ?, 1)",
        (first, head),
    )
    connection.execute(
        "INSERT INTO audit VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*fields, *more, first, head),
    )
    connection.close()
    path.chmod(0o600)
    assert verify(path) == []
    with Store.open(path) as store:
        (old,) = rows(store, AuditFilter())
        assert (old.entry.token, old.entry.request_bytes, old.entry.duration_ms) == (None,) * 3
        measured = old.entry._replace(token="ci", request_bytes=7, duration_ms=1.25)
        Audit(store, "OLD", "weather", "").append_many([old.entry, measured])
    assert verify(path) == []


def test_pins_of_an_older_version_are_approved_as_far_as_the_audit_says(tmp_path: Path) -> None:
    path = tmp_path / "pipeguard.db"
    names = ("approved", "changed", "forgotten", "seen")
    with Store.open(path) as store:
        definitions = [{"name": name, "description": "x"} for name in names]
        store.remember("weather", [held(each, "review") for each in definitions[:3]])
        review.approve(store, review.held_definitions(store), "kim")
        review.forget(store, review.stored_definitions(store, "weather/forgotten"), "kim")
        store.remember("weather", [seen(each) for each in definitions[2:]])
        store.connection.execute(
            "UPDATE pins SET approved_fingerprint = 'other' WHERE name = 'changed'"
        )
        store.connection.execute("ALTER TABLE pins DROP COLUMN is_reviewed")
        store.connection.execute("DROP TABLE grants")
        store.connection.execute("DROP TABLE dismissals")
        store.connection.execute("DROP INDEX audit_stopped")
        store.connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) - 5}")
    with Store.open(path) as store:
        pins = store.pins("weather")
        assert {name for _, name in pins if pins["tool", name].is_reviewed} == {"approved"}


def test_an_old_sqlite_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = sqlite3.connect(tmp_path / "pipeguard.db", isolation_level=None)
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 31, 0))
    with pytest.raises(StateError, match=r"needs 3\.37"):
        migrate(connection, tmp_path, 1.0)
    connection.close()


def test_a_file_that_somebody_is_writing_is_waited_for_and_then_told(tmp_path: Path) -> None:
    path = tmp_path / "pipeguard.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("CREATE TABLE t (a)")
    other.execute("BEGIN EXCLUSIVE")
    connection = sqlite3.connect(path, isolation_level=None, timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        migrate(connection, path, 0.05)
    other.execute("ROLLBACK")
    migrate(connection, path, 1.0)
    other.close()
    connection.close()
