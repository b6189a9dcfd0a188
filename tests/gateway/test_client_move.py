"""Servers of a client moved behind the gateway, and reached as the client would reach them."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest

from pipeguard.cli._person import TOKEN_VARIABLE, new_token
from pipeguard.rulebook.cache import load_engines
from tests.gateway.served import ACTOR, Served, environment_of_state
from tests.launch.processes import until
from tests.wrap.wrapped import PIPEGUARD, Object, Wrapped

pytestmark = pytest.mark.real


@pytest.fixture(scope="module", autouse=True)
def _compiled_rules() -> None:
    load_engines()


class Started(Served):
    """The command of a client's entry, started as the client starts it."""

    def __init__(self, folder: Path, entry: dict[str, object]) -> None:
        words = entry["args"]
        assert words == [self.verb]
        Wrapped.__init__(
            self,
            folder,
            command=(),
            options=(),
            pipeguard=[str(entry["command"])],
        )


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return folder


def test_a_clients_servers_move_are_approved_and_found_and_come_back(
    tmp_path: Path, home: Path
) -> None:
    launcher = tmp_path / "bin" / "pipeguard"
    launcher.parent.mkdir()
    launcher.write_text(f'#!/bin/sh\nexec {shlex.join(PIPEGUARD)} "$@"\n')
    launcher.chmod(0o755)
    config = home / ".cursor" / "mcp.json"
    config.parent.mkdir(parents=True)
    program, *words = ACTOR
    servers = {name: {"command": program, "args": words} for name in ("one", "two")}
    before = "// mine\n" + json.dumps({"mcpServers": servers, "other": [1]}, indent=2)
    config.write_text(before)
    environment = {**environment_of_state(tmp_path), TOKEN_VARIABLE: new_token()[0]}

    def pipeguard(*arguments: str) -> str:
        command = [str(launcher), *arguments]
        done = subprocess.run(
            command, check=False, env=environment, cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    moved = pipeguard("setup", "cursor", "--gateway", "--yes", "--launcher", str(launcher))
    assert "Moved one, two" in moved
    assert pipeguard("serve", "--check").splitlines()[0].startswith("one: ")
    text = config.read_text()
    assert text.startswith("// mine\n{")
    entries = json.loads(text.removeprefix("// mine\n"))["mcpServers"]
    with Started(tmp_path, entries["pipeguard"]) as client:
        client.initialize()
        assert client.call("retrieve_tools", query="return text").startswith("No tool matches")
        for name in ("one", "two"):
            pipeguard("approve", name, "--all", "--yes")
        wanted = {"one__echo", "two__echo"}
        until(
            lambda: all(tool in client.call("retrieve_tools", query="echo") for tool in wanted),
            "the tools of both are found",
        )
        given: Object = {"name": "two__echo", "arguments": {"text": "hello"}}
        assert client.call("call_tool_write", **given) == "hello"
    pipeguard("setup", "cursor", "--undo", "--yes")
    assert config.read_text() == before
    assert not (home / ".config" / "pipeguard" / "pipeguard.yaml").exists()
