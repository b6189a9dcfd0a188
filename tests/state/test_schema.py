"""The schema of the store, and the handling of errors from SQLite."""

import sqlite3
from pathlib import Path

import pytest

from pipeguard.errors import StateError
from pipeguard.state.schema import NEW_INDEXES, VERSION, create_tables


def test_a_file_gets_its_tables_once(tmp_path: Path) -> None:
    path = tmp_path / "pipeguard.db"
    connection = sqlite3.connect(path, isolation_level=None)
    create_tables(connection, path, 1.0)
    for index in NEW_INDEXES:
        connection.execute(f"DROP INDEX {index.split()[2]}")
    connection.execute(f"PRAGMA user_version = {VERSION - 1}")
    for _ in range(2):
        create_tables(connection, path, 1.0)
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        connection.execute(NEW_INDEXES[0])
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_an_old_sqlite_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = sqlite3.connect(tmp_path / "pipeguard.db", isolation_level=None)
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 31, 0))
    with pytest.raises(StateError, match=r"needs 3\.37"):
        create_tables(connection, tmp_path, 1.0)
    connection.close()


def test_a_file_that_somebody_is_writing_is_waited_for_and_then_told(tmp_path: Path) -> None:
    path = tmp_path / "pipeguard.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("CREATE TABLE t (a)")
    other.execute("BEGIN EXCLUSIVE")
    connection = sqlite3.connect(path, isolation_level=None, timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        create_tables(connection, path, 0.05)
    other.execute("ROLLBACK")
    create_tables(connection, path, 1.0)
    other.close()
    connection.close()
