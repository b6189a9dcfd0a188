"""WebSocket on both sides: which frames are messages, and which servers are spoken to."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from pipeguard.transports.channel import ChannelClosed
from pipeguard.transports.http.bindings.websocket import _connect, _WebSocketChannel
from pipeguard.transports.http.client.reconnecting import LinkLost
from pipeguard.transports.http.client.upstream import Remote, connect
from tests.transports.talking import Login, request, result
from tests.transports.wire import serving

LIMIT = 10_000
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def remote(address: str, login: Login | None = None, **headers: str) -> Remote:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Remote(URL(address.replace("http", "ws") + "/ws"), named, login, limit_bytes=LIMIT)


@asynccontextmanager
async def linked(
    handler: Handler, login: Login | None = None, **headers: str
) -> AsyncIterator[_WebSocketChannel]:
    async with serving(handler) as address:
        at = remote(address, login, **headers)
        async with connect(at) as http:
            link = await _connect(at, http)
            try:
                yield link
            finally:
                await link.close()


def talking(talk: Callable[[web.WebSocketResponse], Awaitable[None]], *protocols: str) -> Handler:
    async def handler(asked: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=protocols or ("mcp",))
        await socket.prepare(asked)
        await talk(socket)
        return socket

    return handler


async def echo(socket: web.WebSocketResponse) -> None:
    async for message in socket:
        asked = json.loads(message.data)
        await socket.send_str(json.dumps(result(asked["id"])))


# --- servers --------------------------------------------------------------------------------------


async def test_messages_go_both_ways_as_text() -> None:
    async with linked(talking(lambda socket: socket.send_str("x" * LIMIT))) as link:
        assert await link.read() == b"x" * LIMIT
    async with linked(talking(echo)) as link:
        await link.write(json.dumps(request(1)).encode())
        assert json.loads(await link.read() or b"") == result(1)
        await link.close()
        assert await link.read() is None
        with pytest.raises(ChannelClosed):
            await link.write(b"{}")


async def test_a_server_that_chooses_no_protocol_is_taken() -> None:
    async def handler(asked: web.BaseRequest) -> web.StreamResponse:
        assert asked.headers["Sec-WebSocket-Protocol"] == "mcp"
        assert asked.headers["X-Api-Key"] == "k"
        assert "Sec-WebSocket-Extensions" not in asked.headers
        socket = web.WebSocketResponse()
        await socket.prepare(asked)
        await echo(socket)
        return socket

    async with linked(handler, X_Api_Key="k") as link:
        await link.write(json.dumps(request(1)).encode())
        assert await link.read() is not None


async def test_a_server_that_chooses_another_protocol_is_not_spoken_to() -> None:
    async def handler(asked: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        socket.headers["Sec-WebSocket-Protocol"] = "graphql-ws"
        await socket.prepare(asked)
        message = await socket.receive()
        assert message.type is not aiohttp.WSMsgType.TEXT
        return socket

    with pytest.raises(LinkLost):
        async with linked(handler) as link:
            await link.write(b"{}")


@pytest.mark.parametrize("status", [302, 307])
async def test_no_redirection_is_followed_and_no_header_goes_along(status: int) -> None:
    stolen: list[dict[str, str]] = []

    async def thief(asked: web.BaseRequest) -> web.StreamResponse:
        stolen.append(dict(asked.headers))
        return web.Response()

    async with serving(thief) as foreign:

        async def handler(asked: web.BaseRequest) -> web.StreamResponse:
            return web.Response(status=status, headers={"Location": f"{foreign}/ws"})

        with pytest.raises(LinkLost):
            async with linked(handler, X_Api_Key="k", Authorization="Bearer ours"):
                pass
    assert stolen == []


@pytest.mark.parametrize("status", [200, 401, 500])
async def test_what_is_no_such_server_is_told(status: int) -> None:
    async def handler(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, text="no")

    with pytest.raises(LinkLost):
        async with linked(handler):
            pass


class Locked:
    """A server that asks for a token."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []

    async def __call__(self, asked: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(asked.headers.get("Authorization"))
        if self.asked[-1] != "Bearer new":
            return web.Response(status=401, headers={"WWW-Authenticate": "Bearer a, Basic b"})
        return await talking(echo)(asked)


async def test_a_login_is_renewed_for_the_upgrade() -> None:
    login, locked = Login("Bearer new"), Locked()
    async with linked(locked, login) as link:
        await link.write(json.dumps(request(1)).encode())
        assert json.loads(await link.read() or b"") == result(1)
    assert locked.asked == [None, "Bearer new"]
    assert login.challenges == [(401, "Bearer a, Basic b")]


@pytest.mark.parametrize("kind", ["binary", "large", "close", "abort", "fragment"])
async def test_what_is_no_message_ends_the_connection(kind: str) -> None:
    codes: list[int | None] = []

    async def odd(socket: web.WebSocketResponse) -> None:
        match kind:
            case "binary":
                await socket.send_bytes(b"{}")
            case "large":
                await socket.send_str("x" * (LIMIT + 1))
            case "close":
                await socket.close()
            case "abort":
                transport = socket.get_extra_info("socket")
                assert transport is not None
                assert socket._req is not None
                assert socket._req.transport is not None
                socket._req.transport.abort()
            case "fragment":
                assert socket._req is not None
                assert socket._req.transport is not None
                socket._req.transport.write(b"\x01\x01{\x81\x01}")  # a text in a text
        await socket.receive()
        codes.append(socket.close_code)

    async with linked(talking(odd)) as link:
        assert await link.read() is None
    if kind in ("binary", "large"):
        assert codes == [{"binary": 1003, "large": 1009}[kind]]
