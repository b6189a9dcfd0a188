"""`pipeguard status`: one screen, true to the record."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeguard.cli.status import command
from pipeguard.firewall.finding import Action, Finding, observe_only
from pipeguard.state.audit import Audit, AuditEntry, findings_json
from pipeguard.state.paths import store_path
from pipeguard.state.store import Store
from pipeguard.state.timestamps import utc_text
from tests.state.samples import held, seen

BLOCK = Finding("secrets.jwt", "call.arguments", excerpt='"would":"block"')
NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    monkeypatch.delenv("PIPEGUARD_POLICY", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def record(server: str, *rows: tuple[timedelta, Finding]) -> None:
    """Audit rows, each so long ago."""
    with Store.open(store_path()) as store:
        Audit(store, f"RUN-{server}", server, "").append_many(
            AuditEntry(
                utc_text(NOW - ago), "", "to-server", "request", "tools/call", "search",
                finding.action.name.lower(), f"E{number}", "0" * 64, 9, findings_json([finding]),
            )
            for number, (ago, finding) in enumerate(sorted(rows, key=lambda row: -row[0]))
        )  # fmt: skip


def shown(*arguments: str) -> str:
    result = CliRunner().invoke(command, [*arguments])
    assert result.exit_code == 0, result.exception
    return result.output


def test_it_counts_by_server_today_and_in_seven_days() -> None:
    warn, redact = (BLOCK._replace(action=action) for action in (Action.WARN, Action.REDACT))
    days, moment = timedelta(days=1), timedelta(seconds=0)
    record(
        "docs",
        *((moment, finding) for finding in (BLOCK, warn, redact, observe_only(BLOCK))),
        (2 * days, BLOCK),
        (8 * days, BLOCK),
    )
    record("mail", (moment, BLOCK._replace(action=Action.ALLOW)))
    with Store.open(store_path()) as store:
        store.remember("mail", [seen(), held()])
    told = json.loads(shown("--json"))
    docs, mail = told["servers"]
    assert docs["today"] == {"blocked": 1, "changed": 1, "warned": 1, "would": 1}
    assert docs["week"] == {"blocked": 2, "changed": 1, "warned": 1, "would": 1}
    assert (mail["server"], mail["waiting"], mail["week"]["blocked"]) == ("mail", 1, 0)
    lines = shown().splitlines()
    assert [line.split() for line in lines if line.startswith("docs ")] == [
        ["docs", "1", "1", "1", "1", "0"],
        ["docs", "2", "1", "1", "1", "0"],
    ]
    assert "1 definition waits for you:  pipeguard diff" in lines
    assert "What would have been blocked:  pipeguard audit list --would block --since 7d" in lines
    assert len(lines) <= 24, "one screen"


def test_it_says_which_clients_are_guarded(home: Path) -> None:
    guarded = {"command": "pipeguard", "args": ["wrap", "--name", "a", "--", "server-a"]}
    servers = {"a": guarded, "b": {"command": "server-b"}}
    (home / ".cursor").mkdir()
    (home / ".cursor" / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
    told = json.loads(shown("--json"))
    assert [client["client"] for client in told["clients"]] == ["cursor"]
    assert told["clients"][0]["open"] == 1
    assert "1 of 2 servers in clients guarded (cursor 1/2).  pipeguard setup" in shown()
    assert "No guarded server has run yet. Restart your clients." in shown()
    servers["c"] = {"url": "https://mcp.example.com/mcp"}  # its client may log in to it
    (home / ".cursor" / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
    assert "1 of 3 servers in clients guarded; 1 cannot be (cursor 1/3)" in shown()


def test_it_says_that_a_file_cannot_be_read_where_servers_may_be(home: Path) -> None:
    (home / ".cursor").mkdir()
    (home / ".cursor" / "mcp.json").write_text('{"mcpServers": {"a": {')
    (unread,) = json.loads(shown("--json"))["unread"]
    assert unread.startswith(f"{home}/.cursor/mcp.json: ")
    assert f"Not read: {unread}  pipeguard doctor clients" in shown()


def test_a_clock_that_was_wrong_for_a_while_hides_nothing() -> None:
    record("docs", (timedelta(0), BLOCK))
    record("mail", (timedelta(days=2000), BLOCK))
    servers = json.loads(shown("--json"))["servers"]
    assert [(one["server"], one["week"]["blocked"]) for one in servers] == [("docs", 1)]


@pytest.mark.parametrize("damage", ["{broken", '{"mcpServers": ["a", }'])
def test_it_says_which_clients_it_cannot_read(home: Path, damage: str) -> None:
    (home / ".cursor").mkdir()
    file = home / ".cursor" / "mcp.json"
    file.write_text(damage)
    (problem,) = json.loads(shown("--json"))["unread"]
    assert problem.startswith(f"{file}: ")
    assert problem in shown()
    assert "No client" not in shown()


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_servers_name_leaves_room_for_the_numbers(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    record("\x1b[31m" + "long" * 50, (timedelta(0), BLOCK))
    (row, _) = [line for line in shown().splitlines() if "U+001B" in line]
    assert "\x1b" not in row
    assert len(row) <= max(columns, 60)
    assert row.split()[1:] == ["1", "0", "0", "0", "0"]


def test_it_needs_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert "No client has a server." in shown()
    monkeypatch.chdir(tmp_path)


def test_it_says_that_nothing_is_stopped_and_what_is_wrong_with_the_policy(home: Path) -> None:
    assert "The policy enforces." in shown()
    path = home / ".config" / "pipeguard" / "policy.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("mode: observe\n")
    path.chmod(0o600)
    assert "The policy observes: no rule stops anything." in shown()
    path.write_text("mod: observe\n")
    assert "line 1, column 1: mod" in shown()
    assert json.loads(shown("--json"))["mode"] == ""


def test_on_a_new_machine_it_makes_nothing_and_names_the_first_step(home: Path) -> None:
    before = sorted(home.rglob("*"))
    assert "No server was guarded yet.  pipeguard setup" in shown()
    assert sorted(home.rglob("*")) == before
