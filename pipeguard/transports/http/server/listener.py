"""The address that clients come to: admits each request, and routes it to its endpoint.

Knows paths and methods, and no frames.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_exceptions import HttpProcessingError

from pipeguard.errors import PipeGuardError
from pipeguard.transports.http.server.admission import (
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    WHO,
    Admission,
    RefusalReason,
    Refusals,
    RequestRefused,
)
from pipeguard.transports.http.server.backend import MCP, Route, RouteTable
from pipeguard.transports.http.server.callers import Tokens
from pipeguard.transports.http.server.connections import Connection, Connections
from pipeguard.transports.http.server.login_metadata import ResourceMetadata
from pipeguard.transports.judging import drain
from pipeguard.transports.tasks import Tasks

HEALTHY, READY = "/healthz", "/readyz"
KEEPALIVE_SECONDS = 30.0
LINGER_SECONDS = 1.0  # for the rest of a body that was refused
CLOSE_SECONDS = 5.0
RECHECK_SECONDS = 1.0  # within which a removed token ends the streams that it opened
ACCEPT_AGAIN_SECONDS = 0.1
_BACKLOG = 1024
_UNSUPPORTED_VERSION = b"HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Length: 0\r\n\r\n"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class OtherEndpoint(Protocol):
    """Answers requests that are not of MCP."""

    def answers(self, path: str) -> bool:
        """True for a path of its own."""

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to a request."""


class Readiness(NamedTuple):
    """True if a new conversation could begin.

    Attributes:
        is_ready: True if it could.
        detail: for people who look after it, without names; may be empty.
    """

    is_ready: bool
    detail: str = ""


class Listener:
    """Admits requests, and routes them.

    Args:
        admission: the conditions for requests.
        routes: of all endpoints.
        readiness: whether a new conversation could begin.
        refusals: counts the refused requests.
        login: answers a client's login; None if clients do not log in.

    Attributes:
        page: answers browsers, and admits them itself; None without a page.
        metadata: says to everyone where clients sign in.
    """

    def __init__(
        self,
        admission: Admission,
        routes: RouteTable,
        readiness: Callable[[], Readiness],
        refusals: Refusals,
        login: OtherEndpoint | None = None,
    ) -> None:
        self._admission = admission
        self._routes = routes
        self._readiness = readiness
        self._refusals = refusals
        self._login = login
        self.page: OtherEndpoint | None = None
        sign_ins = admission.tokens.sign_ins if admission.tokens is not None else None
        self.metadata = ResourceMetadata(sign_ins) if sign_ins is not None else None
        self._connections = Connections(refusals, admission.backlog)
        self._rechecking: asyncio.Task[None] | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._handshakes = Tasks()
        self._runner: web.ServerRunner | None = None
        self._is_leaving = self._is_closing = False
        self._answers = set[AbstractStreamWriter]()  # to messages, in progress

    async def open(self, listening: socket.socket, context: ssl.SSLContext | None) -> None:
        """Begin to accept connections.

        Raises:
            OSError: the address cannot be used.
        """
        loop = asyncio.get_running_loop()
        server = _Server(
            self._handle,
            request_factory=lambda head, body, protocol, writer, task: _Request(
                head, body, protocol, writer, task, loop
            ),
            handler_cancellation=True,
            access_log=None,
            logger=_quiet_logger(partial(self._refusals.add, RefusalReason.HTTP, "")),
            keepalive_timeout=KEEPALIVE_SECONDS,
            lingering_time=LINGER_SECONDS,
            auto_decompress=False,
            # Above our own limits, so that admission refuses with the right status.
            max_line_size=2 * MAX_HEADER_BYTES,
            max_field_size=2 * MAX_HEADER_BYTES,
            max_headers=4 * MAX_HEADERS,
        )
        server.watched = self._connections
        self._runner = web.ServerRunner(server, shutdown_timeout=CLOSE_SECONDS)
        await self._runner.setup()
        if context is None:
            await web.SockSite(self._runner, listening, backlog=_BACKLOG).start()
        else:
            self._accepting = asyncio.create_task(self._accept(listening, server, context))
        if self._admission.tokens is not None:
            self._rechecking = asyncio.create_task(self._recheck(self._admission.tokens))

    def refuse(self) -> None:
        """Refuse new requests; open ones continue."""
        self._is_leaving = self._is_closing = True

    async def drain(self, seconds: float = 0.0) -> None:
        """Refuse new requests, and wait for a moment until the open ones are answered.

        Args:
            seconds: for which they are accepted before that, while we say that we are not ready.
        """
        self._is_leaving = True
        await asyncio.sleep(seconds)
        self.refuse()
        await drain(lambda: any(answer.output_size == 0 for answer in self._answers))

    async def close(self) -> None:
        """Stop accepting connections, and close the open ones."""
        self.refuse()
        if self._rechecking is not None:
            self._rechecking.cancel()
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait([self._accepting])
            await self._handshakes.end()
        if self._runner is not None:
            await self._runner.cleanup()

    # --- connections --------------------------------------------------------------------

    async def _accept(
        self, listening: socket.socket, server: "_Server", context: ssl.SSLContext
    ) -> None:
        """Accept connections for TLS, each counted before its handshake."""
        listening.settimeout(0)
        loop = asyncio.get_running_loop()
        with listening:
            while True:
                try:
                    peer, _ = await loop.sock_accept(listening)
                except OSError:  # the peer has left, or no descriptor is free
                    await asyncio.sleep(ACCEPT_AGAIN_SECONDS)
                    continue
                self._handshakes.begin(self._connections.secure(peer, server, context))
                await asyncio.sleep(0)  # many peers may be waiting: others have their turn

    async def _recheck(self, tokens: Tokens) -> None:
        """Close the connections of removed tokens, with their streams and sockets."""
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            self._connections.recheck(tokens.check_later())

    # --- requests -----------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = self._connections.of(request)
        if connection is not None:
            connection.begin_request()
        if request.version > HttpVersion11 and request.transport is not None:
            request.transport.write(_UNSUPPORTED_VERSION)  # the library would speak that version
            request.transport.close()
        try:
            response = await self._answer(request, connection)
        except RequestRefused as refusal:
            if refusal.reason is not None:
                self._refusals.add(refusal.reason, self._route_name(request), request.remote or "")
            return refusal.response
        except PipeGuardError:  # a verdict cannot be recorded, so nothing may pass
            if request.writer.output_size:
                raise ConnectionAbortedError from None  # a stream has begun: end it
            return web.Response(status=500, text="PipeGuard: the request cannot be recorded\n")
        else:
            if self._is_leaving:
                response.force_close()  # a balancer would use the connection for further requests
            return response
        finally:
            self._answers.discard(request.writer)
            if connection is not None:
                self._connections.end_request(connection)

    async def _answer(
        self, request: web.BaseRequest, connection: Connection | None
    ) -> web.StreamResponse:
        if not request.raw_path.startswith("/"):
            raise RequestRefused(RefusalReason.NOWHERE, 400, "give a path, not a URL")
        path = request.path.rstrip("/") or "/"
        if path in (HEALTHY, READY):
            return self._state(request, path)
        own = (self.page, self.metadata)
        page = next((each for each in own if each is not None and each.answers(path)), None)
        if page is not None:
            self._admission.check_head(request)
        else:
            caller = await self._admission.check(request)
            if connection is not None:
                self._connections.admit(connection, caller)
        if self._is_closing:
            raise RequestRefused(RefusalReason.ENDING, 503, "this server is ending")
        if page is not None:
            return await page.answer(request)
        if self._login is not None and self._login.answers(path):
            return await self._login.answer(request)
        route = self._find_route(request, path)
        if route.upgrades and connection is not None:
            connection.upgrade()
        if route.has_body:
            self._answers.add(request.writer)
            return await route.answer(request, await self._admission.read_body(request))
        return await route.answer(request, b"")

    def _find_route(self, request: web.BaseRequest, path: str) -> Route:
        """The handler of a request.

        Raises:
            RequestRefused: the path, method or upgrade does not exist.
        """
        who = request.get(WHO, "")
        upgrade = request.headers.get("Upgrade", "").lower()
        if upgrade not in ("", "websocket"):
            raise RequestRefused(RefusalReason.NOWHERE, 400, "there is no such upgrade")
        for upgrades in (True, False) if upgrade else (False,):
            for route in self._routes.at(path):
                is_meant = route.method == request.method and route.upgrades == upgrades
                if is_meant and route.is_for(who):
                    return route
        routes = [route for route in self._routes.at(path) if route.is_for(who)]
        methods = ", ".join(route.method for route in routes if not route.upgrades)
        if not methods:  # the client is not told which
            is_hidden = not routes and self._routes.at(path)
            reason = RefusalReason.SCOPE if is_hidden else RefusalReason.NOWHERE
            raise RequestRefused(reason, 404, f"there is nothing here; see {MCP}")
        raise RequestRefused(RefusalReason.NOWHERE, 405, f"use {methods}", {"Allow": methods})

    def _state(self, request: web.BaseRequest, path: str) -> web.Response:
        self._admission.check_head(request)  # otherwise any web page could ask, by DNS rebinding
        if request.method not in ("GET", "HEAD"):
            raise RequestRefused(RefusalReason.NOWHERE, 405, "use GET", {"Allow": "GET, HEAD"})
        state = Readiness(is_ready=True) if path == HEALTHY else self._readiness()
        is_well = path == HEALTHY or (state.is_ready and not self._is_leaving)
        words = "ok" if is_well else "not ready"
        text = f"{words}\n{state.detail}\n" if state.detail else f"{words}\n"
        return web.Response(status=200 if is_well else 503, text=text)

    def _route_name(self, request: web.BaseRequest) -> str:
        """Method and path of a request, without a word that the client chose."""
        path = request.path.rstrip("/")
        method = request.method if request.method in _METHODS else "another method"
        is_known = self._routes.at(path) or path in (HEALTHY, READY)
        return f"{method} {path if is_known else 'another path'}"


class _Request(web.Request):
    """A request whose answer does not name the library and its version."""

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        response.headers.popall("Server", None)


class _Server(web.Server):
    """Puts a watched connection in front of each of the library's handlers."""

    watched: Connections

    def __call__(self) -> asyncio.Protocol:  # type: ignore[override]
        return Connection(super().__call__(), self.watched)


def _quiet_logger(count_malformed: Callable[[str], object]) -> logging.Logger:
    """A logger for the library that drops clients' errors, and shortens our own.

    Args:
        count_malformed: called with the address of a client whose request cannot be read.
    """

    def keep(record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError) and isinstance(record.args, tuple):
            count_malformed(str(next(iter(record.args), "")))
        if error is None or isinstance(error, HttpProcessingError | ConnectionError):
            return False
        record.msg, record.args = "pipeguard: a request failed: %s", (type(error).__name__,)
        record.exc_info = record.exc_text = None
        return True

    logger = logging.getLogger("pipeguard.listener")
    logger.setLevel(logging.DEBUG)  # the level at which the library logs bytes that are not HTTP
    logger.filters[:] = [keep]
    return logger


def listen(host: str, port: int) -> socket.socket:
    """A socket that waits for clients.

    Raises:
        OSError: the address does not exist, or is in use.
    """
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
