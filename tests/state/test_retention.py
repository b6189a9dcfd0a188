"""Retention of the audit: the rows that go, those that stay, and proof of the rest."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeguard.errors import StateError
from pipeguard.state import retention
from pipeguard.state.audit import Audit, AuditEntry, AuditFilter, Chain, chains, rows
from pipeguard.state.pins import Store
from pipeguard.state.retention import prune
from pipeguard.state.store import open_store
from pipeguard.state.timestamps import utc_text
from pipeguard.state.verification import verify
from tests.state.test_audit import entry, tamper

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)


def entry_of(days_ago: float) -> AuditEntry:
    return entry()._replace(time=utc_text(NOW - timedelta(days=days_ago)))


def append(path: Path, run: str, *days_ago: float) -> None:
    with open_store(path) as store:
        entries = [entry_of(days) for days in days_ago]
        Audit(store, run, "weather", entries[0].time).append_many(entries)


def kept(path: Path) -> list[str]:
    """Return the remaining chains, without those that record removals."""
    with open_store(path) as store:
        named = [chain.chain for chain in chains(store)]
        found = {row.chain for row in rows(store, AuditFilter())}
    assert set(named) == found
    return [name for name in named if not name.startswith("PRUNE-")]


def pruned(path: Path, keep_days: int = 90, later_days: int = 0) -> int:
    with open_store(path) as store:
        return prune(store, keep_days, NOW + timedelta(days=later_days))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Three runs that ended long ago, a running one, and one of today."""
    path = tmp_path / "pipeguard.db"
    append(path, "OLD1", 120, 110)
    append(path, "OLD2", 119, 118, 117)
    append(path, "OLD3", 100, 91)
    append(path, "LONG", 120, 0)
    append(path, "NEW", 0)
    return path


def test_the_oldest_runs_go_up_to_the_first_that_is_to_be_kept(path: Path) -> None:
    assert pruned(path) == 3
    assert kept(path) == ["LONG", "NEW"]
    assert verify(path) == []


def test_a_row_written_since_with_another_place_in_the_list_is_seen(path: Path) -> None:
    pruned(path)
    append(path, "NEWER", 0, 0)
    assert verify(path) == []
    tamper(path, "UPDATE audit SET id = id + 1 WHERE chain = 'NEWER' AND seq = 2")
    (problem,) = verify(path)
    assert (problem.chain, problem.seq) == ("NEWER", 2)


def test_what_went_is_said_in_a_row(path: Path) -> None:
    pruned(path)
    with open_store(path) as store:
        (row,) = rows(store, AuditFilter(action="prune"))
    assert (row.entry.kind, row.entry.time) == ("retention", utc_text(NOW))
    assert "up to number 3 were removed: kept for 90 days" in row.entry.findings


def test_where_nothing_is_old_nothing_is_written(path: Path) -> None:
    before = path.read_bytes()
    assert pruned(path, keep_days=121) == 0
    assert path.read_bytes() == before
    assert len(kept(path)) == 5


def test_a_row_that_is_as_old_as_may_be_stays(path: Path) -> None:
    assert pruned(path, keep_days=91) == 2


def test_it_goes_on_from_day_to_day(path: Path) -> None:
    pruned(path)
    assert pruned(path) == 0
    assert pruned(path, later_days=91) == 3, "the two that were left, and the row of the first time"
    assert kept(path) == []
    assert verify(path) == []
    append(path, "NEXT", 0)
    assert verify(path) == []


def test_a_run_that_was_silent_for_long_begins_a_chain_anew(path: Path) -> None:
    pruned(path)
    append(path, "OLD2", 0)
    assert kept(path) == ["LONG", "NEW", "OLD2"]
    assert verify(path) == []


@pytest.mark.parametrize("removed", range(3))
@pytest.mark.parametrize("rows_gone", range(3))
def test_an_interruption_leaves_what_can_be_proved_and_ended(
    path: Path, removed: int, rows_gone: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, count = retention._remove, 0

    def some(store: Store, chain: Chain) -> None:
        nonlocal count
        if count == removed:
            store.connection.execute(
                "DELETE FROM audit WHERE chain = ? AND seq <= ?", (chain.chain, rows_gone)
            )
            raise StateError("the disk is full")
        count += 1
        whole(store, chain)

    with monkeypatch.context() as patch:
        patch.setattr(retention, "_remove", some)
        with pytest.raises(StateError):
            pruned(path)
    assert verify(path) == []
    assert pruned(path) == 3 - removed
    assert kept(path) == ["LONG", "NEW"]
    assert verify(path) == []


def test_many_rows_go_piece_by_piece(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PIECE_ROWS", 1)
    assert pruned(path) == 3
    assert kept(path) == ["LONG", "NEW"]


def what(path: Path) -> list[str]:
    return [problem.what for problem in verify(path)]


def remove(path: Path, chain: str) -> None:
    for table in ("audit", "chains"):
        tamper(path, f"DELETE FROM {table} WHERE chain = '{chain}'")  # noqa: S608  our own words


def test_a_chain_that_went_with_those_of_age_is_missed(path: Path) -> None:
    pruned(path)
    remove(path, "LONG")
    assert what(path) == [f"chain number {number} was removed" for number in range(1, 5)]


def test_a_row_that_was_changed_excuses_nothing(path: Path) -> None:
    pruned(path)
    tamper(path, "UPDATE audit SET frame_bytes = 7 WHERE kind = 'retention'")
    assert "chain number 3 was removed" in what(path)
    assert "row 1 was changed or moved" in what(path)
