"""Finds out whether a server speaks Streamable HTTP or the older HTTP+SSE.

MCP 2025-06-18, basic/transports, "Backwards Compatibility".
"""

import aiohttp

from pipeguard.transports.channel import RemoteChannel
from pipeguard.transports.http.bindings import sse
from pipeguard.transports.http.client.reconnecting import LinkLost, ReconnectingChannel
from pipeguard.transports.http.client.streamable import StreamableChannel
from pipeguard.transports.http.client.upstream import Remote
from pipeguard.transports.http.server.backend import TransportBinding


def open_channel(remote: Remote, http: aiohttp.ClientSession) -> RemoteChannel:
    """A channel of Streamable HTTP that changes to HTTP+SSE when its opening is refused."""

    async def open_older() -> ReconnectingChannel | None:
        channel = sse.open_channel(remote, http)
        try:
            await channel.open()
        except LinkLost:
            return None
        return channel

    return StreamableChannel(remote, http, open_older)


BINDING = TransportBinding(
    "streamable-http, or sse if the server is older", ("http", "https"), open_channel
)
