"""A gateway in this process with one client, and servers that misbehave as they are told."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pipeguard.gateway.answers import dial
from pipeguard.gateway.conversation import GatewayClient
from pipeguard.gateway.gateway import Gateway
from pipeguard.gateway.menu import ToolMode
from pipeguard.gateway.servers_file import ServerSettings
from pipeguard.state.tokens import TokenScope
from tests.fuzz.rulebook import engines

ROGUE = Path(__file__).with_name("rogue.py")
ANSWER_SECONDS = 60.0  # after which a test is given up; nothing here takes that long


Object = dict[str, object]
INITIALIZE: Object = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}


class Client:
    """An agent's side of a session with the gateway."""

    def __init__(self, channel: GatewayClient) -> None:
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

    async def text(self, tool: str, /, **arguments: object) -> str:
        result = await self.result("tools/call", name=tool, arguments=arguments)
        content = result["content"]
        assert isinstance(content, list)
        return "\n".join(str(block.get("text")) for block in content)


def rogue(name: str, *, settings: dict[str, Any] | None = None, **said: object) -> ServerSettings:
    """Make a server that follows a script of `rogue.py`."""
    command = (sys.executable, str(ROGUE), json.dumps({"name": name, **said}))
    return ServerSettings(name, command, **{"trust": "first-use", **(settings or {})})


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for something that no event tells."""
    while not is_so():  # noqa: ASYNC110  another process does it
        await asyncio.sleep(0.01)


@asynccontextmanager
async def holding(
    *servers: ServerSettings,
    scope: Callable[[str], TokenScope | None] = lambda _: TokenScope(),
    mode: ToolMode = ToolMode.DIRECT,
) -> AsyncIterator[Gateway]:
    """A gateway of these servers."""
    gateway = Gateway(engines(), mode, {}, lambda who: [*filter(None, [scope(who)])])
    await gateway.apply(servers)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            yield gateway
    finally:
        await gateway.close()


@asynccontextmanager
async def talking(
    *servers: ServerSettings,
    scope: Callable[[str], TokenScope | None] = lambda _: TokenScope(),
    mode: ToolMode = ToolMode.DIRECT,
    settles: bool = True,
) -> AsyncIterator[tuple[Client, Gateway]]:
    """A client of these servers, which have started unless it does not settle."""
    async with holding(*servers, scope=scope, mode=mode) as gateway:
        channel = await dial(gateway)
        client = Client(channel)
        try:
            await client.result("initialize", **INITIALIZE)
            if settles:
                await gateway.settle()
            yield client, gateway
        finally:
            await channel.close()
