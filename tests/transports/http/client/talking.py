"""Helpers of the tests of channels to Streamable HTTP servers."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from yarl import URL

from pipeguard.firewall.protocol.framing import Lost
from pipeguard.transports.http.client.streamable import StreamableChannel
from pipeguard.transports.http.client.upstream import Remote, connect
from tests.transports.talking import (
    INITIALIZED,
    SESSION,
    Asked,
    Json,
    Object,
    Odd,
    as_json,
    at,
    initialize,
    notification,
    opened,
    text_result,
)
from tests.transports.wire import serving

LIMIT = 10_000
NOTE = notification("notifications/message", level="info", data="x")


class Client:
    """A client of a channel."""

    def __init__(self, channel: StreamableChannel) -> None:
        self.channel = channel

    async def send(self, message: Json) -> None:
        await self.channel.write(json.dumps(message).encode())

    async def hear(self) -> Json:
        """Return the next message; for a lost answer its id and the reason."""
        frame = await self.channel.read()
        assert frame is not None
        if isinstance(frame, Lost):
            return {"lost": json.loads(frame.id_token), "why": frame.why}
        told: Json = json.loads(frame)
        return told

    async def ask(self, message: Object) -> Json:
        await self.send(message)
        return await self.hear()

    async def open(self) -> None:
        assert await self.ask(initialize()) == opened()
        await self.send(INITIALIZED)


@asynccontextmanager
async def talking(odd: Odd, url: str | None = None) -> AsyncIterator[Client]:
    async with serving(odd) as address:
        remote = Remote(URL(url or f"{address}/mcp"), {"X-Own": "y"}, limit_bytes=LIMIT)
        async with connect(remote) as http:
            channel = StreamableChannel(remote, http)
            try:
                yield Client(channel)
            finally:
                await channel.close()


Answering = Callable[[web.BaseRequest, Asked], Awaitable[web.StreamResponse]]


def in_sessions(answering: Answering, *ids: str) -> Odd:
    """A server whose sessions have these ids, the last of them for all further ones."""
    names = list(ids or ("s",))

    async def known(asked: web.BaseRequest, told: Asked) -> web.StreamResponse:
        if told.says == "initialize":
            name = names.pop(0) if len(names) > 1 else names[0]
            return as_json(opened(told.message["id"]), headers={SESSION: name})
        if told.says == INITIALIZED["method"]:
            return web.Response(status=202)
        if told.method == "DELETE":
            return web.Response(status=204)
        if told.method == "GET" and "last-event-id" not in told.headers:
            return web.Response(status=405)
        return await answering(asked, told)

    return Odd(known)


async def echo(_: web.BaseRequest, asked: Asked) -> web.StreamResponse:
    return as_json(text_result(asked.message["id"], "fine"))


def lost(told: Json) -> Json:
    """Return the id of a request whose answer is lost."""
    return at(told, "lost")


def said(odd: Odd) -> list[Json]:
    return [asked.says or asked.method for asked in odd.asked]
