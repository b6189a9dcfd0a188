"""Several clients of one gateway in this process, in front of real servers."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from pipeguard.gateway.answers import dial
from pipeguard.gateway.conversation import GatewayClient
from pipeguard.gateway.gateway import Gateway
from pipeguard.gateway.menu import ToolMode
from pipeguard.gateway.servers_file import ServerSettings
from pipeguard.state.tokens import TokenScope
from tests.gateway.rogues import INITIALIZE, Object, holding

STATEFUL = Path(__file__).with_name("stateful.py")
REVISION = "2025-11-25"

Reply = Callable[[Object], Awaitable[Object]]


def stateful(name: str, **settings: object) -> ServerSettings:
    """A server with state that its clients share."""
    command = (sys.executable, str(STATEFUL), name)
    return ServerSettings(name, command, trust="first-use", **settings)  # type: ignore[arg-type]


class Agent:
    """A client that reads all the time, as real ones do.

    Attributes:
        heard: unrequested messages of servers, without their requests.
        asked: requests of servers.
    """

    def __init__(self, channel: GatewayClient, reply: Reply) -> None:
        self.channel = channel
        self.heard: list[Object] = []
        self.asked: list[Object] = []
        self._reply = reply
        self._count = 0
        self._waiting: dict[object, asyncio.Future[Object]] = {}
        self._replying: list[asyncio.Task[None]] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while (frame := await self.channel.read()) is not None:
            message: Object = json.loads(frame)
            if "method" not in message:
                self._waiting.pop(message["id"]).set_result(message)
            elif "id" in message:
                self.asked.append(message)
                self._replying.append(asyncio.create_task(self._answer(message)))
            else:
                self.hear(message)

    def hear(self, message: Object) -> None:
        """Record an unrequested message of a server."""
        self.heard.append(message)

    async def _answer(self, question: Object) -> None:
        await self.send(**await self._reply(question))

    async def send(self, **members: object) -> None:
        await self.channel.write(json.dumps({"jsonrpc": "2.0", **members}).encode())

    async def begin(self, method: str, **params: object) -> tuple[int, asyncio.Future[Object]]:
        """Send a request; return its id, and a future for the answer."""
        self._count += 1
        number = self._count
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self.send(id=number, method=method, params=params)
        return number, answer

    async def ask(self, method: str, **params: object) -> Object:
        _, answer = await self.begin(method, **params)
        return await answer

    async def result(self, method: str, **params: object) -> Object:
        answer = await self.ask(method, **params)
        result = answer.get("result")
        assert isinstance(result, dict), answer
        return result

    async def call(self, tool: str, arguments: Object | None = None, **params: object) -> str:
        """Call a tool; return the text of its answer."""
        result = await self.result("tools/call", name=tool, arguments=arguments or {}, **params)
        content = result["content"]
        assert isinstance(content, list)
        return "\n".join(str(block.get("text")) for block in content)

    async def state(self, server: str) -> Object:
        """Return the messages that a server got, after all earlier ones have arrived."""
        state: Object = json.loads(await self.call(f"{server}__state"))
        return state

    def heard_of(self, method: str) -> list[Object]:
        """Return the params of servers' messages of this method."""
        found = [message["params"] for message in self.heard if message["method"] == method]
        return [params for params in found if isinstance(params, dict)]

    async def close(self) -> None:
        await self.channel.close()
        for task in (self._reading, *self._replying):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def accept(question: Object) -> Object:
    """An answer to a server's question."""
    return {"id": question["id"], "result": {"action": "accept", "content": {}}}


class Room:
    """A running gateway, with clients that come and go."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self._agents: list[Agent] = []

    async def agent(self, who: str = "", reply: Reply = accept, **capabilities: object) -> Agent:
        """Add a client, after a handshake."""
        agent = Agent(await dial(self.gateway, who), reply)
        self._agents.append(agent)
        opening = {"protocolVersion": REVISION, "capabilities": capabilities}
        await agent.result("initialize", **INITIALIZE | opening)
        await self.gateway.settle()
        return agent

    async def close(self) -> None:
        while self._agents:
            await self._agents.pop().close()


@asynccontextmanager
async def gathered(
    *servers: ServerSettings,
    mode: ToolMode = ToolMode.DIRECT,
    scope: Callable[[str], TokenScope | None] = lambda _: TokenScope(),
) -> AsyncIterator[Room]:
    """Clients of these servers."""
    async with holding(*servers, mode=mode, scope=scope) as gateway:
        room = Room(gateway)
        try:
            yield room
        finally:
            await room.close()
