"""Lazy servers run while needed; failing ones are tried later each time, with a message."""

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeguard.gateway import life
from pipeguard.gateway.gateway import Gateway
from pipeguard.gateway.life import MOST_REASON_CHARS, Circuit, State
from pipeguard.gateway.member import GatewayServer
from pipeguard.gateway.menu import ToolMode
from pipeguard.gateway.server_output import last_lines
from pipeguard.gateway.servers_file import ServerSettings, Start
from pipeguard.launch.person import TOKEN_VARIABLE, new_token
from tests.forking import PIPEGUARD
from tests.gateway.rogues import Client, Object, rogue, talking, until
from tests.gateway.served import environment_of_state

pytestmark = pytest.mark.real
OFFERS = {"tools": ["run"], "prompts": ["p"], "resources": ["x://r"], "templates": ["x://{y}"]}


def lazy(log: Path, idle_seconds: float = 300.0, **settings: object) -> ServerSettings:
    settings |= {"start": Start.LAZY, "idle_seconds": idle_seconds}
    return rogue("b", settings=settings, log=str(log), **OFFERS)


def starts(log: Path) -> int:
    """Count how often the server was started."""
    return log.read_text().count("initialize ") if log.exists() else 0


def is_in(state: State, gateway: Gateway, server: str = "b") -> Callable[[], bool]:
    return lambda: gateway.members[server].state is state


async def read_once(client: Client, gateway: Gateway) -> None:
    assert (await client.result("prompts/list"))["prompts"]
    assert (await client.result("resources/list"))["resources"]
    assert (await client.result("resources/templates/list"))["resourceTemplates"]


async def test_a_lazy_server_is_known_and_starts_when_called(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with talking(lazy(log)) as (client, gateway):
        await read_once(client, gateway)
    assert starts(log) == 1, "one of which nothing is known is started to be read"
    async with talking(lazy(log)) as (client, gateway):
        assert gateway.absent() == {}
        tools = (await client.result("tools/list"))["tools"]
        assert "b__run" in str(tools)
        await read_once(client, gateway)
        assert gateway.members["b"].state is State.ASLEEP
        assert starts(log) == 1  # when it was read
        assert await client.text("b__run") == "run ran at b"
        assert starts(log) == 2
        assert "read at b" in str(await client.result("resources/read", uri="x://r"))


async def test_a_lazy_server_without_work_is_stopped_and_started_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with talking(lazy(log, idle_seconds=0.2)) as (client, gateway):
        assert await client.text("b__run") == "run ran at b"
        await until(is_in(State.ASLEEP, gateway))
        await until(lambda: log.read_text().endswith("ended\n"))
        assert await client.text("b__run") == "run ran at b"
        assert starts(log) == 2


async def test_a_list_is_read_though_its_server_falls_asleep_again(tmp_path: Path) -> None:
    async with talking(lazy(tmp_path / "log")) as (client, gateway):
        await read_once(client, gateway)
    async with talking(lazy(tmp_path / "log")) as (_, gateway):
        leg = gateway.find_remembered("b")
        assert leg is not None
        reading = asyncio.create_task(leg.request("prompts/list"))
        await asyncio.sleep(0)
        await gateway.members["b"]._remember(None)
        assert "result" in await reading
        assert not leg.is_open


@pytest.mark.parametrize("method", ["resources/subscribe", "tools/call"])
async def test_one_with_a_subscription_or_a_task_is_not_stopped(
    tmp_path: Path, method: str
) -> None:
    log = tmp_path / "log"
    async with talking(lazy(log, idle_seconds=0.1)) as (client, gateway):
        task: Object = {"name": "b__run", "arguments": {}, "task": {}}
        asked = task if method == "tools/call" else Object(uri="x://r")
        answer = await client.result(method, **asked)
        member = gateway.members["b"]
        await until(lambda: member.seconds_to_idle() < 0)
        await until(lambda: member.seconds_to_idle() > 0)  # it was looked at
        assert member.state is State.READY
        assert not log.read_text().endswith("ended\n")
        if isinstance(made := answer.get("task"), dict):
            found = await client.result("tasks/get", taskId=made["taskId"])
            assert found["status"] == "working"


async def test_what_is_held_is_found_only_once_approved(tmp_path: Path) -> None:
    log = tmp_path / "log"
    server = lazy(log, trust="review")
    async with talking(server) as (_, first):
        await until(lambda: first.members["b"].offer.waiting > 0)
    async with talking(server) as (client, gateway):
        assert gateway.members["b"].state is State.ASLEEP
        assert (await client.result("tools/list"))["tools"] == []
        command = [*PIPEGUARD, "approve", "b", "--all", "--yes"]
        variables = {**environment_of_state(tmp_path), TOKEN_VARIABLE: new_token()[0]}
        await asyncio.to_thread(
            subprocess.run, command, env=variables, capture_output=True, check=True
        )
        await until(lambda: len(gateway.catalog) == 1)
        assert gateway.members["b"].state is State.ASLEEP
        assert starts(log) == 1


def test_one_that_failed_often_is_tried_rarely_until_it_has_run_for_a_while() -> None:
    failing, longest = Circuit(), life.MOST_DELAY_SECONDS / 2
    waits = [failing.fail(0) for _ in range(life.MOST_FAILURES)]
    assert [wait > longest for wait in waits] == [False] * 4 + [True]
    assert failing.fail(life.STEADY_SECONDS + 1) < longest


async def test_one_that_is_not_there_is_tried_again_and_found(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "server"
    async with talking(
        ServerSettings("b", (str(program),), trust="first-use"), mode=ToolMode.SEARCH
    ) as (client, gateway):
        await until(is_in(State.DOWN, gateway))
        why = gateway.absent()["b"]
        assert "no such file" in why
        assert why in await client.text("retrieve_tools", query="anything")
        real = rogue("b", tools=["run"]).command
        program.write_text("#!/bin/sh\nexec " + " ".join(f"'{word}'" for word in real) + "\n")
        program.chmod(0o700)
        await until(is_in(State.READY, gateway))
    lines = [line for line in capfd.readouterr().err.splitlines() if "server=b" in line]
    assert len(lines) == 2, "down, then ready: a line for each change"


async def test_the_path_of_this_machine_is_for_the_user_and_not_for_agents(
    capfd: pytest.CaptureFixture[str],
) -> None:
    settings = ServerSettings("b", ("no-such-server",), trust="first-use")
    async with talking(settings, mode=ToolMode.SEARCH) as (client, gateway):
        await until(is_in(State.DOWN, gateway))
        told = await client.text("retrieve_tools", query="anything") + gateway.absent()["b"]
        assert "no-such-server: command not found" in told
        assert os.environ["PATH"] not in told
    assert os.environ["PATH"] not in capfd.readouterr().err
    assert os.environ["PATH"] in "".join(last_lines("b", 9))


async def test_what_a_server_says_of_its_failure_is_cut(capfd: pytest.CaptureFixture[str]) -> None:
    async with talking(rogue("b", fails=["initialize"], failure="no! " * 10_000)) as (_, gateway):
        await until(is_in(State.DOWN, gateway))
        assert len(gateway.absent()["b"]) < MOST_REASON_CHARS + 100


def test_one_whose_start_fails_unexpectedly_is_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin = GatewayServer._begin
    is_broken = True

    async def break_once(server: GatewayServer) -> None:
        nonlocal is_broken
        if is_broken:
            is_broken = False
            raise ValueError("nobody thought of this")
        await begin(server)

    async def scenario() -> None:
        async with talking(rogue("b")) as (_, gateway):
            await until(is_in(State.READY, gateway))

    monkeypatch.setattr(GatewayServer, "_begin", break_once)
    asyncio.run(scenario())  # on a loop that takes its complaint


async def test_a_client_hears_why_a_server_is_down_and_the_log_also_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    async with talking(ServerSettings("b", ("cat",), env={"KEY": "keyring:gone"})) as (
        _client,
        gateway,
    ):
        await until(is_in(State.DOWN, gateway))
        why = gateway.absent()["b"]
        assert "PipeGuard's log tells the user what to do" in why
        assert "pipeguard secrets" not in why
        shown = gateway.describe_missing()["b"]
        assert "\n  Store it:  pipeguard secrets set gone" in shown
        assert "PipeGuard's log" not in shown
        told = ""
        while "pipeguard secrets" not in told:  # once all of it has ended
            await asyncio.sleep(0.01)
            told += capfd.readouterr().err
        assert "U+000A" not in told
