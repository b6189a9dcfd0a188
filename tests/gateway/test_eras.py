"""Clients and servers of MCP with a handshake and without one, through the gateway.

The servers are real ones, of the official SDK, which speak one era or both. Source: MCP 2026-07-28,
basic/index, basic/patterns/mrtr, server/utilities/subscriptions.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.gateway import member, router
from pipeguard.gateway.answers import dial
from pipeguard.gateway.conversation import GatewayClient
from pipeguard.gateway.eras import Opening
from pipeguard.gateway.gateway import Gateway
from pipeguard.gateway.life import State
from pipeguard.gateway.menu import ToolMode
from pipeguard.gateway.servers_file import ServerSettings, Start
from tests import tools
from tests.each import some
from tests.gateway.rogues import INITIALIZE, holding, rogue, until
from tests.gateway.served import ServedAt, write_servers
from tests.gateway.several import Agent
from tests.gateway.test_serving import played
from tests.listening import Process
from tests.wrap.wrapped import Object as WireObject

pytestmark = pytest.mark.real

Object = dict[str, object]
Step = Callable[["Client", Gateway], Awaitable[None]]
SERVER = Path(__file__).with_name("one_era.py")
CONFORMANCE = Path(__file__).parent.parent / "conformance" / "server.py"
PREFIX = "io.modelcontextprotocol/"
EVERYTHING: Object = {"sampling": {}, "elicitation": {}, "roots": {}}
SUBSCRIPTION = f"{PREFIX}subscriptionId"


def envelope(capabilities: Object | None = None, **more: object) -> Object:
    """Make a client's metadata for each request."""
    said: Object = {
        f"{PREFIX}protocolVersion": "2026-07-28",
        f"{PREFIX}clientInfo": {"name": "test", "version": "1"},
        f"{PREFIX}clientCapabilities": capabilities or {},
    }
    return {**said, **{PREFIX + name: value for name, value in more.items()}}


class Client(Agent):
    """A client of either era; answers requests with `answers`, by method."""

    def __init__(self, channel: GatewayClient) -> None:
        super().__init__(channel, self._by_method)
        self.said: asyncio.Queue[Object] = asyncio.Queue()
        self.answers: dict[str, Object] = {}

    async def _by_method(self, question: Object) -> Object:
        return {"id": question["id"], "result": self.answers[str(question["method"])]}

    def hear(self, message: Object) -> None:
        self.said.put_nowait(message)

    async def error(self, method: str, **params: object) -> Object:
        return as_object((await self.ask(method, **params)).get("error"))

    async def call_tool(self, tool: str, meta: Object, **params: object) -> Object:
        return await self.result("tools/call", name=tool, **{"arguments": {}, **params}, _meta=meta)

    async def shake_hands(self, capabilities: Object | None = None) -> Object:
        opened = await self.result(
            "initialize", **INITIALIZE | {"capabilities": capabilities or {}}
        )
        await self.send(method="notifications/initialized")
        return opened

    async def hears(self, method: str) -> Object:
        """The params of the next notification, which is of this method."""
        async with asyncio.timeout(30):
            message = await self.said.get()
        assert message["method"] == method, message
        return as_object(message["params"])


def as_object(value: object) -> Object:
    assert isinstance(value, dict), value
    return value


def text(result: Object) -> str:
    content = result["content"]
    assert isinstance(content, list)
    return "\n".join(str(as_object(block).get("text")) for block in content)


def questions(result: Object) -> dict[str, Object]:
    """Return a result's questions to the client, by key."""
    assert result["resultType"] == "input_required", result
    return {key: as_object(value) for key, value in as_object(result["inputRequests"]).items()}


def server(name: str, era: str, *log: Path) -> ServerSettings:
    command = (str(tools.server_python()), str(SERVER), era, *map(str, log))
    return ServerSettings(name, command, trust="first-use", is_prefixed=False)


@asynccontextmanager
async def talking(
    *servers: ServerSettings, mode: ToolMode = ToolMode.DIRECT
) -> AsyncIterator[tuple[Client, Gateway]]:
    async with holding(*servers, mode=mode) as gateway:
        client = Client(await dial(gateway))
        try:
            yield client, gateway
        finally:
            await client.close()


async def play(settings: ServerSettings, *steps: Step) -> None:
    """Play steps at one server, each by a client of its own."""
    async with holding(settings) as gateway:
        for step in steps:
            client = Client(await dial(gateway))
            try:
                await step(client, gateway)
            finally:
                await client.close()


# --- a client without a handshake, a server with one ------------------------------------------


async def read_results_and_errors(client: Client, _: Gateway) -> None:
    meta = envelope()
    found = await client.result("server/discover", _meta=meta)
    assert as_object(found["capabilities"])["prompts"] == {"listChanged": True}
    for method in ("tools/list", "prompts/list", "resources/list", "server/discover"):
        listed = await client.result(method, _meta=meta)
        hints = [listed[name] for name in ("resultType", "ttlMs", "cacheScope")]
        assert hints == ["complete", 0, "private"]
    called = await client.call_tool("test_simple_text", meta)
    assert (called["resultType"], "ttlMs" in called) == ("complete", False)
    missing = await client.error("resources/read", uri="nobody://knows", _meta=meta)
    assert (missing["code"], missing["data"]) == (-32602, {"uri": "nobody://knows"})
    for method in ("ping", "logging/setLevel", "resources/subscribe", "initialize"):
        assert (await client.error(method, _meta=meta))["code"] == -32601
    newer = await client.error("tools/list", _meta=envelope(protocolVersion="2099-01-01"))
    assert newer["code"] == -32022
    assert as_object(newer["data"])["requested"] == "2099-01-01"
    assert "2026-07-28" in str(as_object(newer["data"])["supported"])


@pytest.mark.parametrize(
    "meta",
    [
        {f"{PREFIX}protocolVersion": "2026-07-28"},
        {**envelope(), f"{PREFIX}protocolVersion": 7},
        {**envelope(), f"{PREFIX}clientCapabilities": []},
        {**envelope(), f"{PREFIX}clientInfo": "me"},
    ],
    ids=["no-capabilities", "version-7", "capabilities-list", "info-text"],
)
async def test_a_request_that_does_not_say_who_sends_it_is_declined(meta: Object) -> None:
    async with talking() as (client, _):
        assert (await client.error("tools/list", _meta=meta))["code"] == -32602


async def send_an_envelope(client: Client, _: Gateway) -> None:
    meta = {**envelope(), "progressToken": 7, "traceparent": "00-1-2-00"}
    seen = text(await client.call_tool("test_meta", meta))
    assert seen == "progress_token traceparent", "as the SDK spells them"


async def hear_logs(client: Client, _: Gateway) -> None:
    await client.call_tool("test_logging_tool", envelope())
    await client.call_tool("test_logging_tool", envelope(logLevel="error"))
    assert client.said.empty()
    await client.call_tool("test_logging_tool", envelope(logLevel="info"))
    assert (await client.hears("notifications/message"))["data"] == "asked for"


ASKS: Mapping[str, tuple[Object, Object, str]] = {
    "test_elicitation": (
        {"message": "Who?"},
        {"action": "accept", "content": {"username": "ann", "email": "a@example.com"}},
        'content={"username": "ann", "email": "a@example.com"}',
    ),
    "test_sampling": (
        {"prompt": "Capital?"},
        {"role": "assistant", "content": {"type": "text", "text": "Oslo"}, "model": "m"},
        "LLM response: Oslo",
    ),
}


async def ask_in_results(client: Client, _: Gateway) -> None:
    meta = envelope(EVERYTHING)
    for tool, (arguments, answer, said) in ASKS.items():
        asked = await client.call_tool(tool, meta, arguments=arguments)
        ((key, question),) = questions(asked).items()
        assert question["method"] in {"elicitation/create", "sampling/createMessage"}
        state = asked["requestState"]
        again = {"arguments": arguments, "requestState": state}
        other = await client.error(
            "tools/call", name="test_simple_text", arguments={}, requestState=state, _meta=meta
        )
        assert other["code"] == -32602, "a state is of one call"
        asked = await client.call_tool(tool, meta, **again)
        assert list(questions(asked)) == [key], "what was not answered is asked again"
        again["requestState"] = asked["requestState"]
        done = await client.call_tool(tool, meta, **again, inputResponses={key: answer})
        assert done["resultType"] == "complete"
        assert said in text(done)
        assert await client.error("tools/call", name=tool, **again, _meta=meta)
    ((idle,),) = vars(client.channel)["_input_calls"]._idle.values()
    assert not {"answer", "request"} & vars(idle).keys(), "they may be large"


async def declare_nothing(client: Client, _: Gateway) -> None:
    arguments, *_rest = ASKS["test_elicitation"]
    for declared in (Object(), Object(sampling={})):
        answer = await client.ask(
            "tools/call", name="test_elicitation", arguments=arguments, _meta=envelope(declared)
        )
        assert "input_required" not in json.dumps(answer)
    assert client.said.empty()


async def come_too_late(client: Client, _: Gateway) -> None:
    arguments, answer, _said = ASKS["test_elicitation"]
    meta, tool = envelope(EVERYTHING), "test_elicitation"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(router, "WAITING_SECONDS", 0.0)
        patch.setattr(router, "MOST_CALLS", 1)
        for _round in range(3):  # so each has made room for the next
            asked = await client.call_tool(tool, meta, arguments=arguments)
            again = {"arguments": arguments, "requestState": asked["requestState"]}
            responses = dict.fromkeys(questions(asked), answer)
            late = await client.error(
                "tools/call", name=tool, **again, inputResponses=responses, _meta=meta
            )
            assert late["code"] == -32602


async def test_each_of_two_calls_at_once_gets_its_own_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member, "REVISIONS", [""])
    meta, (arguments, answer, _said) = envelope(EVERYTHING), ASKS["test_sampling"]
    with Process(tmp_path / "log", [str(tools.server_python()), CONFORMANCE, "http"]) as process:
        at = ServerSettings("at", url=process.url, trust="first-use", is_prefixed=False)
        async with talking(at) as (client, _):
            asked = [
                await client.call_tool("test_sampling", meta, arguments=arguments)
                for _number in range(2)
            ]
            for number, result in reversed(list(enumerate(asked))):
                content = {"type": "text", "text": f"Oslo {number}"}
                responses = {key: {**answer, "content": content} for key in questions(result)}
                done = await client.call_tool(
                    "test_sampling",
                    meta,
                    arguments=arguments,
                    requestState=result["requestState"],
                    inputResponses=responses,
                )
                assert text(done) == f"LLM response: Oslo {number}"


async def cancel_a_call(client: Client, _: Gateway) -> None:
    for declared in (Object(), EVERYTHING):
        arguments: Object = {"key": str(len(declared))}
        meta = {**envelope(declared), "progressToken": "t"}
        hanging: Object = {"name": "test_hang", "arguments": arguments, "_meta": meta}
        number, answer = await client.begin("tools/call", **hanging)
        assert (await client.hears("notifications/progress"))["progressToken"] == "t"
        await client.send(method="notifications/cancelled", params={"requestId": number})
        learned = await client.call_tool("test_learn_of_cancel", envelope(), arguments=arguments)
        assert text(learned) == "it was cancelled"
        assert not answer.done()


async def answer_with_a_secret(client: Client, _: Gateway) -> None:
    arguments, *_rest = ASKS["test_elicitation"]
    meta = envelope(EVERYTHING)
    asked = await client.call_tool("test_elicitation", meta, arguments=arguments)
    key = "ghp_" + "Z7QX4M2N5P6R3STV" * 2 + "abcd"
    answer: Object = {"action": "accept", "content": {"username": key, "email": "a"}}
    done = await client.ask(
        "tools/call",
        name="test_elicitation",
        arguments=arguments,
        requestState=asked["requestState"],
        inputResponses=dict.fromkeys(questions(asked), answer),
        _meta=meta,
    )
    assert "Z7QX4M2N5P6R3STV" not in json.dumps(done), "the server would repeat it"


async def use_the_menu(client: Client, gateway: Gateway) -> None:
    gateway.set_menu(ToolMode.SEARCH, gateway.limits)
    meta = envelope(EVERYTHING)
    named = {"name": "test_elicitation", "arguments": ASKS["test_elicitation"][0]}
    found = await client.call_tool("retrieve_tools", meta, arguments={"query": "ask the user"})
    assert "test_elicitation" in text(found)
    asked = await client.call_tool("call_tool_destructive", meta, arguments=named)
    done = await client.call_tool(
        "call_tool_destructive",
        meta,
        arguments=named,
        requestState=asked["requestState"],
        inputResponses={key: {"action": "decline"} for key in questions(asked)},
    )
    assert "action=decline" in text(done)


async def hear_of_announcements(client: Client, *triggers: str) -> None:
    watched = "test://watched-resource"
    wanted: Object = {"promptsListChanged": True, "resourceSubscriptions": [watched, "x://y"]}
    meta = envelope()
    first, listening = await client.begin("subscriptions/listen", notifications=wanted, _meta=meta)
    granted = await client.hears("notifications/subscriptions/acknowledged")
    assert granted["notifications"] == {
        "promptsListChanged": True,
        "resourceSubscriptions": [watched],
    }
    for tool in triggers:
        await client.call_tool(tool, meta)
    updated = await client.hears("notifications/resources/updated")
    assert (updated["uri"], updated["_meta"]) == (watched, {SUBSCRIPTION: first})
    changed = await client.hears("notifications/prompts/list_changed")
    assert changed["_meta"] == {SUBSCRIPTION: first}
    await client.send(method="notifications/cancelled", params={"requestId": first})
    for tool in triggers:
        await client.call_tool(tool, meta)
    assert client.said.empty()
    assert not listening.done()


async def hear_of_old(client: Client, _: Gateway) -> None:
    await hear_of_announcements(client, "test_announce")


async def test_an_older_server_is_used_in_the_newer_revision() -> None:
    await play(
        server("old", "handshake"),
        *(read_results_and_errors, send_an_envelope, hear_logs, declare_nothing),
        *(answer_with_a_secret, ask_in_results, come_too_late, cancel_a_call, hear_of_old),
        use_the_menu,
    )


# --- both without a handshake ------------------------------------------------------------------


async def test_a_server_of_both_eras_is_started_again_only_when_it_is_needed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "starts"
    async with talking(server("both", "both", log)) as (client, _):
        await client.shake_hands()
        await client.result("prompts/list")
        await client.result("server/discover", _meta=envelope())
        await client.result("tools/list", _meta=envelope())
        assert log.read_text() == "started\n"
        tool = "test_input_required_result_elicitation"
        meta = envelope(EVERYTHING)
        asked = await client.call_tool(tool, meta)
        assert questions(asked)["user_name"]["method"] == "elicitation/create"
        answer = {"action": "accept", "content": {"name": "Ann"}}
        done = await client.call_tool(tool, meta, inputResponses={"user_name": answer})
        assert text(done) == "Hello, Ann!"
        assert log.read_text() == "started\n" * 2
        gone = await client.ask("tools/call", name="test_die", arguments={}, _meta=meta)
        assert "may have taken effect" in str(gone)
        await until(lambda: "why='exit code 3'" in capfd.readouterr().err)
        assert text(await client.call_tool("test_meta", meta))
        assert log.read_text() == "started\n" * 3


@pytest.mark.often("legacy")
@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_the_official_sdk_calls_servers_of_every_era(tmp_path: Path, mode: str) -> None:
    command, *words = str(tools.server_python()), str(SERVER)
    entries: dict[str, WireObject] = {
        era: {"command": command, "args": [*words, era], "trust": "first-use"}
        for era in ("handshake", "stateless", "both")
    }
    config = write_servers(tmp_path, entries, mode="direct")
    calls = [[f"{era}__test_simple_text", {}] for era in entries]
    with ServedAt(tmp_path, "--config", str(config)) as served:
        plan = {"transport": "http", "url": served.url, "mode": mode, "command": [], "env": {}}
        results = played({**plan, "calls": calls})["results"]
        for era in {"legacy": ("handshake", "both"), "auto": entries}[mode]:
            alone = {**plan, "url": served.at(f"/servers/{era}/mcp")}  # which translates nothing
            results += played({**alone, "calls": [["test_simple_text", {}]]})["results"]
    for result in some(results):
        assert "This is a simple text response" in text(as_object(result))


# --- a client with a handshake, a server without one --------------------------------------------


async def use_with_a_handshake(client: Client, gateway: Gateway) -> None:
    opened = await client.shake_hands(EVERYTHING)
    await gateway.settle()
    assert gateway.members["new"].state is State.READY
    assert "prompts" in as_object(opened["capabilities"])
    listed = await client.result("tools/list")
    assert "test_simple_text" in json.dumps(listed)
    called = await client.result("tools/call", name="test_simple_text", arguments={})
    assert "resultType" not in called
    prompts = await client.result("prompts/list")
    assert "ttlMs" not in prompts
    got = await client.result("prompts/get", name="test_simple_prompt")
    assert "simple prompt" in json.dumps(got)
    read = await client.result("resources/read", uri="test://static-text")
    assert "cacheScope" not in read
    missing = await client.error("resources/read", uri="test://template/7/nothing")
    assert missing["code"] == -32002


async def answer_what_a_result_asks(client: Client, _: Gateway) -> None:
    await client.shake_hands({"elicitation": {}})
    answer: Object = {"action": "accept", "content": {"name": "Ann"}}
    client.answers["elicitation/create"] = answer
    tool = "test_input_required_result_elicitation"
    done = await client.result("tools/call", name=tool, arguments={})
    assert text(done) == "Hello, Ann!"
    unasked = await client.ask(
        "tools/call", name="test_input_required_result_sampling", arguments={}
    )
    assert "error" in unasked


async def hear_of_new(client: Client, _: Gateway) -> None:
    triggers = "test_trigger_resource_update", "test_trigger_prompt_change"
    await hear_of_announcements(client, *triggers)


async def test_a_server_without_handshakes_is_used_by_clients_of_both_eras() -> None:
    steps = use_with_a_handshake, answer_what_a_result_asks, cancel_a_call, hear_of_new
    await play(server("new", "stateless"), *steps)


# --- subscriptions -------------------------------------------------------------------------------


async def test_a_client_with_a_handshake_hears_what_a_server_without_one_announces() -> None:
    watched, new = "test://watched-resource", server("new", "stateless")

    async def announced(client: Client, trigger: str) -> Object:
        """Return the announcement: the gateway subscribes soon after a server's first request."""
        while client.said.empty():
            await client.result("tools/call", name=trigger, arguments={})
        return client.said.get_nowait()

    async with talking(new) as (client, gateway):
        await client.shake_hands()
        await client.result("prompts/list")
        changed = await announced(client, "test_trigger_prompt_change")
        assert changed["method"] == "notifications/prompts/list_changed"
        await client.result("resources/subscribe", uri=watched)
        client.said = asyncio.Queue()
        updated = await announced(client, "test_trigger_resource_update")
        assert updated["params"] == {"uri": watched}
        await gateway.apply([replace(new, tags=("edited",))])
        client.said = asyncio.Queue()
        while (again := await client.said.get())["method"] != updated["method"]:
            assert str(again["method"]).endswith("list_changed")  # of all that it offers
        assert again == updated
        while (again := await announced(client, "test_trigger_resource_update")) != updated:
            assert str(again["method"]).endswith("list_changed")
        await client.result("resources/unsubscribe", uri=watched)


async def test_a_lazy_server_without_a_handshake_runs_while_a_client_hears_of_a_resource() -> None:
    lazy = replace(server("new", "stateless"), start=Start.LAZY, idle_seconds=0.1)
    async with talking(lazy) as (client, gateway):
        await client.shake_hands()
        await client.result("resources/subscribe", uri="test://watched-resource")
        new = gateway.members["new"]
        while new.seconds_to_idle() > 0 and new.state is State.READY:  # noqa: ASYNC110  no event tells
            await asyncio.sleep(0.01)
        while new.seconds_to_idle() < 0 and new.state is State.READY:  # noqa: ASYNC110  no event tells
            await asyncio.sleep(0.01)  # until it was looked at
        assert new.state is State.READY


async def test_a_subscription_hears_of_servers_that_come_and_ends_with_the_gateway() -> None:
    async with talking() as (client, gateway):
        params: Object = {"notifications": {"toolsListChanged": True}, "_meta": envelope()}
        first, listening = await client.begin("subscriptions/listen", **params)
        await client.hears("notifications/subscriptions/acknowledged")
        await gateway.apply([rogue("any", tools=["run"])])
        changed = await client.hears("notifications/tools/list_changed")
        assert changed["_meta"] == {SUBSCRIPTION: first}
        await client.channel.close()
        ended = as_object((await listening)["result"])
        assert ended == {"resultType": "complete", "_meta": {SUBSCRIPTION: first}}


@pytest.mark.parametrize(
    ("declared", "mode", "answers"),
    [
        ({}, None, False),
        ({"sampling": {}}, None, False),
        ({"elicitation": {}}, None, True),
        ({"elicitation": {}}, "form", True),
        ({"elicitation": {}}, "url", False),
        ({"elicitation": {"form": {}}}, "url", False),
        ({"elicitation": {"form": {}, "url": {}}}, "url", True),
    ],
)
def test_a_client_is_asked_only_what_it_said_it_answers(
    declared: JsonObject, mode: str | None, answers: bool
) -> None:
    params: JsonObject = {} if mode is None else {"mode": mode}
    opening = Opening(declared, {"name": "test", "version": "1"})
    assert opening.answers("elicitation/create", params) is answers
    assert not opening.answers("tools/call", params)
