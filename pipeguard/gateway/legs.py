"""The servers that are open for one client: each opened when it is first needed, once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from pipeguard.core.protocol.json_values import JsonObject
from pipeguard.gateway.leg import Leg


class Unavailable(Exception):  # noqa: N818  becomes the answer to whoever needed the server
    """A server that cannot be used now; the text says why, and what is being done about it."""


class Legs:
    """A client's conversations with servers.

    Args:
        opens: opens one with a server; raises Unavailable.
    """

    def __init__(self, opens: Callable[[str], Awaitable[Leg]]) -> None:
        self._opens = opens
        self._opening: dict[str, asyncio.Task[Leg]] = {}
        self._closed = False

    async def to(self, server: str) -> Leg:
        """The conversation with a server, opened where it is not.

        Raises:
            Unavailable: the server does not answer.
        """
        if self._closed:
            raise Unavailable("the client is gone")
        opening = self._opening.get(server)
        if opening is None or (opening.done() and not _is_open(opening)):
            opening = asyncio.ensure_future(self._opens(server))
            self._opening[server] = opening
        return await asyncio.shield(opening)  # others wait for it as well

    def open_now(self) -> list[Leg]:
        """Those that are open."""
        return [task.result() for task in self._opening.values() if task.done() and _is_open(task)]

    async def tell(self, method: str, params: JsonObject) -> None:
        """Tell all that are open."""
        for leg in self.open_now():
            await leg.notify(method, params)

    async def close(self) -> None:
        """Hang up on all."""
        self._closed = True
        for task in self._opening.values():
            task.cancel()
        await asyncio.gather(*self._opening.values(), return_exceptions=True)
        for task in self._opening.values():
            if not task.cancelled() and task.exception() is None:
                await task.result().close()


def _is_open(task: asyncio.Task[Leg]) -> bool:
    return not task.cancelled() and task.exception() is None and task.result().is_open
