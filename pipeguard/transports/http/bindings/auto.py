"""Finds out whether a server speaks Streamable HTTP or the older HTTP+SSE.

MCP 2025-06-18, basic/transports, "Backwards Compatibility".
"""

import aiohttp

from pipeguard.transports.channel import RemoteChannel
from pipeguard.transports.http.bindings import sse
from pipeguard.transports.http.client import reconnecting, streamable, upstream
from pipeguard.transports.http.server.backend import TransportBinding


def open_channel(remote: upstream.Remote, http: aiohttp.ClientSession) -> RemoteChannel:
    """A channel of Streamable HTTP that changes to HTTP+SSE when its opening is refused."""

    async def open_older() -> reconnecting.ReconnectingChannel | None:
        channel = sse.open_channel(remote, http)
        try:
            await channel.open()
        except reconnecting.LinkLost:
            return None
        return channel

    return streamable.StreamableChannel(remote, http, open_older)


BINDING = TransportBinding(
    "streamable-http, or sse if the server is older", ("http", "https"), open_channel
)
