"""Paths and methods of a listener, and what answers them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple

from aiohttp import web

MCP = "/mcp"
Answer = Callable[[web.BaseRequest, bytes], Awaitable[web.StreamResponse]]


class Route(NamedTuple):
    """What answers one method at one path.

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
    """What answers the clients of one transport.

    Attributes:
        routes: where they come to.
        close: ends what is in progress.
        is_ready: True while a new conversation could begin.
    """

    routes: tuple[Route, ...]
    close: Callable[[], Awaitable[None]] = _close_nothing
    is_ready: Callable[[], bool] = lambda: True
