"""Verdicts on their way to the store: in order, in bounded memory, through every failure."""

import errno
import gc
import hmac
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast
from unittest.mock import Mock

import pytest

from pipeguard import Action, Direction, PipeGuardError, Severity, Verdict
from pipeguard.config import atomic_write
from pipeguard.firewall.pins.fingerprint import Pin
from pipeguard.state import database
from pipeguard.state import recorder as recorder_module
from pipeguard.state.audit import AuditFilter, AuditRow, chains, rows
from pipeguard.state.contents_key import KEY_NAME
from pipeguard.state.exceptions import find_event
from pipeguard.state.finding_log import FindingLog
from pipeguard.state.missing import read_notes
from pipeguard.state.recorder import Recorder
from pipeguard.state.store import open_store
from pipeguard.state.verification import verify
from tests.state.conftest import Heard, wait_until_written
from tests.state.samples import FINDING, FORECAST, POISONED, decide_all, held, seen, silent, verdict

ROOT = Path(__file__).parents[2]
TOOL = ("tool", "get_forecast")


@pytest.fixture
def recorder(path: Path) -> Iterator[Recorder]:
    recorder = Recorder(path, "weather", "RUN", log=silent)
    yield recorder
    recorder.close()


def recorded(path: Path, *verdicts: Verdict, run: str = "RUN", log: FindingLog = silent) -> None:
    """Record the verdicts of a run that has ended."""
    recorder = Recorder(path, "weather", run, log=log)
    for one in verdicts:
        recorder.record(one)
    recorder.close()


def is_healthy(recorder: Recorder) -> bool:
    return recorder.healthy


def written(path: Path) -> list[AuditRow]:
    with open_store(path) as store:
        return list(rows(store, AuditFilter()))


def test_a_verdict_is_written_with_findings_and_hash(recorder: Recorder, path: Path) -> None:
    frame = b'{"jsonrpc":"2.0"}'
    recorder.client = "editor 1.0"
    recorder.record(verdict("RUN.c1", frame, (FINDING,)))
    assert wait_until_written(recorder)
    (row,) = written(path)
    entry = row.entry
    assert (row.chain, row.seq, row.server) == ("RUN", 1, "weather")
    assert (entry.client, entry.direction, entry.kind) == ("editor 1.0", "to-server", "request")
    assert (entry.method, entry.tool, entry.action) == ("tools/call", "get_forecast", "block")
    key = (path.parent / KEY_NAME).read_bytes()  # without which nobody guesses a short frame
    keyed = hmac.new(key, frame, "sha256").hexdigest()
    assert (entry.event, entry.frame_sha256) == ("RUN.c1", keyed)
    assert entry.frame_bytes == len(frame)
    assert "secrets.aws-access-key-id" in entry.findings
    assert verify(path) == []


def test_an_event_that_is_written_a_moment_later_is_found(recorder: Recorder, path: Path) -> None:
    recorder.record(verdict("RUN.c1", findings=(FINDING,)))
    assert wait_until_written(recorder)
    later = threading.Timer(0.3, recorder.record, [verdict("RUN.c2", findings=(FINDING,))])
    later.start()
    assert find_event(path, "RUN.c2").name == "RUN.c2"
    later.join()
    with pytest.raises(PipeGuardError, match="no event"):
        find_event(path, "K7Q2M9D4.c2")


def test_what_could_not_be_read_is_written_too(recorder: Recorder, path: Path) -> None:
    recorder.record(Verdict(Direction.TO_CLIENT, b"\xff", FINDING.action, None, None, (FINDING,)))
    recorder.record(verdict("\ud800".encode("utf-8", "replace").decode(), b"\xff" * 9))
    assert wait_until_written(recorder)
    first = written(path)[0].entry
    assert (first.kind, first.method, first.tool) == ("unreadable", "", "")


def test_nothing_is_started_before_the_first_verdict(path: Path) -> None:
    before = threading.enumerate()
    recorder = Recorder(path, "weather", "RUN", log=silent)
    assert wait_until_written(recorder)
    assert {*threading.enumerate()} <= {*before}
    recorder.close()
    assert not path.exists()


def test_closing_writes_what_waits_and_takes_nothing_more(path: Path) -> None:
    recorder = Recorder(path, "weather", "RUN", log=silent)
    for i in range(2500):
        recorder.record(verdict(f"RUN.c{i}"))
    recorder.close()
    recorder.record(verdict("RUN.late"))
    assert [row.entry.event for row in written(path)] == [f"RUN.c{i}" for i in range(2500)]
    assert verify(path) == []


def test_what_is_found_in_a_definition_that_waits_is_told_with_what_helps(path: Path) -> None:
    """`allow` refuses an event in which something waits for approval; each event has one line."""
    poisoned = FINDING._replace(rule="poisoning.classifier", place="tool.description")
    waits = poisoned._replace(rule="trust.held", excerpt="pipeguard diff weather/get_forecast")
    log = Heard()
    other = waits._replace(excerpt="pipeguard diff weather/get_alerts", tool="get_alerts")
    found = ((poisoned, waits), (poisoned,), (waits, other))
    recorded(path, *(verdict(f"RUN.s{n}", findings=f) for n, f in enumerate(found, 1)), log=log)
    assert [fields["how_to_allow"] for _, _, fields in log.lines] == [
        "pipeguard diff weather/get_forecast",
        "pipeguard allow RUN.s2",
        "pipeguard diff",
    ]
    explained = [fields["explain"] for _, _, fields in log.lines]
    assert explained == [f"pipeguard explain RUN.s{number}" for number in (1, 2, 3)]


def test_an_event_has_one_line_whatever_the_number_of_its_rules(path: Path) -> None:
    mild = FINDING._replace(action=Action.WARN, severity=Severity.LOW)
    noted = [mild._replace(rule=f"injection.rule-{number}") for number in range(8)]
    log = Heard()
    recorded(path, verdict("RUN.c1", findings=(*noted, FINDING, FINDING)), log=log)
    ((level, event, fields),) = log.lines
    assert (level, event) == ("warning", "block secrets.aws-access-key-id")
    assert fields["findings"] == 10
    assert str(fields["also"]).startswith("injection.rule-0, injection.rule-1, ")
    assert str(fields["also"]).endswith(" and 3 more")


def test_memory_stays_flat_over_thousands_of_verdicts(path: Path) -> None:
    frame = b"x" * 10_000
    recorder = Recorder(path, "weather", "RUN", log=silent)

    def run(count: int) -> int:
        for i in range(count):
            recorder.record(verdict(f"RUN.c{i}", frame + str(i).encode()))
            if i % 500 == 499:
                assert wait_until_written(recorder)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        after_1000 = run(1_000)
        after_4000 = run(3_000)
    finally:
        tracemalloc.stop()
    recorder.close()
    assert after_4000 - after_1000 < 100_000
    assert len(written(path)) == 4_000
    assert verify(path) == []


def test_a_full_backlog_makes_the_pump_wait_and_loses_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "BACKLOG_ROWS", 10)
    monkeypatch.setattr(recorder_module, "BACKLOG_CHARS", 100)
    recorder = Recorder(path, "weather", "RUN", log=silent)

    def send() -> None:
        for _ in range(100):
            recorder.record(verdict(pins=(seen(),)))

    pumps = [threading.Thread(target=send, daemon=True) for _ in range(2)]
    for pump in pumps:
        pump.start()
    for pump in pumps:
        pump.join()
    recorder.close()
    assert len(written(path)) == 200
    assert verify(path) == []


def test_a_store_that_is_locked_is_told_once_and_caught_up_with(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.01)
    monkeypatch.setattr(recorder_module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(recorder_module, "WATCH_SECONDS", 0)  # it can be read all the while
    monkeypatch.setattr(recorder_module, "BACKLOG_ROWS", 10)
    log = Heard()
    open_store(path).close()
    recorder = Recorder(path, "weather", "RUN", log=log)
    with open_store(path) as other, other.transaction():
        other.remember("weather", [])
        recorder.record(verdict("RUN.c0"))
        assert log.something.wait(60)
        assert not is_healthy(recorder)
        for _ in range(3):
            assert not wait_until_written(recorder)
        assert list(path.parent.glob("*.missing"))
        assert read_notes(path) == [], "it goes on, and may write them yet"
        for i in range(1, 100):
            recorder.record(verdict(f"RUN.c{i}"))
    while not wait_until_written(recorder):
        pass
    assert is_healthy(recorder)
    recorder.close()
    assert list(path.parent.glob("*.missing*")) == []
    assert [(level, event) for level, event, _ in log.lines] == [
        ("error", "the store cannot be written"),
        ("warning", "the store is written again"),
    ]
    kept = written(path)
    gaps = [row.entry for row in kept if row.entry.kind == "gap"]
    lost = sum(int(gap.findings.partition('"note":"')[2].split()[0]) for gap in gaps)
    assert len(gaps) == 1
    assert len(kept) - 1 + lost == 100
    assert verify(path) == []


def test_a_store_that_stays_broken_is_told_at_the_end(path: Path) -> None:
    path.write_bytes(b"this is no database" * 1000)
    log = Heard()
    recorder = Recorder(path, "weather", "RUN", log=log)
    recorder.record(verdict())
    assert not wait_until_written(recorder)
    recorder.close()
    assert not recorder.healthy
    assert [event for _, event, _ in log.lines] == [
        "the store cannot be written",
        "verdicts are missing from the audit",
    ]
    assert log.lines[-1][2] == {"lost": 1}


def test_an_approval_from_elsewhere_is_told_while_the_server_runs(path: Path) -> None:
    told: list[Mapping[tuple[str, str], Pin]] = []
    changed = threading.Event()

    def on_pins_changed(pins: Mapping[tuple[str, str], Pin]) -> None:
        told.append(pins)
        changed.set()

    recorder = Recorder(path, "weather", "RUN", log=silent, pins={}, on_pins=on_pins_changed)
    recorder.record(verdict(pins=(seen(FORECAST),)))
    recorder.record(verdict(pins=(held(POISONED),)))
    assert wait_until_written(recorder)
    with open_store(path) as person:
        decide_all(person.approve, person, "weather")
        person.remember("mail", [seen(FORECAST)])
    assert changed.wait(60)
    recorder.close()
    assert [pins[TOOL].approved_definition for pins in told] == [held(POISONED).definition]


def test_what_another_process_pinned_first_is_told_with_our_own_write(path: Path) -> None:
    told: list[Mapping[tuple[str, str], Pin]] = []
    recorder = Recorder(path, "weather", "RUN", log=silent, pins={}, on_pins=told.append)
    with open_store(path) as other:
        other.remember("weather", [seen(FORECAST)])
    recorder.record(verdict(pins=(seen(POISONED),)))
    recorder.close()
    (pins,) = told
    assert pins[TOOL].approved_definition == seen(FORECAST).definition
    assert pins[TOOL].held_definition == seen(POISONED).definition


def test_a_finding_wakes_a_recorder_that_sleeps(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "BUSY_ROUNDS", 0)
    monkeypatch.setattr(recorder_module, "WATCH_SECONDS", 3600.0)
    log = Heard()
    recorder = Recorder(path, "weather", "RUN", log=log)
    recorder.record(verdict("RUN.c1"))
    assert wait_until_written(recorder)
    recorder.record(verdict("RUN.c2", findings=(FINDING,)))
    assert log.something.wait(60)
    recorder.close()
    assert len(written(path)) == 2


def test_an_unwritable_row_is_told_and_the_rest_written(path: Path) -> None:
    log = Heard()
    recorder = Recorder(path, "weather", "RUN", log=log)
    odd = FINDING._replace(action=cast("Action", None))  # as a rule that is broken would give it
    half = verdict()._replace(event="RUN.\ud800")  # UTF-8 has no place for half a character
    for number, one in enumerate((verdict(), verdict(findings=(odd,)), half, verdict())):
        recorder.record(one._replace(event=one.event or f"RUN.c{number}", action=Action.ALLOW))
    assert wait_until_written(recorder)
    assert recorder.missing == 2
    recorder.record(verdict("RUN.c9"))
    recorder.close()
    kept = [row.entry for row in written(path)]
    assert [one.event for one in kept] == ["RUN.c0", "RUN.c1", "RUN.?", "RUN.c3", "RUN.c9"]
    assert [one.kind for one in kept] == ["request", "gap", "gap", "request", "request"]
    assert "could not be recorded" in kept[1].findings
    assert [event for _, event, _ in log.lines] == ["a verdict could not be recorded"] * 2
    assert verify(path) == []


def test_a_log_and_a_listener_that_fail_end_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "WATCH_SECONDS", 0.01)
    told: list[Mapping[tuple[str, str], Pin]] = []

    def on_pins_changed(pins: Mapping[tuple[str, str], Pin]) -> None:
        told.append(pins)
        if len(told) < 3:
            raise RuntimeError("dictionary changed size during iteration")

    def log(level: str, event: str, **fields: object) -> None:
        raise RuntimeError(event)

    recorder = Recorder(path, "weather", "RUN", log=log, pins={}, on_pins=on_pins_changed)
    recorder.record(verdict("RUN.c1", findings=(FINDING,), pins=(held(POISONED),)))
    assert wait_until_written(recorder)
    with open_store(path) as person:
        decide_all(person.approve, person, "weather")
    while len(told) < 3:
        recorder.record(verdict("RUN.more"))
        assert wait_until_written(recorder)
    assert recorder.healthy
    recorder.close()
    assert told[2][TOOL].approved_definition == held(POISONED).definition


@pytest.mark.parametrize("is_full", [False, True])
def test_what_a_run_could_not_write_is_told_by_the_next(
    path: Path, monkeypatch: pytest.MonkeyPatch, *, is_full: bool
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.01)
    if is_full:
        refuse = Mock(side_effect=OSError(errno.ENOSPC, "No space left on device"))
        monkeypatch.setattr(atomic_write, "replace_file", refuse)
    with open_store(path) as other, other.transaction():
        other.remember("weather", [])
        recorded(path, verdict("RUN1.c1"), verdict("RUN1.c2"), run="RUN1")
        assert [(one.run, one.verdicts) for one in read_notes(path)] == [("RUN1", 2)]
        assert all(len(os.readlink(link)) < 60 for link in path.parent.glob("*.missing") if is_full)
    with pytest.raises(PipeGuardError, match="is in the audit"):
        find_event(path, "RUN1.c1")
    recorded(path, verdict("RUN2.c1"), run="RUN2")
    gap, row = written(path)
    assert (gap.entry.kind, row.entry.event) == ("gap", "RUN2.c1")
    of_server = "" if is_full else " of weather"
    assert f"verdicts missing of the run RUN1{of_server}: 2" in gap.entry.findings
    assert read_notes(path) == []
    with pytest.raises(PipeGuardError, match="is in the audit"):
        find_event(path, "RUN1.c1")
    with pytest.raises(PipeGuardError, match=r"is in the audit[^R]*List those"):
        find_event(path, "RUN3.c1")
    assert verify(path) == []


@pytest.mark.skipif(os.name != "posix", reason="an open file cannot be removed there")
@pytest.mark.parametrize("becomes", ["nothing", "no folder", "another", "moved away"])
def test_a_store_that_is_taken_away_is_begun_anew_and_a_row_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, becomes: str
) -> None:
    monkeypatch.setattr(recorder_module, "WATCH_SECONDS", 0.01)
    path = tmp_path / "state" / "pipeguard.db"
    path.parent.mkdir(mode=0o700)
    told: list[Mapping[tuple[str, str], Pin]] = []
    recorder = Recorder(path, "weather", "RUN", log=silent, pins={}, on_pins=told.append)
    recorder.record(verdict("RUN.c1", pins=(seen(FORECAST),)))
    assert wait_until_written(recorder)
    if becomes == "no folder":
        shutil.rmtree(path.parent.rename(tmp_path / "removed"))  # at once: a watcher begins it anew
    elif becomes == "moved away":
        path.rename(tmp_path / "moved.db")
    else:
        for file in path.parent.iterdir():
            file.unlink(missing_ok=True)  # a recorder that notices closes it, which removes its log
    if becomes == "another":
        other = Recorder(path, "mail", "OTHER", log=silent)
        other.record(verdict("OTHER.c1"))
        assert wait_until_written(other)
        recorder.record(verdict("RUN.c2"))
        assert wait_until_written(recorder)
        other.record(verdict("OTHER.c2"))  # while ours has let go of the file before
        recorder.close()
        other.close()
    else:
        recorder.record(verdict("RUN.c2"))
        assert wait_until_written(recorder)
        recorder.close()
    ours = [row for row in written(path) if row.chain == "RUN"]
    told_of = [(row.entry.kind, row.entry.event) for row in ours]
    assert told_of == [("gap", ""), ("request", "RUN.c2")]
    assert "removed or replaced" in ours[0].entry.findings
    assert verify(path) == []
    assert told == [], "what the guard knows is not forgotten with the file"
    if becomes == "another":
        theirs = [row.entry.event for row in written(path) if row.chain == "OTHER"]
        assert theirs == ["OTHER.c1", "OTHER.c2"]


def test_a_file_that_is_none_of_ours_says_nothing(path: Path) -> None:
    for name, content in (("A", b"[]"), ("B", b"{}"), ("C", b"\xff"), ("D", b"1" * 10**6)):
        (path.parent / f"{path.name}.{name}.missing").write_bytes(content)
    (path.parent / f"{path.name}.E.missing").symlink_to("/etc/passwd")
    assert read_notes(path) == []


def test_what_a_peer_chose_is_bounded_while_it_waits(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "BACKLOG_CHARS", 10_000)
    recorder = Recorder(path, "weather", "RUN", log=silent)
    recorder.client = "\ud800" * 10**6
    long = FINDING._replace(pointer="/params/" + "k" * 9_000)
    for number in range(50):
        one = verdict(f"RUN.c{number}", findings=(long,))
        recorder.record(one._replace(method="m" * 10**6, tool="t" * 10**6))
        assert recorder._chars < 20_000
    recorder.close()
    kept = written(path)
    assert len(kept) == 50
    assert max(len(row.entry.findings) for row in kept) < 4_000
    assert {len(row.entry.method) for row in kept} == {200}
    assert kept[0].entry.client == "\\ud800" * 200


RUN = """
import sys
from pathlib import Path
from pipeguard.state.finding_log import FindingLog
from pipeguard.state.missing import read_notes
from pipeguard.state.recorder import Recorder
from tests.state.test_recorder import silent, verdict, wait_until_written
path, run, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
recorder = Recorder(path, "weather", run, log=silent)
for i in range(count):
    recorder.record(verdict(f"{run}.c{i}", findings=()))
    if i % 2000 == 1999:
        wait_until_written(recorder)
        print("written", flush=True)
recorder.close()
"""


def start(path: Path, run: str, count: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-W", "error", "-c", RUN, str(path), run, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)


def test_two_processes_write_one_store_in_chains_of_their_own(path: Path) -> None:
    runs = [start(path, run, 1000) for run in ("RUN1", "RUN2")]
    for run in runs:
        run.communicate(timeout=60)
    assert [run.returncode for run in runs] == [0, 0]
    with open_store(path) as store:
        assert sorted((chain.chain, chain.length) for chain in chains(store)) == [
            ("RUN1", 1000),
            ("RUN2", 1000),
        ]
    assert verify(path) == []


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
def test_a_kill_in_the_middle_leaves_a_chain_that_verifies(path: Path) -> None:
    run = start(path, "RUN", 10_000_000)
    assert run.stdout is not None
    assert run.stdout.readline() == b"written\n"
    run.send_signal(signal.SIGKILL)
    run.communicate(timeout=60)
    assert verify(path) == []
    connection = sqlite3.connect(path)
    (count,) = connection.execute("SELECT count(*) FROM audit").fetchone()
    connection.close()
    assert count >= 2000
