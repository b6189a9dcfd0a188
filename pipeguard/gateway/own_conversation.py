"""The gateway's own conversation with a server, in which no client is there to be asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pipeguard.core.protocol.message import Message
from pipeguard.gateway.leg import Leg
from pipeguard.transports.tasks import Tasks


class OwnListener:
    """What the gateway does with what a server says in the gateway's own conversation."""

    def __init__(self, relist: Callable[[], None], gone: asyncio.Event) -> None:
        self._relist = relist
        self._tasks = Tasks()
        self._gone = gone

    def requested(self, leg: Leg, message: Message) -> None:
        """Nobody is there who could be asked."""
        self._tasks.begin(leg.decline(message, "no client is there to be asked"))

    def notified(self, leg: Leg, message: Message) -> None:
        """Its tools have changed, or something that clients hear for themselves."""
        if message.method == "notifications/tools/list_changed":
            self._relist()

    def lost(self, leg: Leg) -> None:
        """It is gone."""
        self._gone.set()


async def listen_for_tools(leg: Leg) -> None:
    """Have a server without handshakes say when its tools have changed, while it answers."""
    await leg.listen({"toolsListChanged": True})
