"""Helpers of the relay's tests: odd servers behind it, and a client of it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from yarl import URL

from pipeguard.transports.channel import AsyncChannel
from pipeguard.transports.http.client.upstream import Authorization, Remote, connect
from pipeguard.transports.http.server.backend import Upstream
from pipeguard.transports.http.server.relay import Relay
from tests.transports.talking import (
    Asked,
    Json,
    Odd,
    Poster,
    Records,
    as_json,
    backend,
    make_sessions,
    text_result,
)
from tests.transports.wire import run, serving

R5 = "2026-07-28"


async def _dial_nobody(_who: str, _session: str) -> AsyncChannel:
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
) -> AsyncIterator[Poster]:
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
            found = Poster(http, known)
            behind = backend(known, _dial_nobody, record or found.records)
            relay = Relay(behind, Upstream(remote, up, "streamable-http"))

            async with found.served(relay):
                yield found


def through(
    answering: Callable[[web.BaseRequest, Asked], Awaitable[web.StreamResponse]],
    message: Json | bytes,
    *,
    limit_bytes: int = 10_000,
    passes_credentials: bool = True,
    headers: Mapping[str, str] | None = None,
    **more: str,
) -> tuple[int, Json, dict[str, str], Odd, Records]:
    """Send one message through the relay; return also what the odd server got."""
    odd = Odd(answering)

    async def work() -> tuple[int, Json, dict[str, str], Odd, Records]:
        async with between(
            odd, limit_bytes=limit_bytes, passes_credentials=passes_credentials
        ) as client:
            answer = await client.post(message, **(headers or {}), **more)
            return *answer, odd, client.records

    return run(work)


async def echo(_: web.BaseRequest, asked: Asked) -> web.StreamResponse:
    return as_json(text_result(asked.message["id"], "fine"))
