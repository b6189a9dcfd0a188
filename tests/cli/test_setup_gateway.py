"""`pipeguard setup --gateway`: servers of several clients behind one gateway, and back again."""

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeguard.cli.setup import command
from pipeguard.cli.uninstall import command as uninstall
from pipeguard.clients.history import records
from pipeguard.errors import PolicyError
from pipeguard.gateway.discovery import usual_file
from pipeguard.gateway.sources import Sources
from tests.cli.test_setup import FILES, SECRET, contents, home, launcher, run
from tests.snapshot import Snapshot

__all__ = ("home", "launcher")
MOVED = {"files", "api", "time", "files-2", "notes", "web", "fs", "fs-2"}
DESKTOP = ".config/Claude/claude_desktop_config.json"


def gateway_names() -> set[str]:
    servers = Sources(usual_file()).read({}).servers
    return {server.name for server in servers}


def put_file(text: str) -> Path:
    """Write the gateway's file."""
    file = Path(usual_file())
    file.parent.mkdir(parents=True)
    file.write_bytes(text.encode())
    file.chmod(0o600)
    return file


def move(launcher: str, *arguments: str) -> None:
    result = run(*arguments, "--gateway", "--yes", "--launcher", launcher)
    assert "Moved" in result.output
    assert "no tool works until you approve it:  pipeguard approve --all" in result.output


def test_every_client_gets_one_entry_and_all_is_given_back(home: Path, launcher: str) -> None:
    before = contents(home)
    result = run("--all", "--gateway", "--yes", "--launcher", launcher)
    assert result.exit_code == 6  # the one that logs in cannot move
    file = Path(usual_file())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert SECRET in file.read_text()
    assert gateway_names() == MOVED
    after = contents(home)
    moved = [name for name, text in after.items() if launcher in text]
    assert moved == [name for name in FILES if name != ".cursor/mcp.json"]
    assert SECRET not in after[".config/Code/User/mcp.json"]
    again = run("--all", "--gateway", "--yes", "--launcher", launcher)
    assert "Moved" not in again.output
    assert contents(home) == after
    undone = run("--undo", "--all", "--yes")
    assert undone.exit_code == 0, undone.output
    assert contents(home) == before
    assert not file.exists()
    assert records() == []
    assert run("--undo", "--all", "--yes").exit_code == 7


def test_nothing_is_changed_by_a_check_or_a_dry_run(
    home: Path, launcher: str, snapshot: Snapshot
) -> None:
    before = contents(home)
    snapshot.commands(
        "setup-gateway",
        f"""
        setup --all --gateway --check  # 1
        setup --all --gateway --dry-run --launcher {launcher}  # 1
        setup claude-code --gateway --json --dry-run --launcher {launcher}  # 1
        """,
    )
    assert contents(home) == before
    assert not Path(usual_file()).exists()


FORMS = {
    "lines": "# mine\nservers:\n    files: # mine\n        command: npx\n        args: [-y, srv]\n"
    "        env: {KEY: SECRET}\n        tags: [a]\nmode: auto\n",
    "CRLF": "servers:\r\n  own: {command: x}\r\n# end\r\n",
    "JSON": '{"mcpServers": {"own": {"command": "x"}}, "mode": "auto"}\n',
    "a comment": "# mine\n",
    "byte order mark": "\ufeffservers:\n  own:\n    command: x",
}


@pytest.mark.parametrize("form", FORMS)
def test_a_file_with_servers_is_given_back_in_either_order(
    home: Path, launcher: str, form: str
) -> None:
    text = FORMS[form].replace("SECRET", SECRET)
    file = put_file(text)
    for order in (("claude-code", "vscode"), ("vscode", "claude-code")):
        move(launcher, "claude-code")
        move(launcher, "vscode")
        assert gateway_names() >= {"files", "api"}
        for client in order:
            assert run("--undo", client, "--yes").exit_code == 0
        assert file.read_bytes().decode() == text


def test_a_shared_server_stays_until_both_clients_are_undone(home: Path, launcher: str) -> None:
    same = '{"mcpServers": {"time": {"command": "uvx", "args": ["t"]}}}'
    (home / ".cursor/mcp.json").write_text(same)
    move(launcher, "claude-desktop")
    move(launcher, "cursor")
    assert gateway_names() == {"time"}
    assert run("--undo", "claude-desktop", "--yes").exit_code == 0
    assert gateway_names() == {"time"}
    assert run("--undo", "cursor", "--yes").exit_code == 0
    assert not Path(usual_file()).exists()
    assert (home / ".cursor/mcp.json").read_text() == same


def test_an_entry_with_the_name_of_one_that_moved_is_left(
    home: Path, launcher: str, snapshot: Snapshot
) -> None:
    path = home / DESKTOP
    move(launcher, "claude-desktop")
    mine = path.read_text().replace('"mcpServers": {', '"mcpServers": {"time": {"command": "n"}, ')
    path.write_text(mine)
    snapshot.commands("setup-gateway-undo-taken", "setup --undo claude-desktop --yes  # 6")
    assert json.loads(path.read_text()) == {"mcpServers": {"time": {"command": "n"}}}


def test_a_gateways_removed_entry_does_not_lose_the_servers(home: Path, launcher: str) -> None:
    path = home / DESKTOP
    before = path.read_text()
    move(launcher, "claude-desktop")
    path.write_text('{"mcpServers": {}}')
    assert run("--undo", "claude-desktop", "--yes").exit_code == 0
    assert path.read_text() == before


@pytest.mark.parametrize("is_changed", [False, True])
def test_guarded_servers_move_without_their_guard_and_come_back_open(
    home: Path, launcher: str, is_changed: bool
) -> None:
    before = contents(home)
    run("--all", "--yes", "--launcher", launcher)
    move(launcher, "--all")
    assert gateway_names() == MOVED
    assert "wrap" not in Path(usual_file()).read_text()
    path = home / ".claude.json"
    if is_changed:
        path.write_text(path.read_text().replace('"numStartups": 12', '"numStartups": 13'))
        before[".claude.json"] = before[".claude.json"].replace(": 12", ": 13")
    run("--all", "--yes", "--launcher", launcher)  # a gateway's entry gets no guard
    undone = run("--undo", "--all", "--yes")
    assert undone.exit_code == 0, undone.output
    assert contents(home) == before
    assert not Path(usual_file()).exists()


def test_a_server_that_came_later_moves_beside_the_others(home: Path, launcher: str) -> None:
    path = home / DESKTOP
    before = path.read_text()
    move(launcher, "claude-desktop")
    later = path.read_text()[:-2] + ', "late": {"command": "l"}}}'
    path.write_text(later)
    move(launcher, "claude-desktop")
    assert gateway_names() == {"time", "late"}
    assert path.read_text().count(launcher) == 1
    assert run("--undo", "claude-desktop", "--yes").exit_code == 0
    servers = json.loads(before)["mcpServers"] | {"late": {"command": "l"}}
    assert json.loads(path.read_text())["mcpServers"] == servers


LEFT = {
    "variable": {"command": "srv", "args": ["${workspaceFolder}"]},
    "environment": {"command": "srv", "env": {"T": "${env:HOME}"}},
    "header": {"url": "https://x.test/mcp", "headers": {"Authorization": "Bearer ${env:HOME}"}},
    "tools": {"command": "srv", "disabledTools": ["write"]},
    "file": {"command": "srv", "envFile": ".env"},
    "login": {"url": "https://x.test/mcp"},
    "off": {"command": "srv", "disabled": True},
    "options": {"command": "pipeguard", "args": ["wrap", "--observe", "--", "srv"]},
}


def test_what_would_not_mean_the_same_stays(home: Path, launcher: str) -> None:
    path = home / ".cursor/mcp.json"
    path.write_text(json.dumps({"mcpServers": {**LEFT, "ok": {"command": "srv"}}}))
    move(launcher, "cursor")
    left = json.loads(path.read_text())["mcpServers"]
    assert left.pop("pipeguard")["args"] == ["serve"]
    assert left == LEFT
    assert gateway_names() == {"ok"}


def test_headers_and_variables_move_with_their_values(home: Path, launcher: str) -> None:
    servers = {
        "a": {"command": "srv", "args": ["-v", 1], "env": {"T": SECRET}, "cwd": "/srv"},
        "b": {"url": "https://x.test", "type": "sse", "headers": {"X-A": SECRET}},
        "c": {"url": "http://localhost:1/", "headers": {"X-B": "keyring:NAME"}},
    }
    (home / ".cursor/mcp.json").write_text(json.dumps({"mcpServers": servers}))
    run("cursor", "--server", "b", "--yes", "--launcher", launcher)  # a guard of its own
    move(launcher, "cursor")
    first, second, third = Sources(usual_file()).read({}).servers
    assert (first.command, first.env, first.cwd) == (("srv", "-v", "1"), {"T": SECRET}, "/srv")
    assert (second.url, second.headers) == ("https://x.test", {"X-A": SECRET})
    assert second.transport == "sse"
    assert (third.url, third.headers) == ("http://localhost:1/", {"X-B": "keyring:NAME"})


def test_what_cannot_move_stays_and_is_told(home: Path, launcher: str, snapshot: Snapshot) -> None:
    """A text that the gateway would expand, and a project's servers."""
    path = home / DESKTOP  # a client without variables
    path.write_text('{"mcpServers": {"a": {"command": "srv", "args": ["${env:HOME}"]}}}')
    mine = home / "work" / ".cursor" / "mcp.json"
    mine.parent.mkdir(parents=True)
    mine.write_text('{"mcpServers": {"p": {"command": "srv"}}}')
    before = path.read_text(), mine.read_text()
    snapshot.commands(
        "setup-gateway-refused",
        f"""
        setup claude-desktop --gateway --yes --launcher {launcher}  # 6
        setup cursor --scope project --project {home}/work --gateway --yes  # 6
        """,
    )
    assert (path.read_text(), mine.read_text()) == before


def test_a_wrong_file_of_servers_stops_it(home: Path, launcher: str) -> None:
    before = contents(home)
    put_file("servers: # none\n")
    arguments = ["--all", "--gateway", "--yes", "--launcher", launcher]
    assert isinstance(CliRunner().invoke(command, arguments).exception, PolicyError)
    Path(usual_file()).write_text("{mode: search}\n")  # to which no server can be added
    for words in (arguments, [*arguments, "--dry-run"]):
        refused = CliRunner().invoke(command, words)
        assert (refused.exit_code, "add `servers: {}` to it" in refused.output) == (5, True)
        assert '"serve"' not in refused.output, "a change that would be refused"
    assert contents(home) == before
    assert records() == []


def test_what_the_user_added_to_the_gateway_s_file_stays_and_is_told(
    home: Path, launcher: str, snapshot: Snapshot
) -> None:
    move(launcher, "claude-desktop")
    file = Path(usual_file())
    file.write_text(file.read_text() + "  own:\n    command: mine\n")
    snapshot.commands("setup-gateway-undo-added", "setup --undo claude-desktop --yes")
    assert gateway_names() == {"own"}


EDITS = {
    "arguments": ("", "args: [", 'args: ["--allow-private-ips", '),
    "key at the end": ("", 'args: ["t"]', 'args: ["t"]\n    tags: [clock]'),
    "below others": ("servers:\n  own:\n    command: x\n", '"uvx"', '"npx"'),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_entry_that_was_edited_behind_the_gateway_stays_and_is_told(
    home: Path, launcher: str, snapshot: Snapshot, edit: str
) -> None:
    (own, old, new), before, file = EDITS[edit], contents(home), Path(usual_file())
    if own:
        put_file(own)
    move(launcher, "claude-desktop")
    assert "time" in gateway_names()
    file.write_text(edited := file.read_text().replace(old, new, 1))
    assert new in edited, edited
    told = "your edited entry stays, as time in ~/.config/pipeguard/pipeguard.yaml"
    assert told in CliRunner().invoke(uninstall, ["--dry-run"]).output
    if own:
        assert told in run("--undo", "claude-desktop", "--yes").output
    else:
        snapshot.commands("setup-gateway-undo-edited", "setup --undo claude-desktop --yes")
    assert contents(home) == before
    assert file.read_text() == edited


def test_a_file_that_cannot_be_edited_any_more_is_named(
    home: Path, launcher: str, snapshot: Snapshot
) -> None:
    before = contents(home)
    move(launcher, "claude-desktop")
    Path(usual_file()).write_text("servers: [\n")
    snapshot.commands("setup-gateway-undo-broken", "setup --undo claude-desktop --yes  # 5")
    assert contents(home) == before


def test_one_server_moves_alone(home: Path, launcher: str, snapshot: Snapshot) -> None:
    before = contents(home)
    move(launcher, "claude-code", "--server", "api")
    assert gateway_names() == {"api"}
    assert '"files"' in (home / ".claude.json").read_text()
    snapshot.commands("setup-gateway-undo-one", "setup --undo claude-code --server api --yes  # 6")
    assert run("--undo", "claude-code", "--yes").exit_code == 0
    assert contents(home) == before


def test_the_gateway_takes_no_servers_name(home: Path, launcher: str) -> None:
    path = home / ".cursor/mcp.json"
    mine = {"command": "srv", "args": ["${input:x}"]}
    path.write_text(json.dumps({"mcpServers": {"pipeguard": mine, "a b": {"command": "srv"}}}))
    move(launcher, "cursor")
    assert json.loads(path.read_text())["mcpServers"] == {
        "pipeguard": mine,
        "pipeguard-2": {"command": launcher, "args": ["serve"]},
    }
    assert gateway_names() == {"a-b"}


def test_a_launcher_that_is_gone_is_replaced(home: Path, launcher: str) -> None:
    path = home / DESKTOP
    before = path.read_text()
    move(launcher, "claude-desktop")
    new = Path(launcher).with_name("pipeguard.exe")
    Path(launcher).rename(new)
    assert "fix it with --gateway" in run("claude-desktop").output
    move(str(new), "claude-desktop")
    assert json.loads(path.read_text())["mcpServers"]["pipeguard"]["command"] == str(new)
    assert run("--undo", "claude-desktop", "--yes").exit_code == 0
    assert path.read_text() == before


def test_equal_names_with_other_arguments_are_told_apart(home: Path, launcher: str) -> None:
    """Approving the words of one would hold those of the other, and so on for ever."""
    wanted = {
        DESKTOP: (["mcp-server-time"], "time"),
        ".cursor/mcp.json": (["mcp-server-time", "--local-timezone", "UTC"], "time-cursor"),
        ".claude.json": (["mcp-server-time@1.2.0"], "time"),
    }
    for name, (args, _) in wanted.items():
        entry = {"mcpServers": {"time": {"command": "uvx", "args": args}}}
        (home / name).write_text(json.dumps(entry))
    run("claude-desktop", "--yes", "--launcher", launcher)
    shown = run("cursor", "claude-code").output
    assert "its name for PipeGuard is time-cursor, beside that of another entry, which" in shown
    run("cursor", "claude-code", "--yes", "--launcher", launcher)
    servers = {name: json.loads((home / name).read_text())["mcpServers"] for name in wanted}
    for name, (_, named) in wanted.items():
        assert servers[name]["time"]["args"][2] == named
    assert "another entry" not in run("cursor").output
    path = home / ".cursor" / "mcp.json"
    path.write_text(path.read_text().replace("time-cursor", "time"))  # as it was before
    why = "shares its pins with another entry, which starts it with other arguments"
    assert f"it {why}" in run().output
    path.write_text(path.read_text().replace('"--name", "time"', '"--name", "time-cursor"'))
    assert why not in run().output
