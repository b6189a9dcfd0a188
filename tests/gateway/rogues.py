"""Servers that misbehave as they are told, behind a gateway in this process, and one client."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from pipeguard.gateway.gateway import Gateway
from pipeguard.gateway.server_settings import ServerSettings
from pipeguard.gateway.tool_calls import ToolMode
from pipeguard.state.tokens import TokenScope
from tests.fuzz.rulebook import engines
from tests.gateway.test_gateway import INITIALIZE, Client

ROGUE = Path(__file__).with_name("rogue.py")
ANSWER_SECONDS = 60.0  # after which a test is given up; nothing here takes that long


def rogue(name: str, *, settings: dict[str, Any] | None = None, **said: object) -> ServerSettings:
    """A server that does what `rogue.py` is told."""
    command = (sys.executable, str(ROGUE), json.dumps({"name": name, **said}))
    return ServerSettings(name, command, **{"trust": "first-use", **(settings or {})})


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for something that no event tells."""
    while not is_so():  # noqa: ASYNC110  another process does it
        await asyncio.sleep(0.01)


def talk(
    scenario: Callable[[Client, Gateway], Awaitable[None]],
    *servers: ServerSettings,
    scope: Callable[[str], TokenScope | None] = lambda _: TokenScope(),
) -> None:
    """Run a client of these servers, who sees all tools."""

    async def run() -> None:
        gateway = Gateway(engines(), ToolMode.DIRECT, {}, scope)
        await gateway.apply(servers)
        channel = await gateway.dial()
        client = Client(channel)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await client.result("initialize", **INITIALIZE | {"protocolVersion": "2025-11-25"})
                await scenario(client, gateway)
        finally:
            await channel.close()
            await gateway.close()

    asyncio.run(run())
