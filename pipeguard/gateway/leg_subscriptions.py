"""What a client with a handshake is subscribed to, also when a server was started again.

A server that was started again, or has other settings, knows nothing of what its clients were
subscribed to. One without handshakes announces nothing unasked, so that it is listened to.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress

from pipeguard.core.protocol.json_values import JsonObject, JsonValue
from pipeguard.gateway.eras import INVALID_PARAMS, Declined
from pipeguard.gateway.leg import Leg
from pipeguard.gateway.legs import Unavailable
from pipeguard.transports.http.client.shared_settings import SUBSCRIBE
from pipeguard.transports.http.client.upstream import backoff
from pipeguard.transports.tasks import Tasks

MOST_SUBSCRIPTIONS = 256  # of one client, to single resources; the oldest are dropped


class LegSubscriptions:
    """The subscriptions of one client with a handshake.

    Args:
        opens: opens a conversation with a server, for this client; raises Unavailable.
        updated: tells the client that a resource of a server may have changed.
    """

    def __init__(
        self, opens: Callable[[str], Awaitable[Leg]], updated: Callable[[Leg, str], None]
    ) -> None:
        self._opens = opens
        self._updated = updated
        self._tasks = Tasks()
        self._resources: OrderedDict[tuple[str, str], asyncio.Task[None]] = OrderedDict()

    def follow(self, leg: Leg) -> None:
        """Hear of changed lists, as a client with a handshake does without asking."""
        lists = {"prompts": "promptsListChanged", "resources": "resourcesListChanged"}
        wanted: JsonObject = {
            flag: True for name, flag in lists.items() if leg.offers(name, "listChanged")
        }
        if wanted:
            self._tasks.begin(_listen(leg, wanted))

    def answer(self, leg: Leg, method: str, uri: JsonValue) -> JsonObject:
        """Answer `resources/subscribe` or `resources/unsubscribe`, for a server without handshakes.

        Raises:
            Declined: it names no resource.
        """
        if type(uri) is not str:
            raise Declined(INVALID_PARAMS, f"{method} names no resource")
        self.answered(leg, method, uri, {"result": {}})
        return {"result": {}}

    def answered(self, leg: Leg, method: str, uri: JsonValue, answer: JsonObject) -> None:
        """A server has answered `resources/subscribe` or `resources/unsubscribe`."""
        if type(uri) is not str or "error" in answer:
            return
        key = leg.server, uri
        self._drop(key)
        if method == SUBSCRIBE:
            while len(self._resources) >= MOST_SUBSCRIPTIONS:
                self._drop(next(iter(self._resources)))
            task = self._tasks.begin(self._hold(leg, uri))
            self._resources[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))

    async def close(self) -> None:
        """End all of them."""
        await self._tasks.end()

    def _ended(self, key: tuple[str, str], task: asyncio.Task[None]) -> None:
        if self._resources.get(key) is task:
            del self._resources[key]

    def _drop(self, key: tuple[str, str]) -> None:
        task = self._resources.pop(key, None)
        if task is not None:
            task.cancel()

    async def _hold(self, leg: Leg, uri: str) -> None:
        """Stay subscribed, until the server itself ends that."""
        while await self._is_lost(leg, uri):
            leg = await self._again(leg.server)
            # It may have changed while nobody could hear of it.
            if leg.is_stateless or await _is_subscribed(leg, uri):
                self._updated(leg, uri)
            elif leg.is_open:
                return

    async def _is_lost(self, leg: Leg, uri: str) -> bool:
        """Wait for the end of a subscription; False where the server has ended it."""
        if leg.is_stateless:
            await _listen(leg, {"resourceSubscriptions": [uri]})
            return not leg.is_open
        await leg.ended.wait()
        return True

    async def _again(self, server: str) -> Leg:
        """The server, once it is there again."""
        pauses = backoff()
        while True:
            await asyncio.sleep(next(pauses))
            with suppress(Unavailable):
                return await self._opens(server)


async def _listen(leg: Leg, notifications: JsonObject) -> None:
    await leg.listen(notifications)


async def _is_subscribed(leg: Leg, uri: str) -> bool:
    return "error" not in await leg.request(SUBSCRIBE, {"uri": uri})
