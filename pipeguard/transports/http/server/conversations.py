"""Conversations of clients that keep one connection open: HTTP+SSE and WebSocket.

Each is a channel, pumped to a channel of its own to the server (MCP 2024-11-05, basic/transports,
"HTTP with SSE").
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic

from pipeguard.errors import PipeGuardError
from pipeguard.firewall.finding import Direction
from pipeguard.firewall.session.session import Session
from pipeguard.transports.channel import AsyncChannel, ChannelClosed
from pipeguard.transports.http.server.admission import RequestRefused
from pipeguard.transports.http.server.refusals import RefusalReason
from pipeguard.transports.http.server.sessions import Sessions
from pipeguard.transports.judging import Judge
from pipeguard.transports.pump import pump
from pipeguard.transports.tasks import Tasks

TICK_SECONDS = 0.5  # between two checks for overdue requests


class Conversations:
    """The conversations of one listener, over one connection each.

    Args:
        sessions: makes their Sessions.
        dial: opens a channel to the server for the name of a token.
        judge: judges each frame, and records the verdict.
        limit_bytes: of one message.
        most: conversations at once.

    Attributes:
        limit_bytes: as it was given.
    """

    def __init__(
        self,
        sessions: Sessions,
        dial: Callable[[str], Awaitable[AsyncChannel]],
        judge: Judge,
        limit_bytes: int,
        most: int,
    ) -> None:
        self._sessions = sessions
        self._dial = dial
        self._judge = judge
        self.limit_bytes = limit_bytes
        self._most = most
        self._count = 0
        self._servers: set[AsyncChannel] = set()

    async def close(self) -> None:
        """End all conversations; open requests are answered."""
        await asyncio.gather(*(server.close() for server in list(self._servers)))

    @contextmanager
    def room(self) -> Iterator[None]:
        """Count a conversation.

        Raises:
            RequestRefused: there are too many.
        """
        if self._count >= self._most:
            reason = RefusalReason.SESSIONS
            raise RequestRefused(reason, 503, reason.words, {"Retry-After": "5"})
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1

    async def hold(self, client: AsyncChannel, who: str) -> None:
        """Hold a conversation with a client until a side is gone.

        Args:
            client: its channel.
            who: the name of its token, or empty.
        """
        try:
            server = await self._dial(who)
        except ChannelClosed:  # no server could be started
            await client.close()
            return
        session = self._sessions.new(None, who)
        self._servers.add(server)
        try:
            with self._sessions.subscribing(session, _ChannelSubscriber(client)):
                await converse(session, client, server, self._judge)
        finally:
            self._servers.discard(server)


class _ChannelSubscriber:
    """Sends a client messages of our own."""

    def __init__(self, client: AsyncChannel) -> None:
        self._client = client
        self._tasks = Tasks()

    def send(self, frames: list[bytes]) -> None:
        """Send frames without waiting."""
        self._tasks.begin(self._write(frames))

    async def _write(self, frames: list[bytes]) -> None:
        with suppress(ChannelClosed):
            for frame in frames:
                await self._client.write(frame)


async def converse(
    session: Session, client: AsyncChannel, server: AsyncChannel, judge: Judge
) -> None:
    """Pump both ways until a side is gone; then answer open requests, and end the other side."""
    expiring = asyncio.create_task(answer_overdue(session, client))
    to_server = asyncio.create_task(pump(session, Direction.TO_SERVER, client, server, judge))
    to_client = asyncio.create_task(pump(session, Direction.TO_CLIENT, server, client, judge))
    try:
        await asyncio.wait((to_server, to_client), return_when=asyncio.FIRST_COMPLETED)
        if _is_server_gone(to_server, to_client):
            await _abandon(session, client)
    finally:
        for task in (to_server, to_client, expiring):
            task.cancel()
        ends = await asyncio.gather(to_server, to_client, expiring, return_exceptions=True)
        await server.close()
        await client.close()
    for end in ends:
        if isinstance(end, Exception) and not isinstance(end, ChannelClosed):
            raise end


def _is_server_gone(to_server: asyncio.Task[None], to_client: asyncio.Task[None]) -> bool:
    """True if the server's last frame was passed on, or it accepts no more.

    False where a verdict could not be recorded: then nothing may pass.
    """
    if to_client.done():
        return True
    error = to_server.exception()
    return error is not None and not isinstance(error, PipeGuardError)


async def _abandon(session: Session, client: AsyncChannel) -> None:
    with suppress(ChannelClosed):
        for frame in session.abandon():
            await client.write(frame)


async def answer_overdue(session: Session, client: AsyncChannel) -> None:
    """Answer the requests that have waited for longer than the policy allows."""
    while session.guard.policy.limits.timeout_seconds is not None:
        await asyncio.sleep(TICK_SECONDS)
        for frame in session.expire(monotonic()):
            await client.write(frame)
