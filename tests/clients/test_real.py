"""Real clients, from npm and offline: after `setup` their own lists show the guarded server.

They are 1.4 GB to download, so `make clients` runs these, and `make test` does not.

Claude Code, Gemini CLI, opencode and Qwen Code connect to a server in order to list it; Codex does
so through its app server. Each starts the command that setup wrote, from its own file.
"""

import json
import os
import platform
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeguard.clients import setting, undoing
from pipeguard.clients.catalog import client
from pipeguard.clients.entries import Config, read_config
from pipeguard.clients.machine import Machine, find
from pipeguard.clients.readiness import make_ready
from pipeguard.clients.rewrite import GuardOptions
from tests.commands import run_command
from tests.files import write_file
from tests.tools import npm_modules, path_with_node
from tests.wrap.wrapped import SERVER

pytestmark = [
    pytest.mark.clients,
    pytest.mark.skipif(os.name == "nt", reason="their programs lie elsewhere on Windows"),
]

LAUNCHER = (sys.executable, "-I", "-m", "pipeguard")
PATIENCE_SECONDS = 120
SYSTEM = {"linux": "linux", "darwin": "darwin"}.get(sys.platform, "")
CPU = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(platform.machine(), "arm64")
NAMES = {"command": sys.executable, "args": ["-I", "-u", str(SERVER)], "env": {"K": "v"}}


def program(path: str) -> str:
    """Find a program of tests/clients/npm. Only their install scripts find two of them."""
    return str(npm_modules(Path(__file__).parent / "npm") / path)


def listed(command: list[str], folder: Path) -> str:
    """Return a client's output, without colours."""
    done = run_command(command, cwd=folder, env=environment(), timeout=PATIENCE_SECONDS)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", done.stdout + done.stderr)


def environment() -> dict[str, str]:
    """The home of a person with only these clients, who trusts their folder."""
    return {
        "HOME": os.environ["HOME"],
        "PATH": path_with_node(),
        "TERM": "dumb",
        "GEMINI_CLI_TRUST_WORKSPACE": "true",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1",
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
    }


def ask_codex(command: list[str], folder: Path) -> str:
    """Ask Codex's app server about its MCP servers; `codex mcp list` does not start them."""
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment(),
        text=True,
        bufsize=1,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        client_info = {"name": "test", "title": "test", "version": "1"}
        asked = [
            {"id": 1, "method": "initialize", "params": {"clientInfo": client_info}},
            {"method": "initialized"},
            {"id": 2, "method": "mcpServerStatus/list", "params": {}},
        ]
        process.stdin.write("".join(json.dumps(one) + "\n" for one in asked))
        try:
            while select.select([process.stdout], [], [], PATIENCE_SECONDS)[0]:
                line = process.stdout.readline()
                if not line or json.loads(line).get("id") == 2:
                    return line
        finally:
            process.kill()
    return ""


@dataclass(frozen=True)
class Real:
    """A client: its file, its entry there, how it lists servers, and the resulting list."""

    place: str
    text: Callable[[], str]
    command: Callable[[], list[str]]
    says: str
    ask: Callable[[list[str], Path], str] = listed


def _json(key: str, **more: object) -> Callable[[], str]:
    return lambda: json.dumps({key: {"it": {**NAMES, **more}}}, indent=2)


WRITES_ITS_OWN_FILE = ("claude-code", "opencode", "qwen-code")  # whenever it runs
REAL = {
    "claude-code": Real(
        ".claude.json",
        _json("mcpServers", type="stdio"),
        lambda: [program(f"@anthropic-ai/claude-code-{SYSTEM}-{CPU}/claude"), "mcp", "list"],
        r"it: .* wrap (?:--name it )?--env K -- .*Connected",
    ),
    "gemini-cli": Real(
        ".gemini/settings.json",
        _json("mcpServers"),
        lambda: [program(".bin/gemini"), "mcp", "list"],
        r"it: .* wrap (?:--name it )?--env K -- .*Connected",
    ),
    "qwen-code": Real(
        ".qwen/settings.json",
        _json("mcpServers"),
        lambda: [program(".bin/qwen"), "mcp", "list"],
        r"it: .* wrap (?:--name it )?--env K -- .*Connected",
    ),
    "opencode": Real(
        ".config/opencode/opencode.jsonc",
        lambda: (
            "{ // mine\n"
            + json.dumps(
                {"mcp": {"it": {"type": "local", "command": [NAMES["command"], *NAMES["args"]]}}}
            )[1:-1]
            + ",\n}\n"
        ),
        lambda: [program(f"opencode-{SYSTEM}-{CPU}/bin/opencode"), "mcp", "list"],
        r"it connected\s.* wrap .*-- ",
    ),
    "codex": Real(
        ".codex/config.toml",
        lambda: (
            f"[mcp_servers.it]\ncommand = {json.dumps(NAMES['command'])} # mine\n"
            f"args = {json.dumps(NAMES['args'])}\n"
        ),
        lambda: [program(".bin/codex"), "app-server"],
        r'"serverInfo":\{"name":"actor".*"tools":\{"echo"',
        ask_codex,
    ),
}


@pytest.mark.parametrize("name", REAL)
def test_a_real_client_connects_to_the_guarded_server(
    name: str, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = REAL[name]
    path = write_file(machine.home / real.place, real.text())
    before = path.read_bytes()
    folder = tmp_path / "empty"
    folder.mkdir()
    make_ready()

    planned = setting.plan(config(machine, name), machine, LAUNCHER, GuardOptions())
    setting.carry_out(planned, machine)
    assert b'"wrap"' in path.read_bytes()
    said = real.ask(real.command(), folder)
    assert re.search(real.says, said), said

    undoing.undo(undoing.plan_undo(config(machine, name), machine), machine)
    assert b'"wrap"' not in path.read_bytes()
    if name not in WRITES_ITS_OWN_FILE:
        assert path.read_bytes() == before


def config(machine: Machine, name: str) -> Config:
    (found,) = find(machine, [client(name)])
    return read_config(found)


def test_the_clients_are_those_that_are_locked() -> None:
    locked = json.loads((Path(__file__).parent / "npm" / "package.json").read_text())
    assert len(locked["dependencies"]) == len(REAL)
    assert shutil.which("git")  # without it opencode and setup do less
