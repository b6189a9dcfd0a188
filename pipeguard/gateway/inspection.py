"""The gateway for a person at a terminal: its servers are started, asked, and ended.

Everything goes the way that it goes for an agent: through the Session of the server.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from pipeguard.config.effective_policy import load_wrap_policy
from pipeguard.config.options import WrapOptions
from pipeguard.firewall.protocol.json_values import JsonObject, serialise
from pipeguard.gateway.answers import dial
from pipeguard.gateway.conversation import GatewayChannel
from pipeguard.gateway.eras import REVISIONS
from pipeguard.gateway.gateway import Gateway
from pipeguard.gateway.menu import ToolMode
from pipeguard.gateway.server_settings import ServerSettings
from pipeguard.gateway.sources import Sources
from pipeguard.log import say
from pipeguard.rulebook.cache import load_engines
from pipeguard.runtime.progress import COMPILING, say_if_slow
from pipeguard.version import VERSION

STARTING = "starting the servers"
# For which a person waits, who sees why: the first start of a package fetches it.
SETTLING_SECONDS = 60.0


class Inspector:
    """A conversation with a running gateway.

    Args:
        gateway: whose servers have started, or failed to.
        channel: a client's side of it.
        servers: all that there are, also those that were not started.

    Attributes:
        gateway: as it was given.
        servers: the names of all.
    """

    def __init__(
        self, gateway: Gateway, channel: GatewayChannel, servers: Sequence[ServerSettings]
    ) -> None:
        self.gateway = gateway
        self.servers = [server.name for server in servers]
        self._settings = servers
        self._channel = channel
        self._count = 0

    async def start_all(self) -> bool:
        """Start the servers that were not; True where there were some."""
        if len(self.gateway.members) == len(self.servers):
            return False
        await self.gateway.apply(self._settings)
        with say_if_slow(STARTING):
            await self.gateway.settle(SETTLING_SECONDS)
        return True

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
async def inspected(
    sources: Sources, log_level: str, only: Callable[[str], bool] = lambda _: True
) -> AsyncIterator[Inspector]:
    """Start the servers for a while, and talk to them.

    Args:
        sources: say which servers there are.
        log_level: of what they do.
        only: True for the name of a server that is needed; where none is, all are started.

    Raises:
        PipeGuardError: a file is wrong, or rules, policy or store do not load.
    """
    options = WrapOptions((), {"--log-level": log_level}, {}, [])
    load_wrap_policy(options)  # what is wrong with it is reported once, not for each server
    file = sources.read(os.environ)
    for note in file.notes:
        say(note)
    with say_if_slow(COMPILING):
        engines = load_engines()
    gateway = Gateway(engines, ToolMode.DIRECT, {"--log-level": log_level})
    needed = [server for server in file.servers if only(server.name)]
    await gateway.apply(needed or file.servers)
    channel = await dial(gateway)
    inspector = Inspector(gateway, channel, list(file.servers))
    try:
        with say_if_slow(STARTING):
            await gateway.settle(SETTLING_SECONDS)
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
    """A JSON text for programs, with what a terminal would hide or obey escaped."""
    text = serialise(value).decode()
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)
