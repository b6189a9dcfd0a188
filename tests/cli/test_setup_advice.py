"""The commands that `pipeguard setup` prints work as printed."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeguard.cli import cli
from pipeguard.clients.launcher import LauncherError
from pipeguard.installation import INSTALL
from tests.cli.test_setup import home, launcher
from tests.cli.test_setup import run as setup

__all__ = ("home", "launcher")


def shared_project(home: Path) -> Path:
    folder = home / "shared"
    folder.mkdir()
    server = {"command": "npx", "args": ["-y", "srv", "/srv/other"]}
    (folder / ".mcp.json").write_text(json.dumps({"mcpServers": {"files": server}}))
    (folder / ".git").mkdir()
    return folder


def test_every_advised_command_has_the_launcher_that_was_given(home: Path, launcher: str) -> None:
    where = ("--project", str(shared_project(home)), "--launcher", launcher)
    output = setup(*where).output
    (advised,) = (line for line in output.splitlines() if ":  pipeguard setup " in line)
    assert f"--launcher={launcher}" in advised


@pytest.mark.parametrize("path", ["", "/tmp/bin/pipeguard"])
@pytest.mark.parametrize("shown_by", [(), ("--dry-run",)])
def test_without_a_launcher_the_advised_command_can_succeed(
    home: Path, monkeypatch: pytest.MonkeyPatch, path: str, shown_by: tuple[str, ...]
) -> None:
    def find_none(*_: object) -> tuple[str, ...]:
        error = LauncherError("none")
        error.path = path
        raise error

    monkeypatch.setattr("pipeguard.cli._setup_steps.launcher", find_none)
    shown = setup(*shown_by)
    assert shown.exit_code == 1, "some can be guarded"
    *_, before, line = shown.output.splitlines()
    assert (before == INSTALL) is not bool(path)
    assert line.endswith(f":  pipeguard setup --all --yes{path and f' --launcher {path}'}")


def test_a_shared_file_needs_no_launcher_of_this_machine(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_none(*_: object) -> tuple[str, ...]:
        raise LauncherError("none")

    monkeypatch.setattr("pipeguard.cli._setup_steps.launcher", find_none)
    where = ("--project", str(shared_project(home)), "--scope", "project")
    assert setup("claude-code", *where, "--shared", "--yes").exit_code == 0
    text = (home / "shared" / ".mcp.json").read_text()
    assert '"command": "pipeguard"' in text


def test_uninstalling_names_a_guarded_file_that_was_moved(
    home: Path, launcher: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = home / "shop" / ".vscode" / "mcp.json"
    file.parent.mkdir(parents=True)
    file.write_text(before := '{"servers": {"it": {"command": "srv"}}}')
    monkeypatch.chdir(home / "shop")
    setup("vscode", "--scope", "project", "--yes", "--launcher", launcher)
    assert file.read_text() != before
    named = setup("--undo", "vscode", "--scope", "all").output
    assert "(project)" in named
    monkeypatch.chdir(home)
    assert "VS Code  ~/shop/.vscode/mcp.json  (project)" in uninstall()
    moved = (home / "shop").rename(home / "store")
    shown = uninstall()
    assert f"guards in {file}, which is no longer there" in shown
    monkeypatch.chdir(moved)
    setup("--undo", "--all", "--yes", "--scope", "all")
    assert (moved / ".vscode" / "mcp.json").read_text() == before


def uninstall() -> str:
    return CliRunner().invoke(cli, ["uninstall", "--dry-run"]).output
