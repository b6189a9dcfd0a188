"""Clients that keep one connection open for a whole conversation: HTTP+SSE and WebSocket.

Each is a channel, pumped to a channel of its own to the server (MCP 2024-11-05, basic/transports,
"HTTP with SSE"; for WebSocket see transports.http.client.websocket).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from secrets import token_urlsafe
from time import monotonic

from aiohttp import web

from pipeguard.core.finding import Direction
from pipeguard.core.protocol.sse import ServerSentEvent, written
from pipeguard.core.session.session import Session
from pipeguard.errors import PipeGuardError
from pipeguard.transports.bounded import FrameQueue
from pipeguard.transports.channel import AsyncChannel, ChannelClosed
from pipeguard.transports.http.client.upstream import SUBPROTOCOL
from pipeguard.transports.http.client.websocket import PING_SECONDS, WebSocketChannel
from pipeguard.transports.http.headers import EVENTS
from pipeguard.transports.http.server.admission import WHO, Refused
from pipeguard.transports.http.server.refusals import Ground
from pipeguard.transports.http.server.sessions import Conversations
from pipeguard.transports.judging import Judge
from pipeguard.transports.pump import pump
from pipeguard.transports.tasks import Tasks

SESSION_BYTES = 24
TICK_SECONDS = 0.5  # between two looks for requests that waited too long
AWAKE_SECONDS = 25.0  # between two comments on a stream that is silent: less than proxies wait
_KEEP_AWAKE = written(ServerSentEvent(None, comment=b""))

Dial = Callable[[], Awaitable[AsyncChannel]]


class Talks:
    """Answers clients of HTTP+SSE and of WebSocket.

    Args:
        conversations: makes their Sessions.
        dial: opens a channel to the server.
        judge: judges each frame, and records the verdict.
        path: where messages of HTTP+SSE are POSTed.
        limit_bytes: of one message.
        most: conversations at once.
    """

    def __init__(
        self,
        conversations: Conversations,
        dial: Dial,
        judge: Judge,
        path: str,
        limit_bytes: int,
        most: int,
    ) -> None:
        self._conversations = conversations
        self._dial = dial
        self._judge = judge
        self._path = path
        self._limit = limit_bytes
        self._most = most
        self._count = 0
        self._streams: dict[str, EventsChannel] = {}
        self._servers: set[AsyncChannel] = set()

    async def close(self) -> None:
        """End all conversations; what waits in them is answered."""
        await asyncio.gather(*(server.close() for server in list(self._servers)))

    async def events(self, request: web.BaseRequest) -> web.StreamResponse:
        """The stream of HTTP+SSE; it begins with the address for messages."""
        with self._room():
            return await self._events(request)

    async def _events(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = {"Content-Type": EVENTS, "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        channel = EventsChannel(response, request.get(WHO, ""))
        session_id = token_urlsafe(SESSION_BYTES)
        self._streams[session_id] = channel
        try:
            await response.prepare(request)
            address = f"{self._path}?session={session_id}".encode()
            await response.write(written(ServerSentEvent(address, "endpoint")))
            await self._converse(channel, channel.who)
        finally:
            del self._streams[session_id]
        with suppress(ConnectionError):
            await response.write_eof()
        return response

    async def message(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """A message of HTTP+SSE: it is answered on its stream."""
        channel = self._streams.get(request.query.get("session", ""))
        if channel is None or channel.who != request.get(WHO, ""):
            ground = Ground.NO_SESSION if channel is None else Ground.FOREIGN_SESSION
            raise Refused(ground, 404, "there is no such session")
        await channel.take(body)
        return web.Response(status=202)

    async def socket(self, request: web.BaseRequest) -> web.StreamResponse:
        """A WebSocket."""
        offered = ",".join(request.headers.getall("Sec-WebSocket-Protocol", (SUBPROTOCOL,)))
        if SUBPROTOCOL not in [name.strip() for name in offered.split(",")]:
            why = f"no such protocol; offer {SUBPROTOCOL}, or none"
            raise Refused(Ground.NOWHERE, 400, why)
        socket = web.WebSocketResponse(
            protocols=(SUBPROTOCOL,),
            heartbeat=PING_SECONDS,
            compress=False,
            max_msg_size=self._limit + 1,  # which is the first that is too large
        )
        with self._room():
            await socket.prepare(request)
            await self._converse(WebSocketChannel(socket), request.get(WHO, ""))
        return socket

    @contextmanager
    def _room(self) -> Iterator[None]:
        """While a conversation lasts."""
        if self._count >= self._most:
            raise Refused(Ground.SESSIONS, 503, Ground.SESSIONS.words, {"Retry-After": "5"})
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1

    async def _converse(self, client: AsyncChannel, who: str) -> None:
        try:
            server = await self._dial()
        except ChannelClosed:  # no server could be started
            await client.close()
            return
        session = self._conversations.new(None, who)
        self._servers.add(server)
        try:
            with self._conversations.listening(session, _Teller(client)):
                await converse(session, client, server, self._judge)
        finally:
            self._servers.discard(server)


class EventsChannel:
    """A client of HTTP+SSE: its POSTs come in, its stream goes out.

    Attributes:
        who: the name of the token that it came with, or empty.
    """

    def __init__(self, response: web.StreamResponse, who: str = "") -> None:
        self.who = who
        self._response = response
        self._inbox = FrameQueue()

    async def take(self, frame: bytes) -> None:
        """A message was POSTed."""
        await self._inbox.put(frame)

    async def read(self) -> bytes | None:
        """The next message; None once closed."""
        while True:
            try:
                async with asyncio.timeout(AWAKE_SECONDS):
                    return await self._inbox.get()
            except TimeoutError:
                try:
                    await self._response.write(_KEEP_AWAKE)
                except ConnectionError:
                    return None

    async def write(self, frame: bytes) -> None:
        """Send a frame.

        Raises:
            ChannelClosed: the client is gone.
        """
        try:
            await self._response.write(written(ServerSentEvent(frame)))
        except ConnectionError:
            raise ChannelClosed("the client is gone") from None

    async def close(self) -> None:
        """Hang up."""
        self._inbox.end()


class _Teller:
    """Tells a client something of our own."""

    def __init__(self, client: AsyncChannel) -> None:
        self._client = client
        self._tasks = Tasks()

    def send(self, frames: list[bytes]) -> None:
        """Send these, without waiting."""
        self._tasks.begin(self._write(frames))

    async def _write(self, frames: list[bytes]) -> None:
        with suppress(ChannelClosed):
            for frame in frames:
                await self._client.write(frame)


async def converse(
    session: Session, client: AsyncChannel, server: AsyncChannel, judge: Judge
) -> None:
    """Carry frames both ways until a side is gone; then answer what waits, and end the other."""
    overdue = asyncio.create_task(_expire(session, client))
    up = asyncio.create_task(pump(session, Direction.TO_SERVER, client, server, judge))
    down = asyncio.create_task(pump(session, Direction.TO_CLIENT, server, client, judge))
    try:
        await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        # What the server said last was passed on; or it takes nothing, and nothing will come.
        # Where nothing can be written down, nothing passes.
        why = None if down.done() else up.exception()
        if down.done() or (why is not None and not isinstance(why, PipeGuardError)):
            with suppress(ChannelClosed):
                for frame in session.abandon():
                    await client.write(frame)
    finally:
        for task in (up, down, overdue):
            task.cancel()
        ends = await asyncio.gather(up, down, overdue, return_exceptions=True)
        await server.close()
        await client.close()
    for end in ends:
        if isinstance(end, Exception) and not isinstance(end, ChannelClosed):
            raise end


async def _expire(session: Session, client: AsyncChannel) -> None:
    """Answer what has waited for longer than the policy allows."""
    while session.guard.policy.limits.timeout_seconds is not None:
        await asyncio.sleep(TICK_SECONDS)
        for frame in session.expire(monotonic()):
            await client.write(frame)
