"""What a client with a handshake hears of servers without one, which announce nothing unasked."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from pipeguard.core.protocol.json_values import JsonObject, JsonValue
from pipeguard.gateway.eras import INVALID_PARAMS, Declined
from pipeguard.gateway.leg import Leg
from pipeguard.transports.http.client.shared_settings import SUBSCRIBE
from pipeguard.transports.tasks import Tasks

MOST_SUBSCRIPTIONS = 256  # of one client, to single resources; the oldest are dropped


class LegSubscriptions:
    """The subscriptions of one client with a handshake, at servers without one."""

    def __init__(self) -> None:
        self._tasks = Tasks()
        self._resources: OrderedDict[tuple[Leg, str], asyncio.Task[None]] = OrderedDict()

    def follow(self, leg: Leg) -> None:
        """Hear of changed lists, as a client with a handshake does without asking."""
        lists = {"prompts": "promptsListChanged", "resources": "resourcesListChanged"}
        wanted: JsonObject = {
            flag: True for name, flag in lists.items() if leg.offers(name, "listChanged")
        }
        if wanted:
            self._tasks.begin(_listen(leg, wanted))

    def answer(self, leg: Leg, method: str, uri: JsonValue) -> JsonObject:
        """Answer `resources/subscribe` or `resources/unsubscribe`.

        Raises:
            Declined: it names no resource.
        """
        if type(uri) is not str:
            raise Declined(INVALID_PARAMS, f"{method} names no resource")
        self._drop(leg, uri)
        if method == SUBSCRIBE:
            while len(self._resources) >= MOST_SUBSCRIPTIONS:
                self._drop(*next(iter(self._resources)))
            task = self._tasks.begin(_listen(leg, {"resourceSubscriptions": [uri]}))
            self._resources[leg, uri] = task
            task.add_done_callback(lambda done: self._ended(leg, uri, done))
        return {"result": {}}

    async def close(self) -> None:
        """End all of them."""
        await self._tasks.end()

    def _ended(self, leg: Leg, uri: str, task: asyncio.Task[None]) -> None:
        if self._resources.get((leg, uri)) is task:
            del self._resources[leg, uri]

    def _drop(self, leg: Leg, uri: str) -> None:
        task = self._resources.pop((leg, uri), None)
        if task is not None:
            task.cancel()


async def _listen(leg: Leg, notifications: JsonObject) -> None:
    await leg.listen(notifications)
