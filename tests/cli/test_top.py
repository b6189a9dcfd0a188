"""`pipeguard top`: on a terminal and without one."""

import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from pipeguard.firewall.finding import Finding
from pipeguard.state.activity import ServerActivity, activity_history, recent_activity
from pipeguard.state.audit import AuditEntry, findings_json
from pipeguard.state.calls import HourCounts, find_calls
from pipeguard.state.row_filter import parse_filter
from pipeguard.state.store import open_store
from pipeguard.state.timestamps import to_utc_text
from tests.forking import PIPEGUARD
from tests.launch.processes import PATIENCE_SECONDS
from tests.people import run_here
from tests.snapshot import Snapshot
from tests.state.samples import POISONED, audit_entry, held, record
from tests.wrap.wrapped import Wrapped

CLEARED = b"\x1b[2J"


def entry(
    seconds_ago: float, action: str = "allow", duration_ms: float | None = None
) -> AuditEntry:
    moment = to_utc_text(time.time() - seconds_ago)
    return audit_entry("", kind="result", time=moment, action=action, duration_ms=duration_ms)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Two servers that worked in the last minute, one of which waits; and an earlier one."""
    record("old", entry(3600, duration_ms=1.0))
    record("weather", entry(90, "block"))
    calls = (entry(30, duration_ms=float(number)) for number in range(1, 101))
    record("mail\x1b[2J", *calls, run="RUN1")
    waits = findings_json([Finding("trust.held", "call.name")])
    blocked = entry(20, "block")
    record("weather", blocked, blocked._replace(findings=waits))
    with open_store() as store:
        store.remember("weather", [held(POISONED)])
    return tmp_path


def test_the_audit_says_what_each_server_did_lately(state: Path) -> None:
    with open_store() as store:
        mail, weather = recent_activity(store, time.time(), 60)
    assert mail == ServerActivity("mail\x1b[2J", "active", 100 / 60, 50.0, 99.0, 0, 0, 0)
    assert weather == ServerActivity("weather", "active", 0.0, None, None, 1, 1, 1)


def test_a_call_that_timed_out_is_no_answered_call(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("limits: {timeout: 1 s}\n")
    with Wrapped(tmp_path, options=("--name", "demo", "--policy", str(policy))) as wrapped:
        wrapped.initialize()
        wrapped.request("do/wait", text=str(tmp_path / "go"))
        answer = wrapped.ask("tools/call", name="echo", arguments={"text": "hello"})
        assert "no answer within 1 s" in str(answer)
        (tmp_path / "go").touch()
        wrapped.end()
    with open_store(wrapped.store) as store:
        (late,), _ = find_calls(store, parse_filter("tool:echo"), limit=9)
        assert not late.is_open
        assert recent_activity(store, time.time(), 60)[0].calls_per_second == 0
        assert sum(activity_history(store, time.time())["demo"].calls) == 0
        assert sum(each["calls"] for each in HourCounts().look(store, time.time())) == 1


def test_what_is_shown(
    state: Path, snapshot: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot.commands("top", "top --once\ntop --once --json --window 10")
    assert run_here("top").stdout.count("weather") == 1, "a script gets one view"
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "new"))
    snapshot.commands("top-nothing", "top --once")


def test_a_view_is_drawn_again_on_a_terminal_until_the_user_ends_it(state: Path) -> None:
    primary, secondary = pty.openpty()
    with subprocess.Popen(
        [*PIPEGUARD, "top", "--interval", "0.2"],
        stdin=secondary,
        stdout=secondary,
        stderr=secondary,
        env={**os.environ, "TERM": "xterm"},
    ) as process:
        written = b""
        while written.count(b"weather") < 3:
            ready, _, _ = select.select([primary], [], [], PATIENCE_SECONDS)
            assert ready, written
            written += os.read(primary, 65536)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == 0
    os.close(primary)
    os.close(secondary)
    assert written.count(CLEARED) >= 3
    assert b"mail\x1b" not in written


def test_a_reader_that_has_enough_ends_it(state: Path) -> None:
    words = [*PIPEGUARD, "top", "--interval", "0.2", "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"weather" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
