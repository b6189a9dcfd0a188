"""MCP over WebSocket: one message in each text frame (RFC 6455).

In no revision of MCP; the subprotocol `mcp` and the rest are what the official Python SDK did
up to its version 1. Binary frames, other subprotocols and packed frames are refused.
"""

from __future__ import annotations

import asyncio

import aiohttp
from aiohttp import web

from pipeguard.errors import LoginNeededError, PipeGuardError
from pipeguard.transports.channel import ChannelClosed
from pipeguard.transports.http.client.reconnecting import LinkLost
from pipeguard.transports.http.client.upstream import SUBPROTOCOL, Remote, renewed, unreached

PING_SECONDS = 30.0
UNSUPPORTED = 1003  # RFC 6455, section 7.4.1


class SocketLink:
    """One connection to a server."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    @classmethod
    async def open(cls, remote: Remote, http: aiohttp.ClientSession) -> SocketLink:
        """Connect.

        Raises:
            LinkLost: it cannot be reached, or speaks another protocol (see remote.connect).
        """
        try:
            try:
                return await cls._upgraded(remote, http)
            except aiohttp.WSServerHandshakeError as error:
                if not await renewed(remote, error):
                    raise
            return await cls._upgraded(remote, http)
        except (aiohttp.ClientError, OSError) as error:
            raise LinkLost(unreached(error)) from None
        except PipeGuardError as error:
            is_final = isinstance(error, LoginNeededError)
            raise LinkLost(str(error), is_final=is_final) from None

    @classmethod
    async def _upgraded(cls, remote: Remote, http: aiohttp.ClientSession) -> SocketLink:
        socket = await http.ws_connect(
            remote.url,
            protocols=(SUBPROTOCOL,),
            headers=await remote.sent_with({}),
            max_msg_size=remote.limit_bytes + 1,  # which is the first that is too large
            heartbeat=PING_SECONDS,
            compress=0,
        )
        return cls(socket)

    async def receive(self) -> bytes | None:
        """The next frame; None at the end."""
        return await _received(self._socket)

    async def send(self, frame: bytes) -> None:
        """Send a frame.

        Raises:
            LinkLost: it was not taken.
        """
        try:
            await self._socket.send_str(frame.decode())
        except (aiohttp.ClientError, OSError):
            raise LinkLost("the connection to the server was lost") from None

    async def close(self) -> None:
        """Hang up."""
        await self._socket.close()


class SocketChannel:
    """One connection of a client's, as a channel."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def read(self) -> bytes | None:
        """The next frame; None at the end."""
        return await _received(self._socket)

    async def write(self, frame: bytes) -> None:
        """Send a frame.

        Raises:
            ChannelClosed: the client is gone.
        """
        try:
            await self._socket.send_str(frame.decode())
        except (aiohttp.ClientError, OSError):
            raise ChannelClosed("the client is gone") from None

    async def close(self) -> None:
        """Hang up."""
        await self._socket.close()


async def _received(
    socket: aiohttp.ClientWebSocketResponse | web.WebSocketResponse,
) -> bytes | None:
    try:
        message = await socket.receive()
    except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError):
        return None
    if message.type is aiohttp.WSMsgType.TEXT:
        text: str = message.data
        return text.encode()
    if message.type is aiohttp.WSMsgType.BINARY:
        await socket.close(code=UNSUPPORTED)
    return None
