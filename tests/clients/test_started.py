"""A guarded entry, started as its client would: the server runs, with everything meant for it."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeguard.clients import setting
from pipeguard.clients.catalog import client
from pipeguard.clients.entries import ServerEntry, read_config
from pipeguard.clients.machine import Machine, find
from pipeguard.clients.rewrite import GuardOptions
from pipeguard.config.directories import cache_folder
from pipeguard.demo.client import converse
from tests.files import write_file, write_program
from tests.wrap.wrapped import SERVER

LAUNCHER = (sys.executable, "-I", "-m", "pipeguard")
BARE = ("HOME", "PATH", "USER", "LOGNAME", "SHELL", "TERM")  # what the reference SDK passes


def guarded(
    machine: Machine, place: str, text: str, launcher: Sequence[str] = LAUNCHER
) -> ServerEntry:
    write_file(machine.home / place, text)
    (found,) = find(machine)
    planned = setting.plan(read_config(found), machine, launcher, GuardOptions())
    setting.carry_out(planned, machine)
    (server,) = read_config(found).servers
    assert server.guard is not None
    return server


def environment_of(
    server: ServerEntry, tmp_path: Path, client_s_own: dict[str, str]
) -> dict[str, str]:
    """Start an entry as a client does, and return the server's environment."""
    variables = client_s_own | dict(server.env)
    with converse(server.words, tmp_path, variables, tmp_path / "stderr") as conversation:
        told = conversation.ask("do/environment", {}).result
    return {key: str(value) for key, value in told.items()}


def whole() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if "COVERAGE" not in key}


@pytest.mark.often("cursor-the same value", "codex-bare", "opencode-bare")
@pytest.mark.parametrize(
    ("name", "own"),
    [("cursor", "the same value"), *((name, "bare") for name in ("cursor", "codex", "opencode"))],
)
def test_the_server_gets_its_variables(
    name: str, own: str, machine: Machine, tmp_path: Path
) -> None:
    command, args = sys.executable, ["-I", "-u", str(SERVER)]
    env = {"SERVICE_TOKEN": "value of the entry"}
    texts = {
        "cursor": json.dumps(
            {"mcpServers": {"it": {"command": command, "args": args, "env": env}}}
        ),
        "codex": f"[mcp_servers.it]\ncommand = {json.dumps(command)}\nargs = {json.dumps(args)}\n"
        f"[mcp_servers.it.env]\nSERVICE_TOKEN = {json.dumps(env['SERVICE_TOKEN'])}\n",
        "opencode": json.dumps(
            {"mcp": {"it": {"type": "local", "command": [command, *args], "environment": env}}}
        ),
    }
    places = {
        "cursor": ".cursor/mcp.json",
        "codex": ".codex/config.toml",
        "opencode": ".config/opencode/opencode.json",
    }
    assert client(name).files
    server = guarded(machine, places[name], texts[name])
    variables = whole() if own != "bare" else {n: os.environ[n] for n in BARE if n in os.environ}
    variables["PIPEGUARD_STATE_DIR"] = str(tmp_path / "state")
    variables["PIPEGUARD_CACHE_DIR"] = cache_folder()  # rules are compiled once, and not for each
    if own == "the same value":  # which no wrapper could tell from the client's own
        variables |= env
    got = environment_of(server, tmp_path, variables)
    assert got["SERVICE_TOKEN"] == env["SERVICE_TOKEN"]
    assert not any(key.startswith("PIPEGUARD_") for key in got)


def test_what_python_runs_for_the_server_runs_nowhere_else(
    machine: Machine, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    folder = tmp_path / "for the server"
    code = f"import sys\nopen({str(ran)!r}, 'a').write(f'{{sys.orig_argv}}\\n')\n"
    write_file(folder / "sitecustomize.py", code)
    text = f"#!{sys.executable}\nfrom pipeguard.__main__ import main\nmain()\n"
    script = write_program(tmp_path / "pipeguard", text)
    entry = {
        "command": sys.executable,
        "args": ["-u", str(SERVER)],
        "env": {"PYTHONPATH": str(folder)},
    }
    text = json.dumps({"mcpServers": {"it": entry}})
    server = guarded(machine, ".cursor/mcp.json", text, [str(script)])
    variables = {
        **{key: os.environ[key] for key in BARE[:2]},
        "PIPEGUARD_CACHE_DIR": cache_folder(),
    }
    told = environment_of(server, tmp_path, variables)
    assert told["PYTHONPATH"] == str(folder)
    assert ran.read_text().splitlines() == [str([sys.executable, "-u", str(SERVER)])]
