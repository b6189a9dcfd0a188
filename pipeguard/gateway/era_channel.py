"""A channel to a server at its own endpoint, in the era of the client's first message.

A server decides by its first message which era a channel is of, and one that is started here has a
process for each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from pipeguard.gateway.eras import opening_in
from pipeguard.gateway.legs import Unavailable
from pipeguard.transports.channel import AsyncChannel, ChannelClosed
from pipeguard.transports.http.client.task_owners import OwnedDialler, SharingClient
from pipeguard.transports.judging import value_of


class EraChannel:
    """A channel that is opened by its first frame.

    Args:
        dial: opens it; True for one without a handshake. It raises ChannelClosed.
        closed: called once it is closed.
    """

    def __init__(
        self, dial: Callable[[bool], Awaitable[AsyncChannel]], closed: Callable[[], None]
    ) -> None:
        self._dial = dial
        self._on_close = closed
        self._opening = asyncio.Lock()
        self._is_decided = asyncio.Event()
        self._channel: AsyncChannel | None = None
        self._closed = False

    async def read(self) -> bytes | None:
        """Wait for the next whole frame; None once the channel has ended."""
        await self._is_decided.wait()
        return None if self._channel is None else await self._channel.read()

    async def write(self, frame: bytes) -> None:
        """Send one whole frame.

        Raises:
            ChannelClosed: the peer is gone, or this side was closed.
        """
        async with self._opening:
            if self._channel is None and not self._closed:
                self._channel = await self._dial(await _is_stateless(frame))
                self._is_decided.set()
        if self._channel is None or self._closed:
            raise ChannelClosed("closed")
        await self._channel.write(frame)

    async def close(self) -> None:
        """Hang up; a waiting `read` returns None."""
        if not self._closed:
            self._on_close()
        self._closed = True
        async with self._opening:
            self._is_decided.set()
            if self._channel is not None:
                await self._channel.close()


async def dial_by_era(
    name: str,
    ready: Callable[[], Awaitable[OwnedDialler]],
    dial_stateless: Callable[[SharingClient], Awaitable[AsyncChannel | None]],
    client: SharingClient,
    closed: Callable[[], None],
) -> AsyncChannel:
    """A channel to a server whose era is open.

    Args:
        name: of the server, for people.
        ready: returns what opens channels for a handshake; raises Unavailable.
        dial_stateless: opens one without a handshake, if the server has both.
        client: of the endpoint.
        closed: called once the channel is closed.

    Raises:
        ChannelClosed: it does not answer.
    """

    async def reached() -> OwnedDialler:
        try:
            return await ready()
        except Unavailable as why:
            raise ChannelClosed(f"the server {name} is not available: {why}") from None

    async def dial(is_stateless: bool) -> AsyncChannel:  # noqa: FBT001  a callback of one argument
        dialler = await reached()
        channel = await dial_stateless(client) if is_stateless else None
        return channel or await dialler.dial_for(client)

    await reached()
    return EraChannel(dial, closed)


async def _is_stateless(frame: bytes) -> bool:
    value = await value_of(frame)  # it was judged, so it is JSON
    method = value.get("method") if isinstance(value, dict) else None
    params = value.get("params") if isinstance(value, dict) else None
    return opening_in(str(method), params if isinstance(params, dict) else {}) is not None
