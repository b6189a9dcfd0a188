"""A task belongs to the client whose call created it; for others it does not exist."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeguard.state.tokens import TokenScope
from tests.gateway.rogues import Object
from tests.gateway.served import ServedAt, write_servers
from tests.gateway.several import STATEFUL, Agent, gathered, stateful
from tests.gateway.test_same_verdicts import at
from tests.wrap.wrapped import Object as Json

pytestmark = pytest.mark.real


async def a_task(agent: Agent) -> str:
    called = await agent.result("tools/call", name="b__work", arguments={}, task={})
    task = called["task"]
    assert isinstance(task, dict)
    return str(task["taskId"])


async def listed(agent: Agent) -> list[str]:
    tasks = (await agent.result("tasks/list"))["tasks"]
    assert isinstance(tasks, list)
    return [str(task["taskId"]) for task in tasks]


async def test_a_task_is_known_to_its_owner_alone() -> None:
    async with gathered(stateful("b")) as room:
        one, two = await room.agent(), await room.agent()
        task, second = await a_task(one), await a_task(two)
        assert (await listed(one), await listed(two)) == ([task], [second])
        unknown = (await two.ask("tasks/get", taskId="b/nothing"))["error"]
        for method in ("tasks/get", "tasks/result", "tasks/cancel"):
            assert (await two.ask(method, taskId=task))["error"] == unknown
        assert (await one.result("tasks/get", taskId=task))["status"] == "working"
        await two.call("b__finish", {"task": "t1"})
        for agent in (one, two):
            await agent.state("b")
        status = "notifications/tasks/status"
        assert [params["taskId"] for params in one.heard_of(status)] == [task]
        assert two.heard_of(status) == []
        assert "result of t1" in str(await one.result("tasks/result", taskId=task))


async def test_clients_of_one_token_share_tasks() -> None:
    async with gathered(stateful("b")) as room:
        one, again, other = [await room.agent(who) for who in ("mine", "mine", "yours")]
        task = await a_task(one)
        assert (await again.result("tasks/get", taskId=task))["taskId"] == task
        assert "error" in await other.ask("tasks/get", taskId=task)


async def test_a_task_of_a_tool_that_a_token_may_call_no_more_is_gone() -> None:
    scopes = [TokenScope()]
    async with gathered(stateful("b"), scope=lambda _: scopes[0]) as room:
        agent = await room.agent("mine")
        task = await a_task(agent)
        scopes[0] = TokenScope(tools=("b__echo",))
        assert await listed(agent) == []
        assert "error" in await agent.ask("tasks/result", taskId=task)


async def test_a_server_that_starts_again_has_no_tasks_of_before() -> None:
    async with gathered(stateful("b")) as room:
        agent = await room.agent()
        task: Object = {"taskId": await a_task(agent)}
        await room.gateway.apply([])
        await room.gateway.apply([stateful("b")])
        other = await room.agent()
        assert await a_task(other) == task["taskId"]
        assert "error" in await agent.ask("tasks/get", **task)


def test_a_task_has_one_owner_at_every_endpoint_of_its_server(tmp_path: Path) -> None:
    entry: Json = {"command": sys.executable, "args": [str(STATEFUL), "b"], "trust": "first-use"}
    config = write_servers(tmp_path, {"b": entry}, mode="direct")
    with ServedAt(tmp_path, "--config", str(config)) as served:
        together, alone, other = (
            at(served.at(path), "2025-11-25") for path in ("/mcp", *["/servers/b/mcp"] * 2)
        )

        def ask(client: Callable[[Json], bytes], method: str, **params: object) -> Json:
            message: Json = json.loads(
                json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
            )
            answer: Json = json.loads(client(message))
            return answer

        made = ask(alone, "tools/call", name="work", arguments={}, task={})
        assert '"taskId": "t1"' in json.dumps(made)
        assert "result" in ask(alone, "tasks/get", taskId="t1")
        assert "error" in ask(other, "tasks/get", taskId="t1")
        assert "error" in ask(together, "tasks/get", taskId="b/t1")
        for client, expected in ((alone, 1), (other, 0), (together, 0)):
            assert json.dumps(ask(client, "tasks/list")).count("taskId") == expected
