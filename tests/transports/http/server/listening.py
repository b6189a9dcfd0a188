"""Helpers of a listener's tests."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from pipeguard.firewall.finding import Finding
from pipeguard.transports.bounded import Backlog
from pipeguard.transports.http.server.admission import Admission, Refusals
from pipeguard.transports.http.server.backend import Route, RouteTable
from pipeguard.transports.http.server.callers import Tokens
from pipeguard.transports.http.server.listener import Listener, Readiness, listen
from pipeguard.transports.http.server.sessions import SessionOwners
from tests.transports.wire import Answer, exchange

LIMIT = 1000
JSON = "Content-Type: application/json\r\n"
CHUNKED = (
    f"POST /mcp HTTP/1.1\r\nHost: localhost\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n"
).encode()


class Answers:
    """The handler behind a front: it repeats what it was asked."""

    def __init__(self) -> None:
        self.under_way = 0
        self.fault: Exception | None = None
        self.release = asyncio.Event()

    @property
    def routes(self) -> list[Route]:
        return [
            Route("POST", "/mcp", self.post, has_body=True),
            Route("GET", "/mcp", self.get),
            Route("DELETE", "/mcp", self.delete),
            Route("GET", "/sse", self.events),
            Route("POST", "/messages", self.message, has_body=True),
            Route("GET", "/mcp", self.socket, upgrades=True),
            Route("GET", "/ws", self.socket, upgrades=True),
        ]

    async def _says(self, what: str) -> web.StreamResponse:
        if self.fault is not None:
            raise self.fault
        return web.Response(text=what)

    async def post(self, _: web.BaseRequest, body: bytes) -> web.StreamResponse:
        if body == b'"wait"':
            self.under_way += 1
            await self.release.wait()
        return await self._says(f"post {len(body)}")

    async def get(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        if request.query_string == "stream":
            await web.StreamResponse().prepare(request)
        return await self._says("get")

    async def close(self) -> None:
        return

    async def delete(self, request: web.BaseRequest, _: bytes) -> web.StreamResponse:
        return await self._says("delete")

    async def events(self, request: web.BaseRequest, _: bytes) -> web.StreamResponse:
        return await self._says("events")

    async def message(self, _: web.BaseRequest, body: bytes) -> web.StreamResponse:
        return await self._says(f"message {len(body)}")

    async def socket(self, request: web.BaseRequest, _: bytes) -> web.StreamResponse:
        return await self._says("socket")


class At:
    """A front that listens."""

    def __init__(
        self, front: Listener, port: int, answers: Answers, told: list[tuple[Finding, str]]
    ) -> None:
        self.front = front
        self.told = told
        self.port = port
        self.answers = answers
        self.is_ready = True

    async def ask(self, method: str, path: str, head: str = "", body: bytes = b"") -> Answer:
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        lines = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{head}{length}\r\n"
        return await exchange(self.port, lines.encode() + body)


@asynccontextmanager
async def fronted(
    tokens: Tokens | None = None, context: ssl.SSLContext | None = None
) -> AsyncIterator[At]:
    owners = SessionOwners()
    owners.own("one", "ann")
    admission = Admission(
        "127.0.0.1", frozenset(), frozenset(), tokens, LIMIT, Backlog(), owners=owners
    )
    answers = Answers()
    listening = listen("127.0.0.1", 0)
    told: list[tuple[Finding, str]] = []
    refusals = Refusals(lambda finding, peer: told.append((finding, peer)))
    routes = RouteTable()
    routes.add(answers.routes)
    front = Listener(admission, routes, lambda: Readiness(at.is_ready), refusals)
    at = At(front, listening.getsockname()[1], answers, told)
    await front.open(listening, context)
    try:
        yield at
    finally:
        answers.release.set()
        await front.close()
        refusals.close()


UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
