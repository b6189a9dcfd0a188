"""Who decides: a person at a terminal, a job with a token, and no agent."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeguard.cli._person import AGENT_VARIABLES, TOKEN_VARIABLE, new_token, token_path
from pipeguard.state import review
from pipeguard.state.paths import store_path
from pipeguard.state.store import Store
from tests.launch.processes import until
from tests.people import be_nobody, on_terminal, share
from tests.state.samples import held

PIPEGUARD = (sys.executable, "-E", "-P", "-m", "pipeguard")
TARGET = "weather/get_forecast"


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One tool that waits; nobody has a token."""
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    be_nobody(monkeypatch)
    with Store.open(store_path()) as opened:
        opened.remember("weather", [held()])


def waits() -> bool:
    with Store.open(store_path()) as opened:
        return len(review.held_definitions(opened)) == 1


def piped(*words: str, typed: bytes = b"", token: str = "") -> subprocess.CompletedProcess[bytes]:
    """As an agent's shell runs it, which has no terminal."""
    return subprocess.run(
        [*PIPEGUARD, *words],
        input=typed,
        env={**os.environ, TOKEN_VARIABLE: token},
        capture_output=True,
        check=False,
        timeout=60,
        start_new_session=True,
    )


@pytest.mark.parametrize("words", [("approve", TARGET), ("reject", TARGET), ("forget", TARGET),
                                   ("forget", "weather", "--launch")], ids=" ".join)  # fmt: skip
@pytest.mark.parametrize("typed", [b"", b"y\n" * 50])
def test_without_a_terminal_nothing_is_decided(words: tuple[str, ...], typed: bytes) -> None:
    done = piped(*words, "--yes", typed=typed)
    assert done.returncode == 2
    assert b"no terminal to ask on" in done.stderr
    assert b"a terminal of your own" in done.stderr
    assert waits()


def test_a_person_types_the_number() -> None:
    code, shown = on_terminal("approve", "", TARGET, "--yes")
    assert (code, f"To approve {TARGET}, type " in shown) == (0, True)
    assert not waits()


@pytest.mark.parametrize("number", ["0000", "", "y", "yes"])
def test_another_number_decides_nothing(number: str) -> None:
    code, shown = on_terminal("approve", "", TARGET, "--yes", number=number)
    assert code == 1
    assert "not the number" in shown
    assert waits()


@pytest.mark.parametrize("name", AGENT_VARIABLES)
def test_an_agent_s_shell_is_no_person_s(name: str) -> None:
    code, shown = on_terminal("approve", "y", TARGET, environment={name: "1"})
    assert code == 2
    assert f"{name} is set" in shown
    assert waits()


@contextmanager
def guard(stdin: int) -> Iterator[subprocess.Popen[bytes]]:
    """A guarded server that this process started."""
    process = subprocess.Popen(
        [*PIPEGUARD, "wrap", "--name", "x", "--", "cat"],
        stdin=stdin,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        line = Path(f"/proc/{process.pid}/cmdline")
        until(lambda: b"wrap" in line.read_bytes(), "it runs")
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.mark.skipif(sys.platform != "linux", reason="who started whom is read from /proc")
def test_who_started_a_guarded_server_too_is_an_agent() -> None:
    """Without its mark, and with a terminal of its own, or with a token."""
    token, _ = new_token()
    with guard(subprocess.PIPE):
        code, shown = on_terminal("approve", "y", TARGET)
        assert code == 2
        assert "also guarded servers" in shown
        done = piped("approve", TARGET, "--yes", token=token)
        assert done.returncode == 2
        assert b"also guarded servers" in done.stderr
        assert waits()
    assert on_terminal("approve", "y", TARGET)[0] == 0
    assert not waits()


@pytest.mark.skipif(sys.platform != "linux", reason="who started whom is read from /proc")
@pytest.mark.parametrize("fed_by", ["a terminal", "another program"])
def test_a_shell_with_a_guarded_server_in_the_background_is_a_person_s(fed_by: str) -> None:
    """As `pipeguard wrap -- server &`, or `program | pipeguard wrap -- server &`."""
    kept, given = pty.openpty() if fed_by == "a terminal" else reversed(os.pipe())
    feeder = subprocess.Popen(["sleep", "600"], stdout=kept)
    try:
        os.close(kept)
        with guard(given):
            os.close(given)
            assert on_terminal("approve", "y", TARGET)[0] == 0
    finally:
        feeder.kill()
        feeder.wait(60)
    assert not waits()


def test_a_job_with_the_token_decides() -> None:
    token, path = new_token()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert token not in path.read_text()
    done = piped("approve", TARGET, "--yes", token=token)
    assert done.returncode == 0, done.stderr
    assert not waits()


def test_an_agent_with_the_token_is_an_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDECODE", "1")
    done = piped("approve", TARGET, "--yes", token=new_token()[0])
    assert (done.returncode, waits()) == (2, True)
    assert b"CLAUDECODE is set" in done.stderr


@pytest.mark.parametrize("kept", ["none", "another", "group"])
def test_another_token_or_a_file_of_others_decides_nothing(kept: str) -> None:
    token, path = new_token()
    if kept == "none":
        path.unlink()
    elif kept == "another":
        new_token()
    else:
        share(path)
        path.chmod(0o660)
    done = piped("approve", TARGET, "--yes", token=token)
    assert done.returncode == 2
    assert str(path).encode() in done.stderr
    assert token.encode() not in done.stderr
    assert waits()


def test_a_token_is_made_by_a_person_alone() -> None:
    token, path = new_token()
    before = path.read_text()
    refused = piped("policy", "ci-token", token=token)
    assert refused.returncode == 2
    assert b"ci-token" not in refused.stderr  # what fails is not advised to itself
    assert path.read_text() == before
    code, shown = on_terminal("policy", "", "ci-token")
    assert code == 0
    assert path.read_text() != before
    made = shown.split()[-1]
    assert piped("approve", TARGET, "--yes", token=made).returncode == 0
    assert piped("policy", "ci-token", "--revoke").returncode == 0
    assert not token_path().exists()


def test_what_is_only_shown_asks_nobody() -> None:
    assert piped("diff").returncode == 1
