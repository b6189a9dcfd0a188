"""HTTP+SSE, the transport of MCP 2024-11-05: a stream of events from the server, POSTs to it.

basic/transports, "HTTP with SSE": the first event names the address for POSTs. It must be on the
same origin, or a server could send a client's token to another one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
from yarl import URL

from pipeguard.core.protocol.sse import MESSAGE, EventStream
from pipeguard.errors import PipeGuardError
from pipeguard.transports.http.client.bodies import Unreadable, body_pieces
from pipeguard.transports.http.client.reconnecting import LinkLost
from pipeguard.transports.http.client.upstream import Remote, Request, send
from pipeguard.transports.http.headers import EVENTS, JSON, media_type

ENDPOINT_SECONDS = 10.0


class SseLink:
    """One stream from a server, and the address for POSTs that it named."""

    def __init__(self, remote: Remote, http: aiohttp.ClientSession) -> None:
        self._remote = remote
        self._http = http
        self._answer: aiohttp.ClientResponse | None = None
        self._pieces: AsyncIterator[bytes] | None = None
        self._frames: deque[bytes] = deque()
        self._stream = EventStream(remote.limit_bytes)
        self._target: URL | None = None

    @classmethod
    async def open(
        cls,
        remote: Remote,
        http: aiohttp.ClientSession,
        patience_seconds: float | None = None,
    ) -> SseLink:
        """Connect, and wait for the address for POSTs.

        Raises:
            LinkLost: the server cannot be reached, speaks no HTTP+SSE, or names a foreign address.
        """
        link = cls(remote, http)
        try:
            async with asyncio.timeout(patience_seconds or ENDPOINT_SECONDS):
                await link._begin()
        except LinkLost:
            await link.close()
            raise
        except (aiohttp.ClientError, OSError, PipeGuardError, Unreadable) as error:
            await link.close()
            raise LinkLost.of(error) from None
        return link

    async def _begin(self) -> None:
        request = Request("GET", self._remote.url, {"Accept": EVENTS})
        answer = await send(self._remote, self._http, request)
        self._answer, self._pieces = answer, body_pieces(answer)
        if media_type(answer) != EVENTS or not answer.ok:
            raise LinkLost(f"the server answered with HTTP {answer.status}, not with MCP")
        while self._target is None:
            if not await self._read_events():
                raise LinkLost("the server named no address for messages")

    async def receive(self) -> bytes | None:
        """Wait for the next frame; None at the end."""
        with suppress(aiohttp.ClientError, OSError, LinkLost, Unreadable):  # the stream ends here
            while not self._frames and await self._read_events():
                pass
        return self._frames.popleft() if self._frames else None

    async def send(self, frame: bytes) -> None:
        """Send a frame in a POST.

        Raises:
            LinkLost: it was not accepted.
        """
        if self._target is None:
            raise LinkLost("closed")
        request = Request("POST", self._target, {"Content-Type": JSON}, frame)
        try:
            async with await send(self._remote, self._http, request) as answer:
                if not 200 <= answer.status < 300:
                    raise LinkLost(f"the server answered with HTTP {answer.status}")
        except (aiohttp.ClientError, OSError, PipeGuardError) as error:
            raise LinkLost.of(error) from None

    async def close(self) -> None:
        """Hang up."""
        if self._answer is not None:
            self._answer.close()

    async def _read_events(self) -> bool:
        """Read the next events; False at the end of the stream."""
        if self._pieces is None:
            return False
        piece = await anext(self._pieces, b"")
        for event in self._stream.feed(piece):
            if event.name == "endpoint":
                self._set_target(event.data or b"")
            elif event.name == MESSAGE and event.data:
                self._frames.append(event.data)
        return bool(piece) and not self._stream.overrun

    def _set_target(self, address: bytes) -> None:
        """Set the address for POSTs.

        Raises:
            LinkLost: it is set already, or on another origin.
        """
        if self._target is not None:
            raise LinkLost("the server named a second address for messages")
        try:
            target = self._remote.url.join(URL(address.decode()))
            if target.origin() == self._remote.url.origin() and target.user is None:
                self._target = target
        except ValueError:
            pass  # not a URL
        if self._target is None:
            raise LinkLost("the server named an address for messages that is not its own")
