"""Streamable HTTP (MCP 2025-03-26 to 2026-07-28, basic/transports).

When the first client comes, a probe shows if the server speaks it or the older transport.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

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
)
from pipeguard.transports.http.server.relay import Relay
from pipeguard.transports.http.server.streamable import StreamableEndpoint

RELAYED = ("streamable-http", "auto")  # transports of servers whose answers are relayed


def make_endpoint(backend: Backend) -> Endpoint:
    """A relay if the server speaks Streamable HTTP as well; otherwise sessions of our own."""
    upstream = backend.upstream
    if upstream is None or upstream.transport not in RELAYED:
        return _make_endpoint(StreamableEndpoint(backend))
    relay = _make_endpoint(Relay(backend, upstream))
    if upstream.transport == "streamable-http":
        return relay
    older = StreamableEndpoint(replace(backend, dial=partial(_open_older, upstream)))
    is_older = partial(sse.answers, upstream.remote, upstream.http)
    return _fall_back(relay, _make_endpoint(older), is_older)


def _make_endpoint(server: Relay | StreamableEndpoint) -> Endpoint:
    routes = (
        Route("POST", MCP, server.post, has_body=True),
        Route("GET", MCP, server.get),
        Route("DELETE", MCP, server.delete),
    )
    is_ready = server.is_ready if isinstance(server, StreamableEndpoint) else lambda: True
    return Endpoint(routes, server.close, is_ready)


def _fall_back(
    newer: Endpoint, older: Endpoint, asks_server: Callable[[], Awaitable[bool]]
) -> Endpoint:
    """An endpoint that becomes one of two once the server has shown which transport it speaks.

    Args:
        newer: for a server of Streamable HTTP.
        older: for a server of HTTP+SSE.
        asks_server: True if the server speaks the older transport (MCP 2025-06-18,
            basic/transports, "Backwards Compatibility").
    """
    asking = asyncio.Lock()
    is_older: list[bool] = []  # once it is known

    def choose(new: Route, old: Route) -> Route:
        async def answer(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
            async with asking:
                if not is_older:
                    is_older.append(await asks_server())
            answering = (old if is_older[0] else new).answer(request, body)
            del body  # otherwise it would be kept until the answer comes
            return await answering

        return new._replace(answer=answer)

    async def close() -> None:
        await asyncio.gather(newer.close(), older.close())

    return Endpoint(tuple(map(choose, newer.routes, older.routes)), close)


async def _open_older(upstream: Upstream, _who: str) -> AsyncChannel:
    return sse.open_channel(upstream.remote, upstream.http)


BINDING = TransportBinding(
    "one address for everything (MCP since 2025-03-26)",
    ("http", "https"),
    StreamableChannel,
    make_endpoint,
)
