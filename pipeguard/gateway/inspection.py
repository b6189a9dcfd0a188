"""The gateway for a person at a terminal: its servers are started, asked, and ended.

Everything goes the way that it goes for an agent: through the Session of the server.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pipeguard.config.effective_policy import load_wrap_policy
from pipeguard.config.options import WrapOptions
from pipeguard.core.protocol.json_values import JsonObject, serialise
from pipeguard.gateway.conversation import GatewayChannel
from pipeguard.gateway.eras import REVISIONS
from pipeguard.gateway.gateway import Gateway
from pipeguard.gateway.sources import Sources
from pipeguard.gateway.tool_calls import ToolMode
from pipeguard.rulebook.cache import load_engines
from pipeguard.runtime.progress import COMPILING, say_if_slow
from pipeguard.version import VERSION


class Inspector:
    """A conversation with a running gateway.

    Args:
        gateway: whose servers have started, or failed to.
        channel: a client's side of it.

    Attributes:
        gateway: as it was given.
    """

    def __init__(self, gateway: Gateway, channel: GatewayChannel) -> None:
        self.gateway = gateway
        self._channel = channel
        self._count = 0

    async def request(self, method: str, params: JsonObject) -> JsonObject:
        """Ask something; the answer has `result` or `error`."""
        self._count += 1
        request = {"jsonrpc": "2.0", "id": self._count, "method": method, "params": params}
        await self._channel.write(json.dumps(request).encode())
        while (frame := await self._channel.read()) is not None:
            message: JsonObject = json.loads(frame)
            if message.get("id") == self._count and "method" not in message:
                return message
        return {"error": {"message": "the gateway ended"}}


@asynccontextmanager
async def inspected(sources: Sources, log_level: str) -> AsyncIterator[Inspector]:
    """Start the servers for a while, and talk to them.

    Raises:
        PipeGuardError: a file is wrong, or rules, policy or store do not load.
    """
    options = WrapOptions((), {"--log-level": log_level}, {}, [])
    load_wrap_policy(options)  # what is wrong with it is reported once, not for each server
    file = sources.read(os.environ)
    with say_if_slow(COMPILING):
        engines = load_engines()
    gateway = Gateway(engines, ToolMode.DIRECT, {"--log-level": log_level})
    await gateway.apply(file.servers)
    channel = await gateway.dial()
    inspector = Inspector(gateway, channel)
    try:
        with say_if_slow("starting the servers"):
            await gateway.settle()
        opening: JsonObject = {
            "protocolVersion": REVISIONS[0],
            "capabilities": {},
            "clientInfo": {"name": "pipeguard", "version": VERSION},
        }
        await inspector.request("initialize", opening)
        yield inspector
    finally:
        await channel.close()
        await gateway.close()


def as_json(value: JsonObject) -> str:
    """A JSON text for programs."""
    return serialise(value).decode()
