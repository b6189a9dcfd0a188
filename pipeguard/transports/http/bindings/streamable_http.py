"""Streamable HTTP (MCP 2025-03-26 to 2026-07-28, basic/transports).

Whether a server speaks it or the older transport is found out when the first client comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from aiohttp import web

from pipeguard.transports.channel import AsyncChannel
from pipeguard.transports.http.bindings import sse
from pipeguard.transports.http.client.streamable import StreamableChannel
from pipeguard.transports.http.server.backend import (
    MCP,
    Backend,
    Endpoint,
    Route,
    TransportBinding,
    Upstream,
    without_body,
)
from pipeguard.transports.http.server.relay import Relay
from pipeguard.transports.http.server.streamable import StreamableEndpoint

RELAYED = ("streamable-http", "auto")  # transports of servers whose answers are relayed


class _StreamableServer(Protocol):
    """Answers clients of Streamable HTTP."""

    async def post(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """Answer a message."""

    async def get(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer with the stream of unrequested messages."""

    async def delete(self, request: web.BaseRequest) -> web.StreamResponse:
        """End a session."""

    async def close(self) -> None:
        """End what is in progress."""


class _FallbackEndpoint:
    """Answers by a relay, or by channels if the server speaks the older transport.

    Args:
        newer: for a server of Streamable HTTP.
        older: for a server of HTTP+SSE.
        is_older: asks the server (MCP 2025-06-18, basic/transports, "Backwards Compatibility").
    """

    def __init__(
        self,
        newer: _StreamableServer,
        older: _StreamableServer,
        is_older: Callable[[], Awaitable[bool]],
    ) -> None:
        self._newer = newer
        self._older = older
        self._is_older = is_older
        self._asking = asyncio.Lock()
        self._chosen: _StreamableServer | None = None

    async def post(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """Answer a message."""
        answering = (await self._endpoint()).post(request, body)
        del body  # otherwise it would be kept until the answer comes
        return await answering

    async def get(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer with the stream of unrequested messages."""
        return await (await self._endpoint()).get(request)

    async def delete(self, request: web.BaseRequest) -> web.StreamResponse:
        """End a session."""
        return await (await self._endpoint()).delete(request)

    async def close(self) -> None:
        """End both."""
        await self._newer.close()
        await self._older.close()

    async def _endpoint(self) -> _StreamableServer:
        if self._chosen is None:
            async with self._asking:
                if self._chosen is None:
                    self._chosen = self._older if await self._is_older() else self._newer
        return self._chosen


def make_endpoint(backend: Backend) -> Endpoint:
    """A relay if the server speaks Streamable HTTP as well; otherwise sessions of our own."""
    upstream = backend.upstream
    if upstream is None or upstream.transport not in RELAYED:
        hosted = StreamableEndpoint(backend)
        return _endpoint(hosted)._replace(is_ready=hosted.is_ready)
    relay = Relay(upstream.remote, upstream.http, backend.service)
    if upstream.transport == "streamable-http":
        return _endpoint(relay)
    older = StreamableEndpoint(backend._replace(dial=partial(_open_older, upstream)))
    is_older = partial(sse.answers, upstream.remote, upstream.http)
    return _endpoint(_FallbackEndpoint(relay, older, is_older))


def _endpoint(server: _StreamableServer) -> Endpoint:
    routes = (
        Route("POST", MCP, server.post, has_body=True),
        Route("GET", MCP, without_body(server.get)),
        Route("DELETE", MCP, without_body(server.delete)),
    )
    return Endpoint(routes, server.close)


async def _open_older(upstream: Upstream, _who: str) -> AsyncChannel:
    return sse.open_channel(upstream.remote, upstream.http)


BINDING = TransportBinding(
    "one address for everything (MCP since 2025-03-26)",
    ("http", "https"),
    StreamableChannel,
    make_endpoint,
)
