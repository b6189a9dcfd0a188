"""MCP over WebSocket: one message in each text frame (RFC 6455).

No revision of MCP defines it; the subprotocol `mcp` and the rest are as in the official Python SDK
up to its version 1. Binary frames, other subprotocols and compressed frames are refused.
"""

import asyncio
from contextlib import suppress
from functools import partial

import aiohttp
from aiohttp import web

from pipeguard.errors import PipeGuardError
from pipeguard.transports.channel import ChannelClosed, RemoteChannel
from pipeguard.transports.http.client.bodies import NETWORK_ERRORS
from pipeguard.transports.http.client.reconnecting import LinkLost, ReconnectingChannel
from pipeguard.transports.http.client.upstream import SUBPROTOCOL, Remote, login_renewed
from pipeguard.transports.http.server.admission import WHO, RefusalReason, RequestRefused
from pipeguard.transports.http.server.backend import MCP, Backend, Endpoint, Route, TransportBinding
from pipeguard.transports.judging import read_frame

WEBSOCKET = "/ws"
PING_SECONDS = 30.0
UNSUPPORTED = 1003  # RFC 6455, section 7.4.1


class _WebSocketChannel:
    """One connection, to a server or a client."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse | web.WebSocketResponse) -> None:
        self._socket = socket

    async def read(self) -> bytes | None:
        """Wait for the next frame; None at the end."""
        with suppress(*NETWORK_ERRORS, asyncio.IncompleteReadError):
            message = await self._socket.receive()
            if message.type is aiohttp.WSMsgType.TEXT:
                text: str = message.data
                return await read_frame(text.encode())
            if message.type is aiohttp.WSMsgType.BINARY:
                await self._socket.close(code=UNSUPPORTED)
        return None

    async def write(self, frame: bytes) -> None:
        """Send a frame.

        Raises:
            ChannelClosed: the other side is gone.
        """
        try:
            await self._socket.send_str(frame.decode())
        except NETWORK_ERRORS:
            raise ChannelClosed("the connection was lost") from None

    async def close(self) -> None:
        """Hang up."""
        await self._socket.close()


async def _connect(remote: Remote, http: aiohttp.ClientSession) -> _WebSocketChannel:
    """Connect to a server.

    Raises:
        LinkLost: the server cannot be reached, or speaks another subprotocol.
    """
    try:
        try:
            return await _upgrade(remote, http)
        except aiohttp.WSServerHandshakeError as error:
            if not await login_renewed(remote, error):
                raise
        return await _upgrade(remote, http)
    except (*NETWORK_ERRORS, PipeGuardError) as error:
        raise LinkLost.of(error) from None


async def _upgrade(remote: Remote, http: aiohttp.ClientSession) -> _WebSocketChannel:
    socket = await http.ws_connect(
        remote.url,
        protocols=(SUBPROTOCOL,),
        headers=await remote.add_headers({}),
        max_msg_size=remote.limit_bytes + 1,  # the smallest size that is too large
        heartbeat=PING_SECONDS,
        compress=0,
    )
    return _WebSocketChannel(socket)


class _WebSocketEndpoint(Endpoint):
    """Serves WebSocket clients on its own path and on that of Streamable HTTP.

    Args:
        backend: holds each client's conversation.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        paths = WEBSOCKET, MCP
        self.routes = tuple(Route("GET", path, self._get, upgrades=True) for path in paths)

    async def _get(self, request: web.BaseRequest, _: bytes) -> web.StreamResponse:
        """Upgrade the connection, for as long as the conversation lasts."""
        offered = ",".join(request.headers.getall("Sec-WebSocket-Protocol", (SUBPROTOCOL,)))
        if SUBPROTOCOL not in [name.strip() for name in offered.split(",")]:
            raise RequestRefused(
                RefusalReason.NOWHERE,
                400,
                f"there is no such subprotocol; offer {SUBPROTOCOL}, or none",
            )
        socket = web.WebSocketResponse(
            protocols=(SUBPROTOCOL,),
            heartbeat=PING_SECONDS,
            compress=False,
            max_msg_size=self._backend.limit_bytes + 1,  # the smallest size that is too large
        )
        with self._backend.room():
            await socket.prepare(request)
            await self._backend.hold(_WebSocketChannel(socket), request.get(WHO, ""))
        return socket


def open_channel(remote: Remote, http: aiohttp.ClientSession) -> RemoteChannel:
    """A channel to a server."""
    return ReconnectingChannel(partial(_connect, remote, http))


BINDING = TransportBinding(
    "WebSocket, as in version 1 of the Python SDK", ("ws", "wss"), open_channel, _WebSocketEndpoint
)
