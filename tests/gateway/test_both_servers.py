"""Two servers and two clients at once, in each mode: each message reaches its addressee."""

import asyncio
import json

import pytest

from pipeguard.gateway.menu import ToolMode
from tests.gateway.rogues import Object
from tests.gateway.several import Agent, Room, gathered, stateful

pytestmark = pytest.mark.real
MODES = pytest.mark.parametrize("mode", [ToolMode.DIRECT, ToolMode.SEARCH])
SERVERS = ("a", "b")


class Both:
    """A client that calls tools as the mode has it."""

    def __init__(self, agent: Agent, mode: ToolMode) -> None:
        self.agent = agent
        self._mode = mode

    def params(self, tool: str, arguments: Object | None = None) -> Object:
        if self._mode is ToolMode.DIRECT:
            return {"name": tool, "arguments": arguments or {}}
        return {
            "name": "call_tool_destructive",
            "arguments": {"name": tool, "arguments": arguments or {}},
        }

    async def call(self, tool: str, arguments: Object | None = None, **more: object) -> str:
        asked = {**self.params(tool, arguments), **more}
        content = (await self.agent.result("tools/call", **asked))["content"]
        assert isinstance(content, list)
        return "\n".join(str(block.get("text")) for block in content)

    async def state(self, server: str) -> Object:
        state: Object = json.loads(await self.call(f"{server}__state"))
        return state


def name_in(question: Object) -> str:
    params = question["params"]
    assert isinstance(params, dict)
    return str(params["message"])


async def answer_with_progress(room: Room, mode: ToolMode) -> None:
    async def reply(question: Object) -> Object:
        """Report progress under the question's token, then name the client that was asked."""
        params = question["params"]
        assert isinstance(params, dict)
        token = params["_meta"]["progressToken"]
        report = {"progressToken": token, "progress": 1, "message": name_in(question)}
        await agent.send(method="notifications/progress", params=report)
        content = {"asked": name_in(question)}
        return {"id": question["id"], "result": {"action": "accept", "content": content}}

    agent = await room.agent(reply=reply, elicitation={})
    both = Both(agent, mode)
    texts = await asyncio.gather(*(both.call(f"{name}__ask") for name in SERVERS))
    for name, text in zip(SERVERS, texts, strict=True):
        heard = json.loads(text)
        assert heard["answer"]["content"] == {"asked": f"{name} asks"}
        report = {"progressToken": 1, "progress": 1, "message": f"{name} asks"}
        assert heard["progress"] == [report]
    tokens = [str(question["params"]) for question in agent.asked]
    assert len(set(tokens)) == 2


async def hear_of_progress(room: Room, mode: ToolMode) -> None:
    clients = [Both(await room.agent(), mode) for _ in range(2)]
    calls = [
        client.call(f"{name}__progress", _meta={"progressToken": token})
        for client in clients
        for token, name in enumerate(SERVERS)
    ]
    await asyncio.gather(*calls)
    for client in clients:
        heard = client.agent.heard_of("notifications/progress")
        told = sorted((params["progressToken"], params["message"]) for params in heard)
        assert told == [(0, "a works"), (1, "b works")]


async def hear_logs_and_updates(room: Room, mode: ToolMode) -> None:
    one, two = [Both(await room.agent(), mode) for _ in range(2)]
    for client in (one, two):
        for name in SERVERS:
            await client.state(name)
    await one.agent.result("logging/setLevel", level="warning")
    await two.agent.result("logging/setLevel", level="critical")
    await one.agent.result("resources/subscribe", uri="a://a")
    await two.agent.result("resources/subscribe", uri="b://a")
    for name in SERVERS:
        assert (await one.state(name))["level"] == "warning"
        await one.call(f"{name}__log", {"level": "error"})
        await two.call(f"{name}__announce", {"uri": f"{name}://a"})
    for client in (one, two):
        for name in SERVERS:
            await client.state(name)
    logged = [params["data"] for params in one.agent.heard_of("notifications/message")]
    assert logged == ["a logs error", "b logs error"]
    assert two.agent.heard_of("notifications/message") == []
    updated = "notifications/resources/updated"
    assert one.agent.heard_of(updated) == [{"uri": "a://a"}]
    assert two.agent.heard_of(updated) == [{"uri": "b://a"}]


async def complete(room: Room, _: ToolMode) -> None:
    agent = await room.agent()
    for name in SERVERS:
        result = await agent.result(
            "completion/complete",
            ref={"type": "ref/prompt", "name": f"{name}__greet"},
            argument={"name": "whom", "value": "Al"},
        )
        assert result["completion"] == {"values": [f"Al at {name}"]}


@MODES
async def test_a_cancellation_reaches_the_server_that_works_on_it_alone(mode: ToolMode) -> None:
    async with gathered(*map(stateful, SERVERS), mode=mode) as room:
        asked = asyncio.Event()

        async def reply(question: Object) -> Object:
            asked.set()
            await asyncio.Event().wait()
            return question

        one = Both(await room.agent(reply=reply, elicitation={}), mode)
        two = Both(await room.agent(), mode)
        number, _ = await one.agent.begin("tools/call", **one.params("a__ask"))
        await asked.wait()
        gone = {"requestId": number, "reason": "the user left"}
        await one.agent.send(method="notifications/cancelled", params=gone)
        assert (await two.state("b"))["cancelled"] == []
        assert (await two.state("a"))["cancelled"] == ["the user left"]
        await one.agent.close()
        assert (await two.state("b"))["cancelled"] == []


async def test_the_id_of_a_cancelled_request_is_used_again_for_one_that_can_be_cancelled() -> None:
    async with gathered(*map(stateful, SERVERS)) as room:
        asked: asyncio.Queue[Object] = asyncio.Queue()

        async def reply(question: Object) -> Object:
            asked.put_nowait(question)
            await asyncio.Event().wait()
            return question

        agent = await room.agent(reply=reply, elicitation={})
        for name in SERVERS:
            params = {"name": f"{name}__ask", "arguments": {}}
            await agent.send(id="again", method="tools/call", params=params)
            await asked.get()
            gone = {"requestId": "again", "reason": f"no {name}"}
            await agent.send(method="notifications/cancelled", params=gone)
        for name in SERVERS:
            assert (await agent.state(name))["cancelled"] == [f"no {name}"]


async def work_on_a_task(room: Room, mode: ToolMode) -> None:
    one, two = [Both(await room.agent(), mode) for _ in range(2)]
    params = one.params("b__work")
    asked = {**params, "task": {}, "_meta": {"progressToken": "mine"}}
    task = (await one.agent.result("tools/call", **asked))["task"]
    assert isinstance(task, dict)
    assert task["taskId"] == "b/t1"
    await two.call("b__finish", {"task": "t1"})
    for client in (one, two):
        await client.state("b")
    heard = one.agent.heard_of("notifications/progress")
    assert [report["progressToken"] for report in heard] == ["mine"]
    assert two.agent.heard == []
    result = await one.agent.result("tasks/result", taskId=task["taskId"])
    assert result["_meta"] == {"io.modelcontextprotocol/related-task": {"taskId": "b/t1"}}


async def tell_roots(room: Room, mode: ToolMode) -> None:
    def reply_of(name: str) -> object:
        async def reply(question: Object) -> Object:
            roots = [{"uri": f"file:///{name}", "name": name}]
            return {"id": question["id"], "result": {"roots": roots}}

        return reply

    clients = [
        Both(await room.agent(reply=reply_of(name), roots={}), mode)  # type: ignore[arg-type]
        for name in ("one", "two")
    ]
    for client, expected in zip(clients, ("one", "two"), strict=True):
        for name in SERVERS:
            answer = json.loads(await client.call(f"{name}__roots"))
            assert answer["roots"] == [{"uri": f"file:///{expected}", "name": expected}]


@MODES
async def test_each_message_reaches_its_addressee(mode: ToolMode) -> None:
    async with gathered(*map(stateful, SERVERS), mode=mode) as room:
        for step in (
            *(answer_with_progress, hear_of_progress, hear_logs_and_updates),
            *(complete, work_on_a_task, tell_roots),
        ):
            await step(room, mode)
            await room.close()
