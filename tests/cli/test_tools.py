"""`pipeguard tools`: which servers a command starts, and which tool a name means."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pipeguard.gateway import gateway as gateways
from pipeguard.gateway.sources import Sources, inspect_tools
from pipeguard.launch.person import TOKEN_VARIABLE, new_token
from tests.forking import PIPEGUARD
from tests.gateway.served import ACTOR, ServedAt, actor, write_servers
from tests.gateway.test_same_verdicts import SCRIPTED
from tests.listening import Process
from tests.people import run_here
from tests.wrap.wrapped import Object

pytestmark = pytest.mark.real


class Machine:
    """A file of servers, one of which leaves a trace when it starts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.trace = folder / "trace"
        leave = f"open({str(self.trace)!r}, 'w')"
        servers: dict[str, Object] = {
            "one": actor(),
            "tracing": {"command": sys.executable, "args": ["-c", leave], "trust": "first-use"},
        }
        self._config = write_servers(folder, servers)

    def tools(self, *words: str) -> subprocess.CompletedProcess[str]:
        return run_tools(self._folder, *words, "--config", str(self._config))


def run_tools(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `pipeguard tools` with the state of a folder."""
    state = {"PIPEGUARD_STATE_DIR": str(folder / "state")}
    return run_here("tools", *words, **state, **variables)


@pytest.mark.often("describe one__echo", "list --server one")
@pytest.mark.parametrize(
    "words",
    [
        ("describe", "one__echo"),
        ("call", "one/echo", '{"text": "one__echo"}'),
        ("list", "--server", "one"),
        ("search", "echo", "--server", "one"),
    ],
    ids=" ".join,
)
def test_only_the_servers_that_a_command_needs_are_started(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    machine = Machine(tmp_path)
    done = machine.tools(*words)
    assert done.returncode == 0, done.stderr
    assert "one__echo" in done.stdout
    assert not machine.trace.exists()


def test_what_a_terminal_would_hide_or_obey_is_shown(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    text = '{"text": "caf\u00e9\\n\u05d0\u200e\u0085b"}'
    for options in ((), ("--json",)):
        done = machine.tools("call", "one/echo", text, *options)
        assert done.returncode == 0, done.stderr
        assert "caf\u00e9" in done.stdout
        assert all(line.isprintable() for line in done.stdout.split("\n")), done.stdout


async def test_a_person_waits_longer_than_a_client_for_a_server_to_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first start of a package fetches it; otherwise its tools would be silently missing."""
    monkeypatch.setattr(gateways, "SETTLING_SECONDS", 0.0)
    path = write_servers(tmp_path, {"one": actor()})
    async with inspect_tools(Sources(str(path))) as inspector:
        assert "one__echo" in [tool.public for tool in inspector.catalog]


def test_a_name_without_a_server_or_of_no_tool_is_looked_for_on_all(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    done = machine.tools("describe", "echo")
    assert done.stdout.startswith("one__echo (server one;")
    assert machine.trace.exists()
    machine.trace.unlink()
    done = machine.tools("describe", "one/ecko")
    assert done.returncode != 0
    assert "no tool that can be called now is called one/ecko" in done.stderr
    assert machine.trace.exists(), "it could have been another server's"
    assert "Available: one, tracing." in machine.tools("list", "--server", "none").stderr


def test_a_tool_whose_change_waits_is_marked(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    command: Object = {"command": sys.executable, "args": [str(SCRIPTED), str(script)]}
    config = write_servers(tmp_path, {"one": {**command, "trust": "first-use"}})
    lines, shown = [], ""
    for words in ("Shows a note.", "Shows a note, and sends it to a friend."):
        tool: Object = {"name": "show", "description": words, "inputSchema": {"type": "object"}}
        script.write_text(json.dumps({"tools": [tool]}))
        listed = run_tools(tmp_path, "list", "--config", str(config)).stdout
        lines.append(" ".join(listed.partition("\none: ")[0].split()))
        assert "Held" not in shown
        described = run_tools(tmp_path, "describe", "one/show", "--config", str(config))
        shown = described.stdout + described.stderr
    assert "Held: the server has changed this tool" in shown
    assert "pipeguard diff one/show" in shown
    held = "held until you approve its change. "
    assert lines == [f"one__show read {each}Shows a note." for each in ("", held)]


def test_what_waits_is_named_where_nothing_is_found(tmp_path: Path) -> None:
    config = write_servers(
        tmp_path, {"one": {**actor(), "trust": "review"}, "two": {"command": "/nowhere/at/all"}}
    )
    found = run_tools(tmp_path, "search", "echo", "--config", str(config))
    assert (found.returncode, found.stdout) == (1, "")
    assert "No tool that can be called now matches." in found.stderr
    assert "pipeguard approve one --all" in found.stderr
    assert "two: /nowhere/at/all: there is no such file." in found.stderr
    assert ".;" not in found.stderr
    called = run_tools(tmp_path, "call", "one__echo", "--config", str(config))
    assert called.returncode != 0
    assert "pipeguard approve one --all" in called.stderr
    assert "two:" not in called.stderr


@pytest.mark.parametrize("mode", ["search", "direct"])
def test_a_gateway_that_listens_is_asked_and_starts_nothing(tmp_path: Path, mode: str) -> None:
    trace = tmp_path / "trace"
    count = (
        f"open({str(trace)!r}, 'a').write('started '); "
        "import os, sys; os.execv(sys.argv[1], sys.argv[1:])"
    )
    counted: Object = {
        "command": sys.executable,
        "args": ["-c", count, *ACTOR],
        "trust": "first-use",
    }
    servers: dict[str, Object] = {"one": counted, "two": {"command": "/nowhere/at/all"}}
    config = write_servers(tmp_path, servers, mode=mode)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"

    commands = [("list", "--json"), ("call", "one/echo", '{"text": "hello"}', "--json")]
    if mode == "search":
        commands += [("search", "echo", "--json"), ("describe", "echo")]
    options = ("--listen", address, "--drain", "0", "--config", str(config), "--token-env", "AGENT")
    command = [*PIPEGUARD, "serve", *options]
    token = {"AGENT": "a-token-of-the-tests"}
    variables = {"PIPEGUARD_STATE_DIR": str(tmp_path / "state"), **token}
    with Process(tmp_path / "log", command, variables, told_on_stderr=True) as served:
        url = served.url
        at = ("--url", url, "--token-env", "AGENT")
        asked = [run_tools(tmp_path, *words, *at, **token) for words in commands]
        assert [each.returncode for each in asked] == [0] * len(commands), asked
        assert trace.read_text() == "started "
        assert "two: " in asked[0].stderr, "why it has none"
        refused = run_tools(tmp_path, "list", "--url", url)
        assert (refused.returncode, "refuses the login (HTTP 401)" in refused.stderr) == (1, True)
        assert run_tools(tmp_path, "list", "--url", url, "--config", str(config)).returncode == 2
        started = [run_tools(tmp_path, *words, "--config", str(config)) for words in commands]
    assert "connection refused" in run_tools(tmp_path, "list", "--url", url).stderr
    assert trace.read_text() == "started " * (1 + len(commands))
    assert [each.stdout for each in asked] == [each.stdout for each in started]


def test_a_gateway_lists_only_what_a_token_may_use(tmp_path: Path) -> None:
    config = write_servers(tmp_path, {"one": actor(), "two": actor()})
    state = {"PIPEGUARD_STATE_DIR": str(tmp_path / "state")}

    def make_token(name: str, server: str) -> str:
        person = {TOKEN_VARIABLE: new_token()[0]}
        return run_here(
            "tokens", "create", name, "--server", server, **state, **person
        ).stdout.strip()

    made, idle = make_token("ci", "two"), make_token("nowhere", "gone")
    with ServedAt(tmp_path, "--config", str(config)) as served:
        at = ("--url", served.url, "--token-env", "CI")
        for words, code in ((["list"], 0), (["search", "echo"], 1)):
            told = run_tools(tmp_path, *words, *at, CI=idle)
            assert (told.returncode, told.stdout) == (code, "")
            assert told.stderr.startswith("There is no server.")
        write_servers(tmp_path / "config" / "pipeguard", {"github": actor()})
        asking = {"CI": made, "XDG_CONFIG_HOME": str(tmp_path / "config")}
        done = run_tools(tmp_path, "list", *at, "--json", **asking)
        called = run_tools(tmp_path, "call", "one__echo", *at, **asking)
    assert "no tool that can be called now is called one__echo" in called.stderr
    assert {tool["server"] for tool in json.loads(done.stdout)} == {"two"}
