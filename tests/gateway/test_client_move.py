"""Servers of a client moved behind the gateway, and reached as the client would reach them."""

import json
import os
import shlex
from pathlib import Path

import pytest

from pipeguard.clients.catalog import ConfigScope, client
from pipeguard.clients.entries import GuardState, read_config
from pipeguard.clients.files import FileError
from pipeguard.clients.guarding import gateway_launcher
from pipeguard.clients.history import records
from pipeguard.clients.machine import ConfigFile, Machine, find
from pipeguard.clients.reading import BOM
from pipeguard.clients.rewrite import GuardOptions
from pipeguard.clients.setting import ChangePlan
from pipeguard.clients.undoing import UndoMethod, plan_undo, undo
from pipeguard.gateway.client_move import carry_out_move, check_file, plan_move, release
from pipeguard.gateway.moving import judge_move
from pipeguard.launch.person import TOKEN_VARIABLE, new_token
from tests.clients.samples import Sample, samples
from tests.clients.test_samples import FORMATTINGS, can_be
from tests.commands import run_command
from tests.each import each
from tests.files import write_file, write_program
from tests.forking import PIPEGUARD
from tests.gateway.served import ACTOR, Served, environment_of_state
from tests.launch.processes import until
from tests.wrap.deciding import decide
from tests.wrap.wrapped import Object, Wrapped


class Started(Served):
    """The command of a client's entry, started as the client starts it."""

    def __init__(self, folder: Path, entry: dict[str, object]) -> None:
        words = entry["args"]
        assert words == [self.verb]
        Wrapped.__init__(self, folder, command=(), options=(), pipeguard=[str(entry["command"])])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return folder


@pytest.mark.real
def test_a_clients_servers_move_work_and_come_back(tmp_path: Path, home: Path) -> None:
    text = f'#!/bin/sh\nexec {shlex.join(PIPEGUARD)} "$@"\n'
    launcher = write_program(tmp_path / "bin" / "pipeguard", text)
    config = home / ".cursor" / "mcp.json"
    config.parent.mkdir(parents=True)
    program, *words = ACTOR
    servers = {name: {"command": program, "args": words} for name in ("one", "two")}
    before = "// mine\n" + json.dumps({"mcpServers": servers, "other": [1]}, indent=2)
    config.write_text(before)
    environment = {**environment_of_state(tmp_path), TOKEN_VARIABLE: new_token()[0]}

    def pipeguard(*arguments: str) -> str:
        command = [str(launcher), *arguments]
        done = run_command(command, env=environment, cwd=tmp_path)
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
        assert "\nNo tool matches" in client.call("retrieve_tools", query="return text")
        for name in ("one", "two"):
            assert decide(tmp_path / "state", "approve", name, "--all", "--yes")[0] == 0
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


@pytest.fixture
def machine(home: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # the disk is not what is tried
    return Machine("linux", home, {})


@pytest.fixture
def servers_file(tmp_path: Path) -> Path:
    return tmp_path / "config" / "pipeguard.yaml"


def content_of(sample: Sample, how: str, text: str) -> bytes:
    return (
        BOM.encode() + text.encode() if how == "bom" else FORMATTINGS.get(how, str)(text).encode()
    )


SAMPLES = [each for each in samples() if each.after and each.spec.scope is ConfigScope.USER]
ONE_EACH = {sample.spec.format: sample for sample in reversed(SAMPLES)}.values()
CASES = {
    f"{sample}-{which}-{how}": (sample, content_of(sample, how, text))
    for sample in SAMPLES
    for which, text in (("open", sample.before), ("guarded", sample.after))
    for how in ("as it is", "bom", *FORMATTINGS)
    if how == "as it is" or (sample in ONE_EACH and (how == "bom" or can_be(sample, how)))
}


@each("sample, content", CASES)
def test_every_sample_is_given_back_byte_for_byte(
    machine: Machine, servers_file: Path, sample: Sample, content: bytes
) -> None:
    path = machine.home / "file"
    path.write_bytes(content)
    file = ConfigFile(path, (sample.spec,))

    def planned() -> ChangePlan:
        return plan_move(
            read_config(file), machine, ("/opt/pipeguard",), GuardOptions(), servers_file
        )

    plan = planned()
    if plan.content is None:  # with a variable that only the client can fill in
        assert all(judged.why for judged in plan.servers)
        return
    carry_out_move(plan, machine, servers_file)
    moved = read_config(file)
    assert moved.problem == ""
    assert [s.words for s in moved.servers if gateway_launcher(s.words)] == [
        ("/opt/pipeguard", "serve")
    ]
    assert check_file(servers_file)
    launcher_is_gone = planned()
    assert [s.state for s in launcher_is_gone.servers if s.is_to_do] == [GuardState.STALE]
    undone = plan_undo(moved, machine)
    assert {entry.method for entry in undone.undone} == {UndoMethod.EXACT}
    undo(undone, machine)
    assert release(undone.used) == {}
    assert path.read_bytes() == content
    assert not servers_file.exists()


def test_nothing_is_written_where_the_clients_file_changed_meanwhile(
    machine: Machine, servers_file: Path
) -> None:
    path = machine.home / ".cursor" / "mcp.json"
    write_file(path, '{"mcpServers": {"a": {"command": "srv"}}}')
    config = read_config(ConfigFile(path, client("cursor").files[:1]))
    plan = plan_move(config, machine, ("/opt/pipeguard",), GuardOptions(), servers_file)
    path.write_text("{}")
    with pytest.raises(FileError, match="changed in the meantime"):
        carry_out_move(plan, machine, servers_file)
    assert path.read_text() == "{}"
    assert not servers_file.exists()
    assert records() == []


@pytest.mark.parametrize(
    "entry",
    [
        {"url": "http://127.0.0.1:1/mcp", "headers": {"Authorization": "Bearer pgt_x"}},
        {
            "command": "pipeguard",
            "env": {"TEAM": "pgt_x"},
            "args": ["wrap", "--bearer-env", "TEAM", "--upstream", "http://127.0.0.1:1/mcp"],
        },
    ],
)
def test_a_client_with_a_token_of_a_gateway_keeps_it(
    machine: Machine, entry: dict[str, object]
) -> None:
    config = machine.home / ".cursor" / "mcp.json"
    write_file(config, json.dumps({"mcpServers": {"team": entry}}))
    (found,) = find(machine)
    (server,) = read_config(found).servers
    judged = judge_move(server, GuardOptions())
    assert (judged.state, judged.code) == (GuardState.CANNOT, "gateway-token")
