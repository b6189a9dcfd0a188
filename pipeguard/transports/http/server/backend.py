"""The backend of endpoints: the guarded server, and what a listener's transports share.

A transport of MCP over a network is a `Binding`: how it opens channels to servers, and answers
clients.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple

import aiohttp
from aiohttp import web

from pipeguard.transports.bounded import Backlog
from pipeguard.transports.channel import AsyncChannel, RemoteChannel
from pipeguard.transports.http.client.upstream import Remote
from pipeguard.transports.http.server.conversations import Conversations
from pipeguard.transports.http.server.sessions import Sessions
from pipeguard.transports.judging import Judge

Dial = Callable[[str], Awaitable[AsyncChannel]]  # given the name of the client's token
MCP = "/mcp"
Answer = Callable[[web.BaseRequest, bytes], Awaitable[web.StreamResponse]]


class Route(NamedTuple):
    """The handler of one method at one path.

    Attributes:
        method: of HTTP.
        path: without a slash at its end.
        answer: takes the request, and its body or nothing.
        has_body: True if a JSON message is expected as the body.
        upgrades: True if the connection is to become a WebSocket.
        is_for: tells by the name of a token if its client may know of the route.
    """

    method: str
    path: str
    answer: Answer
    has_body: bool = False
    upgrades: bool = False
    is_for: Callable[[str], bool] = lambda _who: True


def without_body(
    answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
) -> Answer:
    """An answer to a request whose body is not read."""

    async def answer_head(request: web.BaseRequest, _: bytes) -> web.StreamResponse:
        return await answer(request)

    return answer_head


class RouteTable:
    """The routes of a listener, by path. They may change while it listens.

    Args:
        routes: those that it begins with.
    """

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self._routes: dict[str, list[Route]] = {}
        self.add(routes)

    def __contains__(self, path: str) -> bool:
        return path in self._routes

    def add(self, routes: Iterable[Route], prefix: str = "") -> None:
        """Add routes, their paths below a prefix such as `/servers/weather`."""
        for route in routes:
            path = prefix + route.path
            self._routes.setdefault(path, []).append(route._replace(path=path))

    def remove(self, prefix: str) -> None:
        """Remove all routes below a prefix."""
        for path in [path for path in self._routes if path.startswith(f"{prefix}/")]:
            del self._routes[path]

    def at(self, path: str) -> Sequence[Route]:
        """The routes of a path."""
        return self._routes.get(path, ())


async def _close_nothing() -> None:
    return


class Endpoint(NamedTuple):
    """The endpoint of one transport.

    Attributes:
        routes: where they come to.
        close: ends what is in progress.
        is_ready: True while a new conversation could begin.
    """

    routes: tuple[Route, ...]
    close: Callable[[], Awaitable[None]] = _close_nothing
    is_ready: Callable[[], bool] = lambda: True


class Service(NamedTuple):
    """The services that every endpoint of a listener uses.

    Attributes:
        sessions: of the guarded server.
        judge: judges each message, and records the verdict.
        backlog: counts the bytes that peers make us keep.
    """

    sessions: Sessions
    judge: Judge
    backlog: Backlog


class Upstream(NamedTuple):
    """A guarded server at an address.

    Attributes:
        remote: the server.
        http: connections to it.
        transport: the name of the transport that it speaks.
    """

    remote: Remote
    http: aiohttp.ClientSession
    transport: str


class Backend(NamedTuple):
    """The guarded server behind a listener.

    Attributes:
        service: what every endpoint uses.
        dial: opens a channel to the server for the name of a token; raises ChannelClosed where
            that fails.
        conversations: over one connection each.
        most: sessions at once.
        idle_seconds: after which a session is ended.
        waits: False if all sessions share one process of the server, which then waits for nobody.
        upstream: where the server is; None where it is started here.
    """

    service: Service
    dial: Dial
    conversations: Conversations
    most: int
    idle_seconds: float
    waits: bool = True
    upstream: Upstream | None = None


class TransportBinding(NamedTuple):
    """One transport over HTTP; each module of `transports.http.bindings` has its own.

    Attributes:
        help: one line for people.
        schemes: of the addresses of servers that speak it.
        open_channel: opens a channel to a server; nothing is sent before its first frame.
        make_endpoint: makes what answers clients that speak it; None where there are none.
    """

    help: str
    schemes: tuple[str, ...]
    open_channel: Callable[[Remote, aiohttp.ClientSession], RemoteChannel]
    make_endpoint: Callable[[Backend], Endpoint] | None = None
