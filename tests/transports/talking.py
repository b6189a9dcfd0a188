"""Helpers of the transports' tests: messages, events, a guard, an odd server.

It knows MCP's envelope and PipeGuard's guard, and sockets only through tests.transports.wire.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import NamedTuple

import aiohttp
from aiohttp import web

from pipeguard import Guard, Policy, Verdict, make_guard
from pipeguard.errors import LoginNeededError
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.transports.bounded import Backlog
from pipeguard.transports.channel import ChannelClosed
from pipeguard.transports.http import request_headers
from pipeguard.transports.http.server.admission import WHO, RefusalReason, RequestRefused
from pipeguard.transports.http.server.backend import Backend, Dial, Endpoint
from pipeguard.transports.http.server.sessions import Sessions
from pipeguard.transports.judging import Judge
from pipeguard.transports.sse import EventStream
from tests.fuzz.rulebook import engines
from tests.transports.wire import serving

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Object = dict[str, Json]

GONE = -37104
UNSCANNABLE, BROKE = -37103, -37107
BOTH = "application/json, text/event-stream"
SESSION = "Mcp-Session-Id"
VERSION = "MCP-Protocol-Version"
SECRET = "AKIA" + "Z7QX4M2N5P6R3STV"
STATELESS: Object = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
INITIALIZED: Object = {"jsonrpc": "2.0", "method": "notifications/initialized"}


def request(id_: Json, method: str = "x/y", **params: Json) -> Object:
    return {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}


def call(id_: Json, text: str = "hello", **more: Json) -> Object:
    return request(id_, "tools/call", name="echo", arguments={"text": text}, **more)


def notification(method: str, **params: Json) -> Object:
    return {"jsonrpc": "2.0", "method": method, "params": params}


def result(id_: Json, **members: Json) -> Object:
    return {"jsonrpc": "2.0", "id": id_, "result": members}


def text_result(id_: Json, text: str) -> Object:
    return result(id_, content=[{"type": "text", "text": text}])


def initialize(id_: Json = 0, version: str = "2025-06-18", **capabilities: Json) -> Object:
    info: Object = {"name": "tests", "version": "1"}
    return request(
        id_, "initialize", protocolVersion=version, capabilities=capabilities, clientInfo=info
    )


def opened(id_: Json = 0, version: str = "2025-06-18", **capabilities: Json) -> Object:
    info: Object = {"name": "odd", "version": "1"}
    return result(id_, protocolVersion=version, capabilities=capabilities, serverInfo=info)


def event(message: Json, id_: str | None = None) -> bytes:
    first = b"" if id_ is None else f"id: {id_}\n".encode()
    return first + b"data: " + json.dumps(message).encode() + b"\n\n"


def events(body: bytes) -> list[Json]:
    """The messages of a stream."""
    return [json.loads(e.data) for e in EventStream().feed(body) if e.data]


@cache
def guard() -> Guard:
    """One guard for all tests, which pins nothing except in a test itself."""
    return make_guard("demo", engines(), Policy(), {})


def make_sessions(most: int = 100, idle_seconds: float = 1000.0) -> Sessions:
    return Sessions(guard(), "RUN", most, idle_seconds)


def backend(
    known: Sessions,
    dial: Dial,
    record: Callable[[Verdict], None],
    *,
    most: int = 10,
    idle_seconds: float = 1000.0,
    limit_bytes: int = 10_000,
    waits: bool = True,
) -> Backend:
    """The server behind a listener, as endpoints see it."""
    return Backend(
        known, Judge(record), Backlog(), dial, limit_bytes, most, idle_seconds, waits=waits
    )


class Asked(NamedTuple):
    """A request that an odd server got."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> Object:
        value: Object = json.loads(self.body)
        return value

    @property
    def says(self) -> Json:
        """The method of its message."""
        return self.message.get("method") if self.body else None


Answering = Callable[[web.BaseRequest, Asked], Awaitable[web.StreamResponse]]


class Odd:
    """A server that answers as a test says, and records its input."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self.asked: list[Asked] = []

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = Asked(request.method, request.path_qs, headers, await request.read())
        self.asked.append(asked)
        return await self._answering(request, asked)


def as_json(
    message: Json | bytes, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)


async def as_events(
    request: web.BaseRequest, *pieces: bytes, headers: dict[str, str] | None = None
) -> web.StreamResponse:
    """Open a stream that begins with these; the caller continues or ends it."""
    told = {"Content-Type": "text/event-stream", **(headers or {})}
    response = web.StreamResponse(headers=told)
    await response.prepare(request)
    for piece in pieces:
        await response.write(piece)
    return response


async def posted(
    http: aiohttp.ClientSession, url: str, message: Json | bytes, **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    """POST a message; return its status, body and headers.

    One of 2026-07-28 gets its standard headers, except for the given ones.
    """
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    told = {"Content-Type": "application/json", "Accept": BOTH, **named}
    value = parse_json(body) if isinstance(message, dict) else None
    if isinstance(value, dict) and request_headers.find_revision(value) is not None:
        told = request_headers.make_headers(value, {}) | told
    async with http.post(url, data=body, headers=told) as answer:
        found = {name.lower(): value for name, value in answer.headers.items()}
        return answer.status, await answer.read(), found


def at(message: Json, *path: str | int) -> Json:
    """A value within a message."""
    for step in path:
        message = message[step]  # type: ignore[index]
    return message


def code(message: Json) -> Json:
    return at(message, "error", "code")


class Poster:
    """A client of an endpoint of Streamable HTTP.

    Attributes:
        url: the endpoint's URL.
        http: the client's connections.
        known: the sessions behind it.
        records: the recorded verdicts.
        refused: why requests were refused.
    """

    def __init__(self, http: aiohttp.ClientSession, known: Sessions) -> None:
        self.url = ""
        self.http = http
        self.known = known
        self.records = Records()
        self.refused: list[RefusalReason | None] = []

    async def post(self, message: Json | bytes, **headers: str) -> tuple[int, Json, dict[str, str]]:
        """POST; return the answer's status, messages and headers."""
        status, body, found = await posted(self.http, self.url, message, **headers)
        if found.get("content-type") == "text/event-stream":
            return status, events(body), found
        is_json = found.get("content-type") == "application/json"
        return status, json.loads(body) if body and is_json else None, found

    async def ask(self, message: Json, **headers: str) -> Json:
        return (await self.post(message, **headers))[1]

    @asynccontextmanager
    async def served(self, endpoint: Endpoint) -> AsyncIterator[None]:
        """Answer by an endpoint, as a listener does."""

        async def handle(asked: web.BaseRequest) -> web.StreamResponse:
            try:
                return await answer_by(asked, endpoint)
            except RequestRefused as refusal:
                self.refused.append(refusal.reason)
                return refusal.response

        async with serving(handle) as url:
            self.url = f"{url}/mcp"
            try:
                yield
            finally:
                await endpoint.close()


async def answer_by(asked: web.BaseRequest, *endpoints: Endpoint) -> web.StreamResponse:
    """Answer a request by the route of its method and path."""
    asked[WHO] = asked.headers.get("Who", "")
    routes = [route for endpoint in endpoints for route in endpoint.routes]
    key = asked.method, asked.path
    answer = next(route.answer for route in routes if (route.method, route.path) == key)
    return await answer(asked, await asked.read())


class Records(list[Verdict]):
    """The recorded verdicts."""

    def __call__(self, verdict: Verdict) -> None:
        self.append(verdict)

    @property
    def rules(self) -> list[str]:
        return [finding.rule for verdict in self for finding in verdict.findings]


class Login:
    """A login that is renewed when it is challenged.

    Attributes:
        new: the new token; None if a person must log in.
        challenges: status and challenges of refused requests.
    """

    def __init__(self, new: str | None) -> None:
        self.new = new
        self._now: str | None = None
        self.challenges: list[tuple[int, str]] = []

    async def header(self) -> str | None:
        return self._now

    async def answer_challenge(
        self, status: int, www_authenticate: str, sent: str | None = None
    ) -> bool:
        self.challenges.append((status, www_authenticate))
        if self.new is None:
            raise LoginNeededError("demo asks for a login.\n  Log in:  pipeguard auth login demo")
        self._now = self.new
        return sent != self.new  # it may have been sent before another one's was renewed


class QueuedChannel:
    """A channel of a loop, which keeps what is written, and from which a test's frames are read."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.wait_taken: list[bytes] = []
        self.is_closed = False

    async def read(self) -> bytes | None:
        return await self.frames.get()

    async def write(self, frame: bytes) -> None:
        if self.is_closed:
            raise ChannelClosed("closed")
        self.wait_taken.append(frame)

    async def close(self) -> None:
        self.is_closed = True
        self.frames.put_nowait(None)

    def say(self, message: Json | bytes) -> None:
        frame = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.frames.put_nowait(frame)
