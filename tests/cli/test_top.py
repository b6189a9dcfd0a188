"""`pipeguard top`: by the audit, by the figures of a gateway, on a terminal and without one."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pipeguard.cli.top import command
from pipeguard.errors import PipeGuardError
from pipeguard.firewall.finding import Finding
from pipeguard.gateway.scraped_activity import Scrape, fetch, measure_activity
from pipeguard.state.activity import ServerActivity, recent_activity
from pipeguard.state.audit import Audit, AuditEntry, findings_json
from pipeguard.state.store import Store
from pipeguard.state.timestamps import to_utc_text
from pipeguard.transports.http import challenge
from tests.auth.certificates import CertificateAuthority
from tests.auth.parties import party
from tests.gateway.served import ServedAt, actor, write_servers
from tests.gateway.test_serving import call_by
from tests.launch.processes import PATIENCE_SECONDS
from tests.snapshot import Snapshot
from tests.state.samples import POISONED, held
from tests.wrap.wrapped import PIPEGUARD, Object

HIDDEN_CURSOR, SHOWN_CURSOR = b"\x1b[?25l", b"\x1b[?25h"


def entry(
    seconds_ago: float, action: str = "allow", duration_ms: float | None = None
) -> AuditEntry:
    return AuditEntry(
        to_utc_text(time.time() - seconds_ago), "", "to-client", "result", "tools/call", "echo",
        action, "", "0" * 64, 10, "[]", None, 10, duration_ms,
    )  # fmt: skip


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two servers that worked in the last minute, one of which waits; one that did before."""
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path))
    with Store.open(tmp_path / "pipeguard.db") as store:
        Audit(store, "RUN0", "old", "").append_many([entry(3600, duration_ms=1.0)])
        rows = [entry(30, duration_ms=float(number)) for number in range(1, 101)]
        Audit(store, "RUN2", "weather", "").append_many([entry(90, "block")])
        Audit(store, "RUN1", "mail\x1b[2J", "").append_many(rows)
        waits = findings_json([Finding("trust.held", "call.name")])
        rows = [entry(20, "block"), entry(20, "block")._replace(findings=waits)]
        Audit(store, "RUN2", "weather", "").append_many(rows)
        store.remember("weather", [held(POISONED)])
    return tmp_path


def test_the_audit_says_what_each_server_did_lately(state: Path) -> None:
    with Store.open(state / "pipeguard.db") as store:
        mail, weather = recent_activity(store, time.time(), 60)
    assert mail == ServerActivity("mail\x1b[2J", "active", 100 / 60, 50.0, 99.0, 0, 0, 0)
    assert weather == ServerActivity("weather", "active", 0.0, None, None, 1, 1, 1)


def test_what_is_shown(
    state: Path, snapshot: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot.commands(
        "top",
        """
        top --once
        top --once --json --window 10
        top --token-env X  # 2
        top --url http://127.0.0.1:9 --token-env NOT_THERE  # 2
        top --once --url http://127.0.0.1:9  # 1
        top --once --url file:///etc/passwd  # 1
        """,
    )
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "new"))
    snapshot.commands("top-nothing", "top --once")


def test_a_gateway_of_another_authority_is_trusted_where_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = CertificateAuthority(tmp_path)
    with party(authority.context()) as server:
        with pytest.raises(PipeGuardError, match="is not trusted; SSL_CERT_FILE names a file"):
            fetch(server.origin, "/metrics", "")
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        with pytest.raises(PipeGuardError, match="answers 404"):
            fetch(server.origin, "/metrics", "")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (
            challenge.write_reason(challenge.NOT_OUR_NAME),
            "403: this server has another name .*host",
        ),
        (challenge.write_reason("red \x1b[31m"), r"403: red \\x1b|403: red \S*1[bB]"),
        ("<html>", "403: is that the address of a gateway"),
    ],
)
def test_a_refusal_is_shown_with_the_gateways_own_reason(body: str, why: str) -> None:
    with party() as server:
        server.answers["GET /metrics"] = (403, {}, body.encode())
        with pytest.raises(PipeGuardError, match=why):
            fetch(server.origin, "/metrics", "")


def test_two_looks_make_rates_and_quantiles() -> None:
    inf = float("inf")
    calls = {"a": {0.1: 5.0, 1.0: 5.0, inf: 5.0}}
    before = Scrape(10.0, {"a": True}, {}, {"a": 2}, {"a": 1}, calls)
    after = Scrape(
        12.0,
        {"a": True, "b": False},
        {"b": 3},
        {"a": 5},
        {"a": 5},
        {"a": {0.1: 7.0, 1.0: 9.0, inf: 9.0}},
    )
    one, other = measure_activity(before, after)
    assert one[:4] == ("a", "up", 2.0, 100.0)
    assert one.p99_ms == pytest.approx(982.0)
    assert (one.blocked, one.held) == (3, 4)
    assert other == ServerActivity("b", "not up", 0.0, None, None, 0, 0, 3)
    assert measure_activity(after, before)[0].blocked == 2, "the gateway began anew"


@pytest.mark.real
def test_servers_that_never_started_are_listed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere: Object = {"command": "no-such-server"}
    wrong: Object = {"command": "false", "env": {"A": "keyring:no-such-secret"}}
    config = write_servers(tmp_path, {"one": actor(), "nowhere": nowhere, "wrong": wrong})
    with ServedAt(tmp_path, "--config", str(config)) as served:
        assert set(states(["--url", served.url])) == {"one", "nowhere", "wrong"}
        assert states(["--url", served.url])["nowhere"] == "not up"
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    assert states([])["nowhere"] == "idle"


def view_of(url: str) -> list[dict[str, Any]]:
    """The servers of one view of a gateway."""
    shown = CliRunner().invoke(command, ["--once", "--json", "--url", url])
    servers: list[dict[str, Any]] = json.loads(shown.output)["servers"]
    return servers


def states(options: list[str]) -> dict[str, str]:
    """The state of each server, as it is shown."""
    shown = CliRunner().invoke(command, ["--once", "--json", "--interval", "0.2", *options])
    return {each["server"]: each["state"] for each in json.loads(shown.output)["servers"]}


@pytest.mark.real
def test_a_gateway_at_an_address_shows_its_servers_until_it_is_gone(tmp_path: Path) -> None:
    config = write_servers(tmp_path, {"one": actor(), "gone": {"command": "false"}}, mode="direct")
    with ServedAt(tmp_path, "--config", str(config)) as served:
        for _ in range(3):
            call_by(served.url, "none", "one__echo")
        (one,) = (each for each in view_of(served.url) if each["server"] == "one")
        assert one["calls_per_second"] > 0, "of the time before the first look"
        assert one["p50_ms"] is not None
        options = ("top", "--url", served.url, "--interval", "0.2", "--json")
        with subprocess.Popen([*PIPEGUARD, *options], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            try:
                states = json.loads(process.stdout.readline())["servers"]
                served.process.terminate()
                views = (json.loads(line) for line in process.stdout)
                last = next(view for view in views if view["servers"] is None)
            finally:
                process.send_signal(signal.SIGINT)
        assert process.returncode == 0
    assert {server["server"]: server["state"] for server in states} == {
        "one": "up",
        "gone": "not up",
    }
    assert "does not answer" in last["why"]


# --- on a terminal ------------------------------------------------------------------------------


class Terminal:
    """`pipeguard top` on a terminal of its own."""

    def __init__(self, primary: int, secondary: int, *options: str) -> None:
        self._primary = primary
        self.secondary = secondary
        self.written = b""
        code = (
            "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
            f"import sys; sys.argv = {['pipeguard', 'top', *options]!r};"
            "from pipeguard.__main__ import main; sys.exit(main())"
        )
        self.process = subprocess.Popen(
            [PIPEGUARD[0], "-c", code],
            stdin=secondary,
            stdout=secondary,
            stderr=secondary,
            start_new_session=True,
        )

    def read_until(self, wanted: bytes, times: int = 1) -> None:
        """Read what is drawn until something is there."""
        end = time.monotonic() + PATIENCE_SECONDS
        while self.written.count(wanted) < times:
            ready, _, _ = select.select([self._primary], [], [], PATIENCE_SECONDS)
            assert ready, self.written
            assert time.monotonic() < end, self.written
            self.written += os.read(self._primary, 65536)

    def press(self, keys: bytes) -> None:
        """Type on its keyboard."""
        os.write(self._primary, keys)


@contextmanager
def on_terminal(*options: str) -> Iterator[Terminal]:
    primary, secondary = pty.openpty()
    termios.tcsetwinsize(secondary, (6, 60))
    terminal = Terminal(primary, secondary, *options)
    try:
        yield terminal
    finally:
        terminal.process.kill()
        terminal.process.wait()
        os.close(primary)
        os.close(secondary)


@pytest.mark.parametrize("ending", ["q", "ctrl-c", "sigterm"])
def test_a_view_is_drawn_again_until_the_user_ends_it_and_leaves_the_terminal_as_it_was(
    state: Path, ending: str
) -> None:
    with on_terminal("--interval", "0.2") as terminal:
        before = termios.tcgetattr(terminal.secondary)
        terminal.read_until(b"weather", times=3)
        assert HIDDEN_CURSOR in terminal.written
        assert termios.tcgetattr(terminal.secondary) != before
        if ending == "sigterm":
            terminal.process.terminate()
        else:
            terminal.press(b"q" if ending == "q" else b"\x03")
        terminal.read_until(SHOWN_CURSOR)
        assert terminal.process.wait(PATIENCE_SECONDS) == 0
        assert termios.tcgetattr(terminal.secondary) == before
    lines = [line for line in terminal.written.split(b"\n") if b"mail" in line]
    assert max(map(len, lines)) < 100, "cut to the terminal's width"
    assert b"\x1b[2J" not in terminal.written
    assert b"Traceback" not in terminal.written


def test_more_servers_than_lines_are_counted(state: Path) -> None:
    with Store.open(state / "pipeguard.db") as store:
        for number in range(9):
            Audit(store, f"MORE{number}", f"server-{number}", "").append_many([entry(1)])
    with on_terminal() as terminal:
        terminal.read_until(b"more lines")
        assert b"and 9 more lines" in terminal.written
        terminal.press(b"q")
        assert terminal.process.wait(PATIENCE_SECONDS) == 0


def test_a_gateway_that_is_gone_is_a_sentence_in_the_view(state: Path) -> None:
    with on_terminal("--url", "http://127.0.0.1:9", "--interval", "0.2") as terminal:
        terminal.read_until(b"does not answer", times=2)
        terminal.press(b"q")
        assert terminal.process.wait(PATIENCE_SECONDS) == 0
    assert b"Traceback" not in terminal.written


def test_a_script_gets_one_view(state: Path) -> None:
    done = subprocess.run(
        [*PIPEGUARD, "top"], capture_output=True, timeout=PATIENCE_SECONDS, check=True
    )
    assert done.stdout.count(b"pipeguard top") == 1
    assert b"weather" in done.stdout


def test_a_reader_that_has_enough_ends_it(state: Path) -> None:
    words = [*PIPEGUARD, "top", "--interval", "0.2", "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"the audit" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
