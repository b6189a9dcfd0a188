"""The address that clients come to: Streamable HTTP, HTTP+SSE and WebSocket, side by side.

Lets requests in (transports.http.server.admission) and hands them to what answers them; knows paths
and methods, and no frames. Sources: MCP 2025-06-18 and 2026-07-28, basic/transports; for HTTP+SSE
2024-11-05, basic/transports.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

from aiohttp import HttpVersion11, StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from pipeguard.errors import PipeGuardError
from pipeguard.transports.http.server.admission import (
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    Entrance,
    Refused,
    Tokens,
)
from pipeguard.transports.http.server.connections import Connection, Connections
from pipeguard.transports.http.server.refusals import Ground, Refusals
from pipeguard.transports.tasks import Tasks

MCP, SSE, MESSAGES, WEBSOCKET = "/mcp", "/sse", "/messages", "/ws"
HEALTHY, READY = "/healthz", "/readyz"
KEEPALIVE_SECONDS = 30.0
LINGER_SECONDS = 1.0  # for the rest of a body that was refused
CLOSE_SECONDS = 5.0
RECHECK_SECONDS = 1.0  # within which a token that was taken away ends what it opened
ACCEPT_AGAIN_SECONDS = 0.1
_BACKLOG = 1024
_NO_SUCH_VERSION = b"HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Length: 0\r\n\r\n"
_ALLOWED = "POST, GET, DELETE"
_METHOD = {SSE: "GET", MESSAGES: "POST"}
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PATHS = frozenset({MCP, SSE, MESSAGES, WEBSOCKET, HEALTHY, READY})


class Endpoint(Protocol):
    """What answers at one path, for clients of Streamable HTTP."""

    async def post(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """A message, and all that answers it."""

    async def get(self, request: web.BaseRequest) -> web.StreamResponse:
        """The stream of what is said unasked."""

    async def delete(self, request: web.BaseRequest) -> web.StreamResponse:
        """The end of a session."""

    async def close(self) -> None:
        """End what is under way."""


class Streams(Protocol):
    """What answers clients that keep one connection open for a whole conversation."""

    async def events(self, request: web.BaseRequest) -> web.StreamResponse:
        """HTTP+SSE: the stream, for as long as it lasts."""

    async def message(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """HTTP+SSE: a message that belongs to a stream."""

    async def socket(self, request: web.BaseRequest) -> web.StreamResponse:
        """WebSocket: the connection, for as long as it lasts."""


class LoginEndpoints(Protocol):
    """What answers clients that log in to the server themselves."""

    def answers(self, path: str) -> bool:
        """True for a path of a login."""

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """What the server says there."""


class Front:
    """Routes requests, each of them let in first.

    Args:
        entrance: who may come in.
        endpoint: answers clients of Streamable HTTP.
        streams: answers the others.
        ready: True while a new conversation could begin.
        refusals: takes who is not let in.
        login: answers what is asked before a login; None where clients do not log in.
    """

    def __init__(
        self,
        entrance: Entrance,
        endpoint: Endpoint,
        streams: Streams,
        ready: Callable[[], bool],
        refusals: Refusals,
        login: LoginEndpoints | None = None,
    ) -> None:
        self._entrance = entrance
        self._endpoint = endpoint
        self._streams = streams
        self._ready = ready
        self._refusals = refusals
        self._login = login
        self._connections = Connections(refusals, entrance.backlog)
        self._rechecking: asyncio.Task[None] | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._securing = Tasks()
        self._runner: web.ServerRunner | None = None
        self._is_closing = False

    async def open(self, listening: socket.socket, context: ssl.SSLContext | None) -> None:
        """Begin to take connections.

        Raises:
            OSError: the address cannot be used.
        """
        server = _Server(
            self._handle,
            request_factory=_request,
            handler_cancellation=True,
            access_log=None,
            logger=_quiet(self._misread),
            keepalive_timeout=KEEPALIVE_SECONDS,
            lingering_time=LINGER_SECONDS,
            auto_decompress=False,
            # What is longer or more is refused by the entrance, with the right status.
            max_line_size=2 * MAX_HEADER_BYTES,
            max_field_size=2 * MAX_HEADER_BYTES,
            max_headers=4 * MAX_HEADERS,
        )
        server.watch = self._connections.watch
        self._runner = web.ServerRunner(server, shutdown_timeout=CLOSE_SECONDS)
        await self._runner.setup()
        if context is None:
            await web.SockSite(self._runner, listening, backlog=_BACKLOG).start()
        else:
            self._accepting = asyncio.create_task(self._accept(listening, server, context))
        if self._entrance.tokens is not None:
            self._rechecking = asyncio.create_task(self._recheck(self._entrance.tokens))

    def refuse(self) -> None:
        """Let nothing more in; what is under way goes on."""
        self._is_closing = True

    async def close(self) -> None:
        """Take no more, and end what is open."""
        self.refuse()
        if self._rechecking is not None:
            self._rechecking.cancel()
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait([self._accepting])
            await self._securing.end()
        if self._runner is not None:
            await self._runner.cleanup()

    # --- connections --------------------------------------------------------------------

    async def _accept(
        self, listening: socket.socket, server: _Server, context: ssl.SSLContext
    ) -> None:
        """Take connections for TLS, each of them counted before it has said a word."""
        listening.settimeout(0)
        loop = asyncio.get_running_loop()
        with listening:
            while True:
                try:
                    peer, _ = await loop.sock_accept(listening)
                except OSError:  # it left already, or no descriptor is free
                    await asyncio.sleep(ACCEPT_AGAIN_SECONDS)
                    continue
                self._securing.begin(self._connections.secure(peer, server, context))
                await asyncio.sleep(0)  # a peer that is there already would keep all others waiting

    async def _recheck(self, tokens: Tokens) -> None:
        """A token that is taken out of its file ends streams and sockets that it opened."""
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            if tokens.changed():
                self._connections.recheck(tokens.hold)

    def _misread(self, peer: str) -> None:
        self._refusals.add(Ground.HTTP, "", peer)

    # --- requests -----------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = self._connections.of(request)
        if connection is not None:
            connection.speaks()
        if request.version > HttpVersion11 and request.transport is not None:
            request.transport.write(_NO_SUCH_VERSION)  # the library would answer in kind
            request.transport.close()
        try:
            return await self._routed(request, connection)
        except Refused as refused:
            if refused.ground is not None:
                self._refusals.add(refused.ground, _route(request), request.remote or "")
            return refused.response
        except PipeGuardError:  # nothing can be written down, so nothing passes
            if request.writer.output_size:
                raise ConnectionAbortedError from None  # a stream has begun: end it
            return web.Response(status=500, text="PipeGuard: it cannot go on\n")
        finally:
            if connection is not None:
                connection.is_answered()

    async def _routed(
        self, request: web.BaseRequest, connection: Connection | None
    ) -> web.StreamResponse:
        if not request.raw_path.startswith("/"):
            raise Refused(Ground.NOWHERE, 400, "give a path, not an address")
        path = request.path.rstrip("/") or "/"
        if path in (HEALTHY, READY):
            return self._state(request, path)
        caller = self._entrance.check(request)
        if connection is not None:
            connection.lets_in(caller)
        if self._is_closing:
            raise Refused(Ground.ENDING, 503, "this server is ending")
        if _upgrades(request) and path in (MCP, WEBSOCKET) and request.method == "GET":
            if connection is not None:
                connection.speaks_frames()
            return await self._streams.socket(request)
        if self._login is not None and self._login.answers(path):
            return await self._login.answer(request)
        if path == MCP:
            return await self._mcp(request)
        if path == SSE and request.method == "GET":
            return await self._streams.events(request)
        if path == MESSAGES and request.method == "POST":
            return await self._streams.message(request, await self._entrance.body(request))
        if path in _METHOD:
            allowed = {"Allow": _METHOD[path]}
            raise Refused(Ground.NOWHERE, 405, f"use {_METHOD[path]}", allowed)
        raise Refused(Ground.NOWHERE, 404, f"there is nothing here; see {MCP}")

    async def _mcp(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "POST":
            return await self._endpoint.post(request, await self._entrance.body(request))
        if request.method == "GET":
            return await self._endpoint.get(request)
        if request.method == "DELETE":
            return await self._endpoint.delete(request)
        raise Refused(Ground.NOWHERE, 405, f"use one of {_ALLOWED}", {"Allow": _ALLOWED})

    def _state(self, request: web.BaseRequest, path: str) -> web.Response:
        self._entrance.check_head(request)  # else any web page could ask, by a name of its own
        if request.method not in ("GET", "HEAD"):
            raise Refused(Ground.NOWHERE, 405, "use GET", {"Allow": "GET, HEAD"})
        well = path == HEALTHY or (self._ready() and not self._is_closing)
        return web.Response(status=200 if well else 503, text="ok\n" if well else "not ready\n")


class _Request(web.BaseRequest):
    """A request whose answer does not name the library and its version."""

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        response.headers.popall("Server", None)


def _request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    return _Request(message, payload, protocol, writer, task, asyncio.get_running_loop())


class _Server(web.Server):
    """Makes each connection one that is watched."""

    watch: Callable[[asyncio.Protocol], asyncio.Protocol]

    def __call__(self) -> asyncio.Protocol:  # type: ignore[override]
        return self.watch(super().__call__())


def _upgrades(request: web.BaseRequest) -> bool:
    """True where the connection is to become a WebSocket.

    Raises:
        Refused: it is to become something else.
    """
    upgrade = request.headers.get("Upgrade", "").lower()
    if upgrade and upgrade != "websocket":
        raise Refused(Ground.NOWHERE, 400, "no such upgrade")
    return bool(upgrade)


def _route(request: web.BaseRequest) -> str:
    """What was asked for, without a word that the client chose."""
    path = request.path.rstrip("/")
    method = request.method if request.method in _METHODS else "another method"
    return f"{method} {path if path in _PATHS else 'another path'}"


def _quiet(misread: Callable[[str], None]) -> logging.Logger:
    """Where the library tells of what clients did wrong, with all its lines of code: nowhere.

    What is wrong with ourselves is told, in one line.

    Args:
        misread: told, with the address, of a request that the library could not read.
    """

    def told(record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError) and isinstance(record.args, tuple):
            misread(str(next(iter(record.args), "")))
        if error is None or isinstance(error, HttpProcessingError | ConnectionError):
            return False
        record.msg, record.args = "pipeguard: a request failed: %s", (type(error).__name__,)
        record.exc_info = record.exc_text = None
        return True

    logger = logging.getLogger("pipeguard.listener")
    logger.setLevel(logging.DEBUG)  # at which it tells of what is no HTTP at all
    logger.filters[:] = [told]
    return logger


def listen(host: str, port: int) -> socket.socket:
    """A socket that waits for clients.

    Raises:
        OSError: no such address, or it is taken.
    """
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
