"""Runs of one process write their verdicts in one thread, and none for another's loss."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeguard.errors import StateError
from pipeguard.firewall.pins.fingerprint import Pin
from pipeguard.state import database
from pipeguard.state import recorder as recorder_module
from pipeguard.state.audit import AuditFilter, rows
from pipeguard.state.missing import MissingVerdicts, read_notes, write_note
from pipeguard.state.pins import Store
from pipeguard.state.recorder import Recorder
from pipeguard.state.store import open_store
from pipeguard.state.verification import verify
from tests.state.conftest import wait_until_written
from tests.state.samples import seen, silent, verdict

SERVERS = ("weather", "mail", "files")


@pytest.fixture
def recorders(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Recorder]]:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    recorders = [Recorder(path, server, server.upper(), log=silent) for server in SERVERS]
    for recorder in recorders:  # the first rows of a run are written by themselves
        recorder.record(verdict())
        assert wait_until_written(recorder)
    yield recorders
    for recorder in recorders:
        recorder.close()


def count_rows(path: Path, kind: str = "request") -> dict[str, int]:
    with open_store(path) as store:
        kept = [row for row in rows(store, AuditFilter()) if row.entry.kind == kind]
    return {server: sum(row.server == server for row in kept) for server in SERVERS}


def record(recorders: list[Recorder]) -> None:
    for recorder in recorders:
        recorder.record(verdict())


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "recorder"]


def test_runs_of_a_process_share_a_thread_to_the_end(path: Path, recorders: list[Recorder]) -> None:
    (thread,) = threads()
    for number in range(1, 100):
        recorders[number % 3].record(verdict(f"{number}", pins=(seen(),) * (number % 7 == 0)))
    recorders[0].close()
    assert threads() == [thread]
    for recorder in recorders[1:]:
        recorder.close()
    thread.join(10)
    assert not threads()
    assert count_rows(path) == dict.fromkeys(SERVERS, 34)
    assert verify(path) == []


def test_rows_of_several_runs_are_one_transaction(
    path: Path, recorders: list[Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "BATCH_SECONDS", 60)
    assert all([*map(wait_until_written, recorders)])  # it waits that long from the next round on
    with open_store(path) as other:
        before = other.change_counter()
        record(recorders)
        wait_until_written(recorders[0])
        assert count_rows(path) == dict.fromkeys(SERVERS, 2)
        assert other.change_counter() == before + 1


def test_an_unwritable_row_costs_no_other_runs_rows(path: Path, recorders: list[Recorder]) -> None:
    for recorder in recorders:
        recorder.record(verdict(frame=b"{}"))
    recorders[1].record(verdict("\ud800"))
    record(recorders)
    assert all([*map(wait_until_written, recorders)])
    assert count_rows(path) == dict.fromkeys(SERVERS, 3)
    assert count_rows(path, "gap") == {"weather": 0, "mail": 1, "files": 0}
    assert verify(path) == []


def test_the_next_run_starts_a_missing_thread(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError(thread.name)

    first, second = (Recorder(path, server, server.upper(), log=silent) for server in SERVERS[:2])
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            first.record(verdict())
    first.close()
    second.record(verdict())
    assert wait_until_written(second)
    second.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_run_that_begins_while_the_thread_dies_is_unhealthy_and_the_next_one_is_not(
    path: Path, recorders: list[Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    (thread,) = threads()
    late = Recorder(path, "late", "LATE", log=silent)
    lock = recorders[0]._thread._lock

    class BeginningLate:
        """A lock that another run takes first."""

        def __enter__(self) -> None:
            recorders[0]._thread._lock = lock
            late.start()
            lock.acquire()

        def __exit__(self, *exc: object) -> None:
            lock.release()

    def die(recorder: Recorder) -> bool:
        recorder._thread._lock = BeginningLate()  # type: ignore[assignment]
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "begin_round", die)
        thread.join(10)
    assert not any(recorder.healthy for recorder in [*recorders, late])
    late.close()
    following = Recorder(path, "weather", "NEXT", log=silent)
    following.record(verdict())
    assert wait_until_written(following)
    following.close()


def test_a_store_that_cannot_be_read_costs_all_runs_one_wait(
    recorders: list[Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, reading = list[Store](), threading.Event()

    def fail(store: Store) -> int:
        reads.append(store)
        reading.set()
        raise StateError("locked")

    monkeypatch.setattr(recorder_module, "RETRY_SECONDS", 60)
    monkeypatch.setattr(Store, "change_counter", fail)
    assert reading.wait(10)
    while any(recorder.healthy for recorder in recorders):
        pass
    assert len(reads) == 1


def test_pins_that_cannot_be_read_cost_no_other_run_its_rows(
    path: Path, recorders: list[Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    pins = Store.pins

    def read(store: Store, server: str) -> dict[tuple[str, str], Pin]:
        if server == "mail":
            raise StateError("not UTF-8")
        return pins(store, server)

    monkeypatch.setattr(Store, "pins", read)
    path.unlink()  # all runs read their pins again
    record(recorders)
    assert [*map(wait_until_written, recorders)] == [True, False, True]
    assert count_rows(path) == {"weather": 1, "mail": 0, "files": 1}


def test_what_an_earlier_run_lost_is_told_once(path: Path) -> None:
    open_store(path).close()
    when = "2026-01-01T00:00:00.000Z"
    write_note(path, MissingVerdicts("OLD", "mail", 7, when, when, is_over=True))
    recorders = [Recorder(path, server, server.upper(), log=silent) for server in SERVERS]
    record(recorders)
    assert all([*map(wait_until_written, recorders)])
    for recorder in recorders:
        recorder.close()
    assert sum(count_rows(path, "gap").values()) == 1
    assert not read_notes(path)
