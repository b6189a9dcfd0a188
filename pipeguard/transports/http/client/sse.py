"""HTTP+SSE, the transport of MCP 2024-11-05: one stream down, and POSTs up.

basic/transports, "HTTP with SSE": the first event names where to POST. That is a place on the
same origin, or a server could send a client's token to another one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
from yarl import URL

from pipeguard.core.protocol.sse import EventStream
from pipeguard.errors import LoginNeededError, PipeGuardError
from pipeguard.transports.http.client.reconnecting import LinkLost
from pipeguard.transports.http.client.upstream import (
    EVENTS,
    JSON,
    Remote,
    Unreadable,
    asked,
    kind_of,
    pieces,
    unreached,
)

ENDPOINT_SECONDS = 10.0
_TAKEN, _ELSEWHERE = 200, 300  # the classes of statuses (RFC 9110, section 15)


class EventLink:
    """One stream of a server's, and the address that it named."""

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
    ) -> EventLink:
        """Connect, and wait for the address.

        Raises:
            LinkLost: it cannot be reached, is no such server, or names a foreign address.
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
            raise _lost(error) from None
        return link

    async def _begin(self) -> None:
        answer = await asked(self._remote, self._http, "GET", self._remote.url, {"Accept": EVENTS})
        self._answer, self._pieces = answer, pieces(answer)
        if kind_of(answer) != EVENTS or not answer.ok:
            raise LinkLost(f"the server answered with HTTP {answer.status}, not with MCP")
        while self._target is None:
            if not await self._more():
                raise LinkLost("the server named no address for messages")

    async def receive(self) -> bytes | None:
        """The next frame; None at the end."""
        with suppress(aiohttp.ClientError, OSError, LinkLost, Unreadable):  # then it ends here
            while not self._frames and await self._more():
                pass
        return self._frames.popleft() if self._frames else None

    async def send(self, frame: bytes) -> None:
        """POST a frame.

        Raises:
            LinkLost: it was not taken.
        """
        if self._target is None:
            raise LinkLost("closed")
        try:
            headers = {"Content-Type": JSON}
            async with await asked(
                self._remote, self._http, "POST", self._target, headers, frame
            ) as answer:
                if not _TAKEN <= answer.status < _ELSEWHERE:
                    raise LinkLost(f"the server answered with HTTP {answer.status}")
        except (aiohttp.ClientError, OSError, PipeGuardError) as error:
            raise _lost(error) from None

    async def close(self) -> None:
        """Hang up."""
        if self._answer is not None:
            self._answer.close()

    async def _more(self) -> bool:
        """Read the next events; False at the end of the stream."""
        if self._pieces is None:
            return False
        piece = await anext(self._pieces, b"")
        for event in self._stream.feed(piece):
            if event.name == "endpoint":
                self._point(event.data or b"")
            elif event.name == "message" and event.data:
                self._frames.append(event.data)
        return bool(piece) and not self._stream.overrun

    def _point(self, address: bytes) -> None:
        """Take the address for messages.

        Raises:
            LinkLost: there is one already, or it is on another origin.
        """
        if self._target is not None:
            raise LinkLost("the server named a second address for messages")
        try:
            target = self._remote.url.join(URL(address.decode()))
            if target.origin() == self._remote.url.origin() and target.user is None:
                self._target = target
        except ValueError:
            pass  # no address at all
        if self._target is None:
            raise LinkLost("the server named an address for messages that is not its own")


def _lost(error: Exception) -> LinkLost:
    if isinstance(error, PipeGuardError):
        return LinkLost(str(error), is_final=isinstance(error, LoginNeededError))
    return LinkLost(unreached(error))
