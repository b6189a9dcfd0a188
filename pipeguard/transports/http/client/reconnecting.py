"""A server behind one lasting connection, as a channel: HTTP+SSE and WebSocket.

The conversation lives as long as the connection. Where that breaks, what waits is lost, and a
new one is opened as the client opened the first. What a wire looks like, a Link knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic
from typing import Protocol

from pipeguard.core.protocol.framing import Lost
from pipeguard.core.protocol.ids import id_token_of, request_ids
from pipeguard.core.protocol.json_values import JsonValue
from pipeguard.core.protocol.strict_json import parse_json
from pipeguard.errors import Refusal
from pipeguard.transports.bounded import FrameQueue
from pipeguard.transports.channel import ChannelClosed
from pipeguard.transports.http.client.upstream import backoff
from pipeguard.transports.tasks import Tasks

ATTEMPTS = 5
STEADY_SECONDS = 1.0  # a connection that lasted longer had begun well
REOPEN_SECONDS = 30.0  # for a server to answer an opening of ours
_LOST = "the connection to the server was lost before the answer came"


class LinkLost(Exception):  # noqa: N818  a peer that hangs up is no error
    """The connection broke, or could not be opened; `str(error)` says how.

    Args:
        why: in words.
        is_final: True where another try would end in the same way, as without a person's login.
    """

    def __init__(self, why: str, *, is_final: bool = False) -> None:
        super().__init__(why)
        self.is_final = is_final


class Link(Protocol):
    """One connection."""

    async def receive(self) -> bytes | None:
        """The next frame; None at the end."""

    async def send(self, frame: bytes) -> None:
        """Send a frame.

        Raises:
            LinkLost: it was not taken.
        """

    async def close(self) -> None:
        """Hang up."""


class LinkedChannel:
    """One conversation over one connection after another.

    Args:
        connect: opens a connection; raises LinkLost.
    """

    def __init__(self, connect: Callable[[], Awaitable[Link]]) -> None:
        self._connect = connect
        self._inbox = FrameQueue()
        self._link: Link | None = None
        self._connecting = asyncio.Lock()
        self._waiting: set[str] = set()  # for answers over this connection
        self._unanswered: set[str] = set()
        self._quiet = asyncio.Event()  # set while nothing is unanswered
        self._quiet.set()
        self._opening: tuple[bytes, str] | None = None
        self._initialized: bytes | None = None
        self._reopened: asyncio.Event | None = None  # while an opening of ours is under way
        self._before: asyncio.Task[None] | None = None
        self._tasks = Tasks(self._fail)
        self._pauses = backoff()  # before coming back from a connection that did not last
        self._closed = False

    async def open(self) -> None:
        """Open the first connection at once.

        Raises:
            LinkLost: it cannot be opened.
        """
        async with self._connecting:
            self._take(await self._connect())

    async def read(self) -> bytes | None:
        """The next frame of the server's; a Lost in place of an answer that will not come."""
        return None if self._closed and self._inbox.empty() else await self._inbox.get()

    async def write(self, frame: bytes) -> None:
        """Send a frame, after those before it that need no answer.

        Raises:
            ChannelClosed: this side was closed.
        """
        if self._closed:
            raise ChannelClosed("closed")
        value = parse_json(frame)
        ids = request_ids(value)
        if ids:
            self._unanswered.update(ids)
            self._quiet.clear()
        task = self._tasks.begin(self._send(frame, value, ids, self._before))
        if not ids:
            self._before = task

    async def drain(self) -> None:
        """Wait until all that was asked is answered."""
        await self._quiet.wait()

    async def close(self) -> None:
        """Hang up; a waiting `read` returns None."""
        if self._closed:
            return
        self._closed = True
        await self._tasks.end()
        if self._link is not None:
            await self._link.close()
        self._inbox.end()

    def _fail(self) -> None:
        """What nobody expected ends the conversation, so that nobody waits for its answers."""
        self._closed = True
        self._quiet.set()
        self._inbox.end()

    async def _send(
        self, frame: bytes, value: JsonValue, ids: list[str], before: asyncio.Task[None] | None
    ) -> None:
        if before is not None:
            await asyncio.wait([before])
        try:
            link = await self._ready()
        except LinkLost as error:
            self._waiting.update(ids)
            await self._lose(ids, str(error), sent=False)
            return
        self._waiting.update(ids)  # from here on they are lost with the connection
        method = value.get("method") if isinstance(value, dict) else None
        if method == "notifications/initialized":
            self._initialized = frame  # if it is lost now, the next connection begins with it
        try:
            await link.send(frame)
        except LinkLost as error:
            await self._lose(ids, str(error))
            return
        if method == "initialize":
            self._opening = frame, ids[0]

    async def _lose(self, ids: list[str], why: str, *, sent: bool = True) -> None:
        for token in ids:
            if token in self._waiting:
                await self._inbox.put(Lost.of(token, why, sent=sent))
                self._settle([token])

    def _settle(self, tokens: list[str]) -> None:
        self._waiting.difference_update(tokens)
        self._unanswered.difference_update(tokens)
        if not self._unanswered:
            self._quiet.set()

    # --- the connection -----------------------------------------------------------------

    async def _ready(self) -> Link:
        async with self._connecting:
            if self._link is not None:
                return self._link
            link = await self._connected()
            self._take(link)
            try:
                await self._reopen(link)
            except LinkLost:
                self._link = None  # nobody speaks over it before the conversation is open
                await link.close()
                raise
            return link

    async def _connected(self) -> Link:
        pauses = backoff()
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._connect()
            except LinkLost as lost:
                if lost.is_final:
                    raise
            await asyncio.sleep(next(pauses))
        return await self._connect()

    def _take(self, link: Link) -> None:
        self._link = link
        self._tasks.begin(self._read_all(link))

    async def _reopen(self, link: Link) -> None:
        """Open the conversation again as the client did; it has had the answer already."""
        if self._opening is None:
            return
        self._reopened = asyncio.Event()
        await link.send(self._opening[0])
        try:
            async with asyncio.timeout(REOPEN_SECONDS):
                await self._reopened.wait()
        except TimeoutError:
            raise LinkLost("the server takes no new conversation in time") from None
        finally:
            self._reopened = None
        if self._link is not link:
            raise LinkLost(_LOST)
        if self._initialized is not None:
            await link.send(self._initialized)

    async def _read_all(self, link: Link) -> None:
        began = monotonic()
        while (frame := await link.receive()) is not None:
            tokens = _answered(frame)
            if self._reopens(tokens):
                continue
            await self._inbox.put(frame)
            self._settle(tokens)
        lost = sorted(self._waiting)
        if self._link is link:
            self._link = None
        if self._reopened is not None:
            self._reopened.set()
        await link.close()
        await self._lose(lost, _LOST)
        if monotonic() - began > STEADY_SECONDS:
            self._pauses = backoff()
        if self._opening is not None and not self._closed:
            self._tasks.begin(self._come_back(next(self._pauses)))

    def _reopens(self, tokens: list[str]) -> bool:
        """True for the answer to an opening of ours, which the client has had already."""
        if self._reopened is None or self._opening is None or self._opening[1] not in tokens:
            return False
        self._reopened.set()
        return True

    async def _come_back(self, pause_seconds: float) -> None:
        """Open the conversation again: the server may have something to say."""
        await asyncio.sleep(pause_seconds)
        with suppress(LinkLost):
            await self._ready()


def _answered(frame: bytes) -> list[str]:
    """The ids of what a frame answers."""
    try:
        value = parse_json(frame)
    except Refusal as refusal:
        return [] if refusal.id_token is None else [refusal.id_token]
    members = value if isinstance(value, list) else [value]
    answers = [one for one in members if isinstance(one, dict) and "method" not in one]
    return [token for one in answers if (token := id_token_of(one.get("id"))) is not None]
