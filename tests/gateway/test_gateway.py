"""Two real servers behind one conversation: found, called, read, and told apart."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pipeguard.gateway.conversation import GatewayChannel
from pipeguard.gateway.gateway import Gateway
from pipeguard.gateway.server_settings import ServerSettings
from pipeguard.gateway.server_state import State
from pipeguard.gateway.tool_calls import ToolMode
from tests import tools
from tests.fuzz.rulebook import engines

pytestmark = pytest.mark.real

Object = dict[str, object]
INITIALIZE: Object = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}


class Client:
    """What an agent says to the gateway, and what it is told."""

    def __init__(self, channel: GatewayChannel) -> None:
        self._channel = channel
        self._count = 0
        self.unrequested: list[Object] = []

    async def ask(self, method: str, **params: object) -> Object:
        self._count += 1
        request = {"jsonrpc": "2.0", "id": self._count, "method": method, "params": params}
        await self._channel.write(json.dumps(request).encode())
        while (frame := await self._channel.read()) is not None:
            message: Object = json.loads(frame)
            if message.get("id") == self._count and "method" not in message:
                return message
            self.unrequested.append(message)
        raise AssertionError("the gateway hung up")

    async def result(self, method: str, **params: object) -> Object:
        answer = await self.ask(method, **params)
        result = answer.get("result")
        assert isinstance(result, dict), answer
        return result

    async def text(self, tool: str, **arguments: object) -> str:
        result = await self.result("tools/call", name=tool, arguments=arguments)
        content = result["content"]
        assert isinstance(content, list)
        return "\n".join(str(block.get("text")) for block in content)


@pytest.fixture
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PATH", tools.path_with_node())


def servers(*extra: ServerSettings) -> list[ServerSettings]:
    return [
        ServerSettings(name, (str(tools.npm_bin(f"mcp-server-{name}")),), trust="first-use")
        for name in ("everything", "memory")
    ] + list(extra)


def talk(
    scenario: Callable[[Client, Gateway], Awaitable[None]],
    *extra: ServerSettings,
    mode: ToolMode = ToolMode.SEARCH,
) -> None:
    async def run() -> None:
        gateway = Gateway(engines(), mode)
        await gateway.apply(servers(*extra))
        channel = await gateway.dial()
        client = Client(channel)
        try:
            await client.result("initialize", **INITIALIZE)
            await scenario(client, gateway)
        finally:
            await channel.close()
            await gateway.close()

    asyncio.run(run())


@pytest.mark.usefixtures("_state")
def test_an_agent_finds_a_tool_and_calls_it() -> None:
    async def scenario(client: Client, _: Gateway) -> None:
        found = await client.text("retrieve_tools", query="add two numbers")
        assert found.startswith("everything__get-sum(a: number, b: number)")
        name, variant = "everything__get-sum", "call_tool_read"
        assert f"call with: {variant}" in found
        called = await client.text(variant, name=name, arguments={"a": 2, "b": 3})
        assert "5" in called
        wrong = await client.text(variant, name=name, arguments={"a": 2})
        assert "Usage: everything__get-sum(a: number, b: number)" in wrong
        assert "Input schema" in await client.text("describe_tool", name=name)

    talk(scenario)


@pytest.mark.usefixtures("_state")
def test_what_changes_something_needs_the_variant_that_says_so() -> None:
    async def scenario(client: Client, _: Gateway) -> None:
        name = "memory__delete_entities"
        refused = await client.text("call_tool_read", name=name, arguments={"entityNames": []})
        assert "call_tool_destructive" in refused
        done = await client.text(
            "call_tool_destructive", name=name, arguments={"entityNames": ["nobody"]}
        )
        assert "deleted" in done

    talk(scenario)


@pytest.mark.usefixtures("_state")
def test_progress_comes_under_the_token_of_the_client() -> None:
    async def scenario(client: Client, _: Gateway) -> None:
        await client.result(
            "tools/call",
            name="call_tool_write",
            arguments={
                "name": "everything__trigger-long-running-operation",
                "arguments": {"duration": 0.1, "steps": 2},
            },
            _meta={"progressToken": "mine"},
        )
        progress = [m for m in client.unrequested if m["method"] == "notifications/progress"]
        assert [_params(message)["progressToken"] for message in progress] == ["mine", "mine"]

    talk(scenario)


@pytest.mark.usefixtures("_state")
def test_prompts_and_resources_pass_under_names_that_tell_servers_apart() -> None:
    async def scenario(client: Client, _: Gateway) -> None:
        prompts = (await client.result("prompts/list"))["prompts"]
        assert isinstance(prompts, list)
        assert "everything__simple-prompt" in [prompt["name"] for prompt in prompts]
        assert (await client.result("prompts/get", name="everything__simple-prompt"))["messages"]
        uri = "demo://resource/dynamic/text/1"
        contents = (await client.result("resources/read", uri=uri))["contents"]
        assert isinstance(contents, list)
        assert contents[0]["uri"] == uri
        missing = await client.ask("resources/read", uri="nobody://knows")
        assert missing["error"] == {"code": -32002, "message": "there is no such resource"}

    talk(scenario)


@pytest.mark.usefixtures("_state")
def test_all_tools_are_listed_where_the_user_wants_that() -> None:
    async def scenario(client: Client, _: Gateway) -> None:
        listed = (await client.result("tools/list"))["tools"]
        assert isinstance(listed, list)
        names = [tool["name"] for tool in listed]
        assert {"everything__echo", "memory__read_graph"} <= set(names)
        assert await client.text("everything__echo", message="hello") == "Echo: hello"

    talk(scenario, mode=ToolMode.DIRECT)


@pytest.mark.usefixtures("_state")
def test_one_server_that_does_not_start_leaves_the_others_unharmed() -> None:
    async def scenario(client: Client, gateway: Gateway) -> None:
        assert "everything__echo" in await client.text("retrieve_tools", query="echo")
        assert gateway.members["broken"].state is not State.READY
        assert "no such file" in gateway.members["broken"].why

    talk(scenario, ServerSettings("broken", ("/nowhere/at/all",)))


@pytest.mark.usefixtures("_state")
def test_tools_of_a_new_server_are_not_found_before_a_person_approves_them() -> None:
    async def scenario(client: Client, gateway: Gateway) -> None:
        new = gateway.members["new"]
        assert (new.state, gateway.catalog.of("new")) == (State.READY, ())
        assert "new__" not in await client.text("retrieve_tools", query="echo", limit=20)
        answer = await client.text("call_tool_destructive", name="new__echo", arguments={})
        assert "There is no tool 'new__echo' here." in answer

    talk(scenario, ServerSettings("new", (str(tools.npm_bin("mcp-server-everything")),)))


def _params(message: Object) -> Object:
    params = message["params"]
    assert isinstance(params, dict)
    return params
