"""What the tests of the relay share: odd servers behind it, and a client of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from yarl import URL

from pipeguard.transports.channel import AsyncChannel
from pipeguard.transports.http.client.upstream import Authorization, Remote, connect
from pipeguard.transports.http.server.admission import WHO, RequestRefused
from pipeguard.transports.http.server.backend import Upstream
from pipeguard.transports.http.server.refusals import RefusalReason
from pipeguard.transports.http.server.relay import Relay
from pipeguard.transports.http.server.sessions import Sessions
from tests.transports.talking import (
    Asked,
    Json,
    Odd,
    Records,
    as_json,
    backend,
    events,
    make_sessions,
    posted,
    text_result,
)
from tests.transports.wire import run, serving

R5 = "2026-07-28"


class Between:
    """A relay between a client and an odd server.

    Attributes:
        url: of the relay.
        http: the client's connections.
        refused: what the audit is told of.
    """

    def __init__(self, url: str, http: aiohttp.ClientSession, known: Sessions) -> None:
        self.url = url
        self.http = http
        self.known = known
        self.records = Records()
        self.refused: list[RefusalReason | None] = []

    async def post(self, message: Json | bytes, **headers: str) -> tuple[int, Json, dict[str, str]]:
        """POST; the answer's status, messages and headers."""
        status, body, found = await posted(self.http, self.url, message, **headers)
        if found.get("content-type") == "text/event-stream":
            return status, events(body), found
        if body and found.get("content-type") == "application/json":
            return status, json.loads(body), found
        return status, None, found


async def _dial_nobody(_who: str) -> AsyncChannel:
    raise AssertionError("a relay opens no channel")


@asynccontextmanager
async def between(
    odd: Odd,
    *,
    headers: dict[str, str] | None = None,
    passes_credentials: bool = True,
    authorization: Authorization | None = None,
    limit_bytes: int = 10_000,
    record: Callable[[object], None] | None = None,
    upstream: str | None = None,
) -> AsyncIterator[Between]:
    async with serving(odd) as address:
        remote = Remote(
            URL(upstream or f"{address}/mcp"),
            headers or {},
            authorization,
            limit_bytes=limit_bytes,
            passes_credentials=passes_credentials,
        )
        known = make_sessions()
        async with connect(remote) as up, aiohttp.ClientSession() as http:
            found = Between("", http, known)
            behind = backend(known, _dial_nobody, record or found.records)
            relay = Relay(behind, Upstream(remote, up, "streamable-http"))

            async def handle(asked: web.BaseRequest) -> web.StreamResponse:
                asked[WHO] = asked.headers.get("Who", "")
                try:
                    if asked.method == "GET":
                        return await relay.get(asked)
                    if asked.method == "DELETE":
                        return await relay.delete(asked)
                    return await relay.post(asked, await asked.read())
                except RequestRefused as refused:  # as the front does
                    found.refused.append(refused.reason)
                    return refused.response

            async with serving(handle) as url:
                found.url = f"{url}/mcp"
                try:
                    yield found
                finally:
                    await relay.close()


def through(
    answering: Callable[[web.BaseRequest, Asked], Awaitable[web.StreamResponse]],
    message: Json | bytes,
    *,
    limit_bytes: int = 10_000,
    passes_credentials: bool = True,
    headers: Mapping[str, str] | None = None,
    **more: str,
) -> tuple[int, Json, dict[str, str], Odd, Records]:
    """One message through the relay, and what the odd server got of it."""
    odd = Odd(answering)

    async def work() -> tuple[int, Json, dict[str, str], Odd, Records]:
        async with between(
            odd, limit_bytes=limit_bytes, passes_credentials=passes_credentials
        ) as client:
            answer = await client.post(message, **(headers or {}), **more)
            return *answer, odd, client.records

    return run(work)


def code(message: Json) -> Json:
    assert isinstance(message, dict)
    error = message["error"]
    assert isinstance(error, dict)
    return error["code"]


async def echo(_: web.BaseRequest, asked: Asked) -> web.StreamResponse:
    return as_json(text_result(asked.message["id"], "fine"))
