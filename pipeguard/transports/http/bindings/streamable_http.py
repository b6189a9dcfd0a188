"""Streamable HTTP (MCP 2025-03-26 to 2026-07-28, basic/transports)."""

from __future__ import annotations

from functools import partial

from pipeguard.transports.channel import AsyncChannel
from pipeguard.transports.http.bindings import sse
from pipeguard.transports.http.client.streamable import StreamableChannel
from pipeguard.transports.http.server.backend import Backend, Upstream
from pipeguard.transports.http.server.binding import TransportBinding
from pipeguard.transports.http.server.fallback import FallbackEndpoint, StreamableServer
from pipeguard.transports.http.server.relay import Relay
from pipeguard.transports.http.server.routes import MCP, Endpoint, Route, without_body
from pipeguard.transports.http.server.streamable import StreamableEndpoint

RELAYED = ("streamable-http", "auto")  # transports of servers whose answers are relayed


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
    return _endpoint(FallbackEndpoint(relay, older, is_older))


def _endpoint(server: StreamableServer) -> Endpoint:
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
