"""The gateway's own conversation with a server, in which no client is there to be asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pipeguard.core.protocol import codes
from pipeguard.core.protocol.json_values import JsonObject, Number
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
        self._tasks.begin(_decline(leg, message))

    def notified(self, leg: Leg, message: Message) -> None:
        """Its tools have changed, or something that clients hear for themselves."""
        if message.method == "notifications/tools/list_changed":
            self._relist()

    def lost(self, leg: Leg) -> None:
        """It is gone."""
        self._gone.set()


async def _decline(leg: Leg, message: Message) -> None:
    if message.method == "ping":
        await leg.answer({"jsonrpc": "2.0", "id": message.value["id"], "result": {}})
        return
    error: JsonObject = {
        "code": Number(str(codes.METHOD_NOT_FOUND)),
        "message": "PipeGuard: no client is there to be asked",
    }
    await leg.answer({"jsonrpc": "2.0", "id": message.value["id"], "error": error})
