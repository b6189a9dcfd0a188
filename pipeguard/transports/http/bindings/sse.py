"""HTTP+SSE, the transport of MCP 2024-11-05: a stream of events from the server, POSTs to it.

basic/transports, "HTTP with SSE": the first event names the address for POSTs. It must be on the
same origin, or a server could send a client's token to another one.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Self

import aiohttp
from aiohttp import web
from yarl import URL

from pipeguard.errors import PipeGuardError
from pipeguard.transports.bounded import Outbox
from pipeguard.transports.channel import ChannelClosed
from pipeguard.transports.http.client.bodies import NETWORK_ERRORS, Unreadable, read_events
from pipeguard.transports.http.client.reconnecting import LinkLost, ReconnectingChannel
from pipeguard.transports.http.client.upstream import Remote, RemoteEndpoint, describe_status
from pipeguard.transports.http.headers import EVENTS, JSON, media_type
from pipeguard.transports.http.server.admission import WHO, RefusalReason, RequestRefused
from pipeguard.transports.http.server.backend import (
    AWAKE_SECONDS,
    KEEP_AWAKE,
    STREAM_HEADERS,
    Backend,
    Endpoint,
    Route,
    TransportBinding,
    as_event,
)
from pipeguard.transports.http.server.sessions import make_session_id
from pipeguard.transports.judging import read_frame
from pipeguard.transports.sse import MESSAGE, ServerSentEvent, to_bytes

SSE, MESSAGES = "/sse", "/messages"
ENDPOINT_SECONDS = 10.0  # for a server to name the address for POSTs
PROBE_SECONDS = 1.0  # the same, if the server may not speak this transport


# --- to a server ----------------------------------------------------------------------------


class _SseLink:
    """One stream from a server, and the address that it named for POSTs."""

    def __init__(self, remote: Remote, http: aiohttp.ClientSession) -> None:
        self._remote = remote
        self._http = http
        self._answer: aiohttp.ClientResponse | None = None
        self._events: AsyncIterator[list[ServerSentEvent]] | None = None
        self._frames: deque[bytes] = deque()
        self._target: RemoteEndpoint | None = None

    @classmethod
    async def open(
        cls, remote: Remote, http: aiohttp.ClientSession, patience_seconds: float | None = None
    ) -> Self:
        """Connect, and wait for the address for POSTs.

        Raises:
            LinkLost: the server cannot be reached, speaks no HTTP+SSE, or names a foreign address.
        """
        link = cls(remote, http)
        try:
            async with asyncio.timeout(patience_seconds or ENDPOINT_SECONDS):
                await link._begin()
        except (LinkLost, *NETWORK_ERRORS, PipeGuardError, Unreadable) as error:
            await link.close()
            raise LinkLost.of(error) from None
        return link

    async def _begin(self) -> None:
        endpoint = RemoteEndpoint(self._remote, self._http)
        answer = await endpoint.send("GET", {"Accept": EVENTS})
        self._answer, self._events = answer, read_events(answer, self._remote.limit_bytes)
        if media_type(answer) != EVENTS or not answer.ok:
            raise LinkLost(describe_status(answer.status))
        while self._target is None:
            if not await self._read_events():
                raise LinkLost("the server named no address for messages")

    async def read(self) -> bytes | None:
        """Wait for the next frame; None at the end."""
        with suppress(*NETWORK_ERRORS, LinkLost, Unreadable):  # the stream ends here
            while not self._frames and await self._read_events():
                pass
        return await read_frame(self._frames.popleft()) if self._frames else None

    async def write(self, frame: bytes) -> None:
        """Send a frame in a POST.

        Raises:
            LinkLost: it was not accepted.
        """
        if self._target is None:
            raise LinkLost("closed")
        try:
            headers = {"Content-Type": JSON}
            async with await self._target.send("POST", headers, frame) as answer:
                if not 200 <= answer.status < 300:
                    raise LinkLost(f"the server answered with HTTP {answer.status}")
        except (*NETWORK_ERRORS, PipeGuardError) as error:
            raise LinkLost.of(error) from None

    async def close(self) -> None:
        """Hang up."""
        if self._answer is not None:
            self._answer.close()

    async def _read_events(self) -> bool:
        """Read the next events; False at the end of the stream."""
        events = None if self._events is None else await anext(self._events, None)
        for event in events or ():
            if event.name == "endpoint":
                self._set_target(event.data or b"")
            elif event.name == MESSAGE and event.data:
                self._frames.append(event.data)
        return events is not None

    def _set_target(self, address: bytes) -> None:
        """Set the address for POSTs.

        Raises:
            LinkLost: it is set already, or on another origin.
        """
        if self._target is not None:
            raise LinkLost("the server named a second address for messages")
        with suppress(ValueError):  # not a URL
            target = self._remote.url.join(URL(address.decode()))
            if target.origin() == self._remote.url.origin() and target.user is None:
                self._target = RemoteEndpoint(self._remote, self._http, target)
        if self._target is None:
            raise LinkLost("the server named an address for messages that is not its own")


def open_channel(remote: Remote, http: aiohttp.ClientSession) -> ReconnectingChannel:
    """A channel to a server."""
    return ReconnectingChannel(partial(_SseLink.open, remote, http))


async def answers(remote: Remote, http: aiohttp.ClientSession) -> bool:
    """True if a server speaks HTTP+SSE: it names the address for POSTs at once."""
    try:
        link = await _SseLink.open(remote, http, PROBE_SECONDS)
    except LinkLost:
        return False
    await link.close()
    return True


# --- to a client ----------------------------------------------------------------------------


class _SseChannel:
    """A client: frames arrive as POSTs and leave on the stream.

    Attributes:
        who: the name of its token, or empty.
    """

    def __init__(self, response: web.StreamResponse, who: str) -> None:
        self.who = who
        self._response = response
        self.inbox = Outbox()

    async def read(self) -> bytes | None:
        """Wait for the next message; None once closed."""
        while True:
            try:
                async with asyncio.timeout(AWAKE_SECONDS):
                    return await self.inbox.get()
            except TimeoutError:
                try:
                    await self._response.write(KEEP_AWAKE)
                except ConnectionError:
                    return None

    async def write(self, frame: bytes) -> None:
        """Send a frame.

        Raises:
            ChannelClosed: the client is gone.
        """
        try:
            await self._response.write(as_event(frame))
        except ConnectionError:
            raise ChannelClosed("the client hung up") from None

    async def close(self) -> None:
        """Hang up."""
        self.inbox.end()


class _SseEndpoint(Endpoint):
    """Answers clients of HTTP+SSE.

    Args:
        backend: holds each client's conversation.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._channels: dict[str, _SseChannel] = {}  # by session id
        self.routes = (
            Route("GET", SSE, self._get),
            Route("POST", MESSAGES, self._post, has_body=True),
        )

    async def _get(self, request: web.BaseRequest, _: bytes) -> web.StreamResponse:
        """Answer with a stream; its first event names the address for POSTs."""
        with self._backend.room():
            response = web.StreamResponse(headers=STREAM_HEADERS)
            channel = _SseChannel(response, request.get(WHO, ""))
            session_id = make_session_id()
            self._channels[session_id] = channel
            try:
                await response.prepare(request)
                prefix = request.path.rstrip("/").removesuffix(SSE)
                address = f"{prefix}{MESSAGES}?session={session_id}".encode()
                await response.write(to_bytes(ServerSentEvent(address, "endpoint")))
                await self._backend.hold(channel, channel.who)
            finally:
                del self._channels[session_id]
            with suppress(ConnectionError):
                await response.write_eof()
            return response

    async def _post(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """Take a message, which is answered on its stream."""
        channel = self._channels.get(request.query.get("session", ""))
        if channel is None or channel.who != request.get(WHO, ""):
            is_foreign = channel is not None
            reason = RefusalReason.FOREIGN_SESSION if is_foreign else RefusalReason.NO_SESSION
            raise RequestRefused(reason, 404, "there is no such session")
        await channel.inbox.add(await read_frame(body))
        return web.Response(status=202)


BINDING = TransportBinding(
    "HTTP+SSE, the transport of MCP 2024-11-05", ("http", "https"), open_channel, _SseEndpoint
)
