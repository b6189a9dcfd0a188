"""Streamable HTTP (MCP 2025-03-26 to 2026-07-28, basic/transports).

When the first client comes, a probe shows if the server speaks it or the older transport.
"""

import asyncio
from dataclasses import replace

from aiohttp import web

from pipeguard.transports.channel import AsyncChannel
from pipeguard.transports.http.bindings import sse
from pipeguard.transports.http.client.streamable import StreamableChannel
from pipeguard.transports.http.server.backend import (
    Backend,
    Endpoint,
    Route,
    TransportBinding,
    Upstream,
)
from pipeguard.transports.http.server.relay import Relay
from pipeguard.transports.http.server.streamable import StreamableEndpoint


def make_endpoint(backend: Backend) -> Endpoint:
    """A relay if the server speaks Streamable HTTP as well; otherwise sessions of our own."""
    upstream = backend.upstream
    if upstream is None or upstream.transport not in ("streamable-http", "auto"):
        return StreamableEndpoint(backend)
    relay = Relay(backend, upstream)
    return relay if upstream.transport == "streamable-http" else _Either(relay, backend, upstream)


class _Either(Endpoint):
    """A relay, or sessions of our own once the server has shown that it speaks HTTP+SSE.

    MCP 2025-06-18, basic/transports, "Backwards Compatibility".
    """

    def __init__(self, relay: Relay, backend: Backend, upstream: Upstream) -> None:
        async def open_older(_who: str, _session: str) -> AsyncChannel:
            return sse.open_channel(upstream.remote, upstream.http)

        self._upstream = upstream
        self._both = relay, StreamableEndpoint(replace(backend, dial=open_older))
        self._asking = asyncio.Lock()
        self._is_older: bool | None = None  # until it is known
        self.routes = tuple(map(self._choose, *(endpoint.routes for endpoint in self._both)))

    def _choose(self, *both: Route) -> Route:
        async def answer(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
            if self._is_older is None:
                async with self._asking:
                    if self._is_older is None:
                        upstream = self._upstream
                        self._is_older = await sse.answers(upstream.remote, upstream.http)
            answering = both[self._is_older].answer(request, body)
            del body  # otherwise it would be kept until the answer comes
            return await answering

        return both[0]._replace(answer=answer)

    async def close(self) -> None:
        """End the work of both."""
        await asyncio.gather(*(endpoint.close() for endpoint in self._both))


BINDING = TransportBinding(
    "one address for everything (MCP since 2025-03-26)",
    ("http", "https"),
    StreamableChannel,
    make_endpoint,
)
