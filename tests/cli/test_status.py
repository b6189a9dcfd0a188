"""`pipeguard status`: one screen, true to the record."""

import json
import socket
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeguard.cli.assess import command as assess
from pipeguard.cli.setup import command as setup
from pipeguard.cli.status import command
from pipeguard.firewall.finding import Action, Finding, Severity, observe_only
from pipeguard.state.store import open_store
from pipeguard.state.timestamps import utc_text
from pipeguard.ui.cards import find_waiting
from tests.files import write_file
from tests.forking import PIPEGUARD
from tests.gateway.served import Served, ServedAt, write_servers
from tests.listening import Process
from tests.snapshot import Snapshot
from tests.state.samples import audit_entry, held, record, seen

BLOCK = Finding("secrets.jwt", "call.arguments", excerpt='"would":"block"')
NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_list_of_what_only_waits_is_not_blocked_and_one_without_a_tool_not_noted() -> None:
    note = Finding("injection.addressed-to-model", "server.instructions", action=Action.ALLOW)
    waits = Finding("trust.held", "tool.name", action=Action.BLOCK)
    left_out = Finding("policy.tool", "tool.name", severity=Severity.LOW, action=Action.WARN)
    rejected = left_out._replace(rule="trust.left-out")
    rows = enumerate(
        [
            ("block", [waits, waits]), ("block", [waits, note]), ("block", [waits, BLOCK]),
            ("warn", [left_out]), ("warn", [left_out, rejected]), ("warn", [left_out, note]),
        ]
    )  # fmt: skip
    listed = {"kind": "result", "method": "tools/list", "tool": "", "time": utc_text(NOW)}
    record(
        "new",
        *(audit_entry(f"L{n}", *found, action=action, **listed) for n, (action, found) in rows),
    )
    with open_store() as store:
        store.remember("new", [held()])
    shown = json.loads(CliRunner().invoke(command, ["--json"]).output)
    (server,) = shown["servers"]
    today = server["today"]
    assert (today["blocked"], today["held"], today["warned"], server["waiting"]) == (1, 2, 1, 1)


def test_stopped_calls_and_changed_results_are_counted_apart() -> None:
    call = BLOCK._replace(tool="echo", content="c" * 32)
    answer = call._replace(place="result.text", action=Action.REDACT)
    calls = [audit_entry(f"request{n}", call) for n in range(3)]
    answers = [audit_entry(f"{n}", answer, action="redact", kind="result") for n in range(2)]
    record("new", *(each._replace(time=utc_text(NOW)) for each in calls + answers))
    with open_store() as store:
        counts = {each.what: each.count for each in find_waiting(store)}
    assert counts == {"A call was stopped": 3, "A result was changed": 2}


def test_a_call_of_what_waits_is_held_and_one_of_what_is_not_offered_is_blocked() -> None:
    waits = [Finding(f"trust.{rule}", "call.name") for rule in ("held", "drifted")]
    stopped("new", *((timedelta(0), each) for each in waits))
    assert json.loads(shown("--json"))["blocked"] is None
    stopped("old", (timedelta(0), Finding("trust.not-offered", "call.name")))
    told = json.loads(shown("--json"))
    new, old = told["servers"]
    assert (told["blocked"]["server"], told["blocked"]["rule"]) == ("old", "trust.not-offered")
    assert f"pipeguard explain {told['blocked']['event']}" in shown()
    assert (new["today"]["blocked"], new["today"]["held"]) == (0, 2)
    assert (old["today"]["blocked"], old["today"]["held"]) == (1, 0)


@pytest.mark.real
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who runs")
def test_a_gateway_that_runs_is_shown(home: Path) -> None:
    config = write_servers(home, {})
    with Served(home, "--config", str(config)) as served:
        served.initialize()
        shown = CliRunner().invoke(command, []).output
        assert f"process {served.process.pid}" in shown
        assert "No client has a server" not in shown
    with ServedAt(home, "--config", str(config)) as at:
        assert at.url, "it listens"
        gateways = json.loads(CliRunner().invoke(command, ["--json"]).output)["gateways"]
        assert f"process {at.process.pid}, 127.0.0.1:0" in gateways
        client = home / ".cursor" / "mcp.json"
        write_file(client, '{"mcpServers": {"one": {"command": "cat"}}}')
        move = ["cursor", "--gateway", "--yes", "--launcher", sys.executable]
        assert CliRunner().invoke(setup, move).exit_code == 0
        assert CliRunner().invoke(setup, ["cursor", "--undo", "--yes"]).exit_code == 0


@pytest.mark.real
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who runs")
def test_a_client_that_goes_through_the_gateway_over_http_is_guarded_and_stays(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    config = write_servers(home / ".config" / "pipeguard", {"itself": {"url": f"http://{address}"}})
    client = home / ".cursor" / "mcp.json"
    client.parent.mkdir()
    entry = {"url": f"http://{address}/mcp", "headers": {"Authorization": "Bearer pgt_x"}}
    client.write_text(json.dumps({"mcpServers": {"team": entry}}))
    before = config.read_text(), client.read_text()
    project = write_file(home / "project" / ".mcp.json", client.read_text())
    of_project = [str(project.parent), "--format", "json"]
    on_other_machines = json.loads(CliRunner().invoke(assess, of_project).output)["findings"]
    assert "0 of 1 servers in clients guarded" in shown(), "nothing listens there"
    options = ("--listen", address, "--drain", "0", "--config", str(config))
    variables = {"PIPEGUARD_STATE_DIR": str(home / "state")}
    with Process(
        home / "log", [*PIPEGUARD, "serve", *options], variables, told_on_stderr=True
    ) as at:
        assert at.url, "it listens"
        assert "1 of 1 servers in clients guarded" in shown()
        assert "1 server in the gateway's file" in shown()
        for words in (["--gateway"], []):
            done = CliRunner().invoke(setup, ["cursor", "--yes", *words])
            assert "1 guarded" in done.output
        found = json.loads(CliRunner().invoke(assess, ["--format", "json"]).output)["findings"]
        assert not [one for one in found if one["server"] == "team"], found
        here = json.loads(CliRunner().invoke(assess, of_project).output)["findings"]
        assert here == on_other_machines
        assert "the server itself is left out: it is this gateway itself" in at.said()
    assert (config.read_text(), client.read_text()) == before


def stopped(server: str, *rows: tuple[timedelta, Finding]) -> None:
    """Store audit rows of these ages."""
    record(
        server,
        *(
            audit_entry(
                f"E{number}",
                finding,
                action=finding.action.name.lower(),
                time=utc_text(NOW - ago),
            )
            for number, (ago, finding) in enumerate(sorted(rows, key=lambda row: -row[0]))
        ),
    )


def shown(*arguments: str) -> str:
    result = CliRunner().invoke(command, [*arguments])
    assert result.exit_code == 0, result.exception
    return result.output


def test_it_counts_by_server_today_and_in_seven_days(snapshot: Snapshot) -> None:
    warn, redact = (BLOCK._replace(action=action) for action in (Action.WARN, Action.REDACT))
    days, moment = timedelta(days=1), timedelta(seconds=0)
    stopped(
        "docs",
        *((moment, finding) for finding in (BLOCK, warn, redact, observe_only(BLOCK))),
        (2 * days, BLOCK),
        (8 * days, BLOCK),
    )
    stopped("mail", (moment, BLOCK._replace(action=Action.ALLOW)))
    with open_store() as store:
        store.remember("mail", [seen(), held()])
        store.remember("mail", [held({"name": name}, "review") for name in ("send", "sort")])
    told = json.loads(shown("--json"))
    docs, mail = told["servers"]
    assert docs["today"] == {"blocked": 1, "held": 0, "changed": 1, "warned": 1, "would": 1}
    assert docs["week"] == {"blocked": 2, "held": 0, "changed": 1, "warned": 1, "would": 1}
    assert (mail["server"], mail["waiting"], mail["week"]["blocked"]) == ("mail", 3, 0)
    snapshot.commands("status", "status\nstatus --json")
    assert len(shown().splitlines()) <= 24, "one screen"


def test_it_names_guarded_clients_and_what_it_cannot_read(home: Path, snapshot: Snapshot) -> None:
    guarded = {"command": "pipeguard", "args": ["wrap", "--name", "a", "--", "server-a"]}
    servers = {"a": guarded, "b": {"command": "server-b"}}
    file = write_file(home / ".cursor" / "mcp.json", json.dumps({"mcpServers": servers}))
    snapshot.commands("status-clients", "status\nstatus --json")
    servers["c"] = {"url": "https://mcp.example.com/mcp"}  # its client may log in to it
    file.write_text(json.dumps({"mcpServers": servers}))
    snapshot.commands("status-login", "status")
    file.write_text(json.dumps({"mcpServers": {"b": servers["b"]}}))
    assert "No server of your clients is guarded, so nothing of theirs is stopped." in shown()
    file.write_text('{"mcpServers": ["a", }')
    snapshot.commands("status-unread", "status\nstatus --json")


def test_a_clock_that_was_wrong_for_a_while_hides_nothing() -> None:
    stopped("docs", (timedelta(0), BLOCK))
    stopped("mail", (timedelta(days=2000), BLOCK))
    servers = json.loads(shown("--json"))["servers"]
    assert [(one["server"], one["week"]["blocked"]) for one in servers] == [("docs", 1)]


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_servers_name_leaves_room_for_the_numbers(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    stopped("\x1b[31m" + "long" * 50, (timedelta(0), BLOCK))
    screen = shown()
    assert "\x1b" not in screen
    row, _newest_block = [line for line in screen.splitlines() if "U+001B" in line]
    assert len(row) <= max(columns, 60)
    assert row.split()[1:] == ["1", "0", "0", "0", "0", "1"]


def test_it_needs_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert "No client on this machine has an MCP server yet." in shown()
    monkeypatch.chdir(tmp_path)


def test_it_says_what_the_policy_does_and_makes_nothing(home: Path, snapshot: Snapshot) -> None:
    before = sorted(home.rglob("*"))
    snapshot.commands("status-new", "status")
    assert sorted(home.rglob("*")) == before
    path = write_file(home / ".config" / "pipeguard" / "policy.yaml", "mode: observe\n")
    path.chmod(0o600)
    snapshot.commands("status-observes", "status")
    path.write_text("mod: observe\n")
    snapshot.commands("status-wrong-policy", "status\nstatus --json")
