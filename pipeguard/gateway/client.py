"""One client of the gateway, and the servers that are open for it: each opened when first needed.

Opened once for a client after a handshake, and once for requests without one.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod

from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.gateway.client_request import Unavailable
from pipeguard.gateway.conversation import GatewayChannel
from pipeguard.gateway.eras import Opening
from pipeguard.gateway.gateway import Gateway
from pipeguard.gateway.leg import Leg, LegListener


class GatewayClient(GatewayChannel):
    """One client of the gateway, as the parts that answer it see it.

    Attributes:
        gateway: all servers.
        access: of the client.
    """

    def __init__(self, gateway: Gateway, token: str) -> None:
        super().__init__(token)
        self.gateway, self.access = gateway, gateway.access(token)
        self._legs: dict[tuple[str, bool], asyncio.Task[Leg]] = {}
        self._has_hung_up = False

    @abstractmethod
    async def open_server(self, server: str, opening: Opening) -> Leg:
        """Open a conversation with a server that the client may use.

        Raises:
            Unavailable: it may not, or the server does not answer.
        """

    @abstractmethod
    async def open_leg(self, server: str, opening: Opening, listener: LegListener) -> Leg:
        """Open a conversation for a single listener, with the same arguments."""

    async def leg(self, server: str, opening: Opening) -> Leg:
        """The conversation with a server, which is opened if it is not open.

        Args:
            server: its name.
            opening: the client's description of itself.

        Raises:
            Unavailable: the server does not answer.
        """
        if self._has_hung_up:
            raise Unavailable("the client hung up")
        key = server, opening.is_stateless
        task = self._legs.get(key)
        is_good = self.gateway.use(server)
        if task is None or (task.done() and not (_is_open(task) and is_good)):
            task = self._legs[key] = asyncio.ensure_future(self.open_server(server, opening))
        elif task.done():
            return task.result()
        return await asyncio.shield(task)  # others wait for it as well

    def open_legs(self) -> list[Leg]:
        """The open conversations."""
        return [task.result() for task in self._legs.values() if task.done() and _is_open(task)]

    async def broadcast(self, method: str, params: JsonObject) -> None:
        """Notify all open servers that made a handshake."""
        for leg in self.open_legs():
            if not leg.is_stateless:
                await leg.notify(method, params)

    async def hang_up(self) -> None:
        """Hang up on all servers."""
        self._has_hung_up = True
        for task in self._legs.values():
            task.cancel()
        await asyncio.gather(*self._legs.values(), return_exceptions=True)
        for task in self._legs.values():
            if not task.cancelled() and task.exception() is None:
                await task.result().close()


def _is_open(task: asyncio.Task[Leg]) -> bool:
    return not task.cancelled() and task.exception() is None and task.result().is_open
