"""Helpers of the tests of Streamable HTTP over channels: servers, an endpoint, a client."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest

from pipeguard.transports.channel import ChannelClosed
from pipeguard.transports.http.server import exchange_router as router_module
from pipeguard.transports.http.server import streamable as posted_module
from pipeguard.transports.http.server.streamable import StreamableEndpoint
from tests.transports.talking import (
    INITIALIZED,
    SESSION,
    Json,
    Object,
    Poster,
    QueuedChannel,
    backend,
    events,
    initialize,
    make_sessions,
    notification,
    opened,
    text_result,
)
from tests.transports.wire import PATIENCE_SECONDS

IDLE_SECONDS = 60.0
R5 = "2026-07-28"
R5_HEADERS = {"MCP_Protocol_Version": R5}
Answering = Callable[["Child", Object], None]


class Child(QueuedChannel):
    """A server as its channel sees it: its input, and the output that a test wants."""

    def __init__(self, answering: Answering | None) -> None:
        super().__init__()
        self._answering = answering
        self.heard: list[Json] = []
        self.is_deaf = False

    async def write(self, frame: bytes) -> None:
        await asyncio.sleep(0)
        if self.is_closed or self.is_deaf:
            raise ChannelClosed("gone")
        message = json.loads(frame)
        self.heard.append(message)
        for member in message if isinstance(message, list) else [message]:
            if member.get("method") == "initialize":
                version = member["params"]["protocolVersion"]
                self.say(opened(member["id"], version, tools={"listChanged": True}))
            elif self._answering:
                self._answering(self, member)

    def die(self) -> None:
        self.frames.put_nowait(None)

    def asked(self, method: str) -> list[Object]:
        return [one for one in self.heard if isinstance(one, dict) and one.get("method") == method]


class Clock:
    """The clock of the sessions, which advances only when a test lets it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        for module in (posted_module, router_module):
            monkeypatch.setattr(module, "monotonic", lambda: self.now)
        monkeypatch.setattr(posted_module, "SWEEP_SECONDS", 0.01)

    def pass_until(self, holds: Callable[[], object]) -> Callable[[], object]:
        """Ask it each time after longer than a session may be idle."""

        def ask() -> object:
            self.now += 2 * IDLE_SECONDS
            return holds()

        return ask


def echo(child: Child, message: Object) -> None:
    if "id" in message and "method" in message:
        child.say(text_result(message["id"], "fine"))


class Host(Poster):
    """An endpoint over children, and a client of it."""

    posted: StreamableEndpoint

    def __init__(self, http: aiohttp.ClientSession) -> None:
        super().__init__(http, make_sessions())
        self.children: list[Child] = []

    async def open(self, version: str = "2025-06-18", **capabilities: Json) -> dict[str, str]:
        """Open a session; return the header that names it."""
        status, told, headers = await self.post(initialize(0, version, **capabilities))
        assert (status, told) == (200, opened(0, version, tools={"listChanged": True}))
        named = {"Mcp_Session_Id": headers[SESSION.lower()]}
        assert (await self.post(INITIALIZED, **named))[0] == 202
        return named


@asynccontextmanager
async def hosting(
    answering: Answering | None = echo,
    *,
    most: int = 10,
    dial: Callable[[], Child] | None = None,
    gate: asyncio.Event | None = None,
    record: Callable[[object], None] | None = None,
    waits: bool = True,
) -> AsyncIterator[Host]:
    async with aiohttp.ClientSession() as http:
        host = Host(http)

        async def dialled(_who: str, _session: str) -> Child:
            child = Child(answering) if dial is None else dial()
            host.children.append(child)
            if gate is not None:
                await gate.wait()
            return child

        host.posted = StreamableEndpoint(
            backend(
                host.known,
                dialled,
                record or host.records,
                most=most,
                idle_seconds=IDLE_SECONDS,
                waits=waits,
            )
        )

        async with host.served(host.posted):
            yield host


def dashed(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def quiet(child: Child, message: Object) -> None:
    """A server that answers all but one method."""
    if message.get("method") != "never":
        echo(child, message)


def batching(child: Child, message: Object) -> None:
    """Answers the first two calls as one batch."""
    asked = child.asked("tools/call")
    if message.get("method") == "tools/call" and len(asked) % 2 == 0:
        child.say([text_result(one["id"], "fine") for one in asked[-2:]])


def in_one(told: Json) -> list[Object]:
    assert isinstance(told, list)
    flat: list[Object] = []
    for one in told:
        flat += [m for m in (one if isinstance(one, list) else [one]) if isinstance(m, dict)]
    return flat


NOTE = notification("notifications/message", level="info", data="x")


async def next_event(stream: aiohttp.ClientResponse) -> Json:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (found := events(await stream.content.readuntil(b"\n\n"))):
            pass
    return found[0]
