"""A server behind one lasting connection, as a channel: HTTP+SSE and WebSocket.

The conversation lives as long as the connection. If that breaks, open requests are lost, and a new
connection is opened as the client opened the first. A link is a channel over one connection.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from time import monotonic

from pipeguard.errors import LoginNeededError
from pipeguard.firewall.protocol.ids import match_answer, spell_answered
from pipeguard.firewall.protocol.methods import INITIALIZED
from pipeguard.transports.channel import CONNECTION_LOST, AsyncChannel, ChannelClosed, Failure
from pipeguard.transports.http.client.upstream import InboxChannel, SentFrame, describe_unreachable
from pipeguard.transports.http.correlator import find_answers
from pipeguard.transports.judging import offload
from pipeguard.transports.tasks import REOPEN_SECONDS, STEADY_SECONDS, backoff, try_often


class LinkLost(ChannelClosed):
    """The connection broke, or could not be opened; `str(error)` says why.

    Args:
        why: in words.
        is_final: True if another attempt would fail in the same way, as without a login.
    """

    def __init__(self, why: str, *, is_final: bool = False) -> None:
        super().__init__(why)
        self.is_final = is_final

    @classmethod
    def of(cls, error: Exception) -> "LinkLost":
        """The meaning of a network or login error for the connection."""
        if isinstance(error, LinkLost):
            return error
        return cls(describe_unreachable(error), is_final=isinstance(error, LoginNeededError))


class ReconnectingChannel(InboxChannel):
    """One conversation over successive connections.

    Args:
        connect: opens a connection; raises LinkLost.
    """

    def __init__(self, connect: Callable[[], Awaitable[AsyncChannel]]) -> None:
        super().__init__()
        self._connect = connect
        self._link: AsyncChannel | None = None
        self._connecting = asyncio.Lock()
        self._sent: set[str] = set()  # ids that wait for answers over this connection
        self._unanswered: set[str] = set()
        self._all_answered = asyncio.Event()  # set while all requests are answered
        self._all_answered.set()
        self._reopened: asyncio.Event | None = None  # while our own opening is under way
        self._pauses = backoff()  # before reconnecting after a connection that did not last

    async def open(self) -> None:
        """Open the first connection at once.

        Raises:
            LinkLost: it cannot be opened.
        """
        async with self._connecting:
            self._use(await self._connect())

    async def write(self, frame: bytes) -> None:
        """Send a frame, after the notifications before it.

        Raises:
            ChannelClosed: this side was closed.
        """
        sent = await self._parse(frame)
        if sent.ids:
            self._unanswered.update(sent.ids)
            self._all_answered.clear()
        task = self._tasks.begin(self._send(sent))
        if not sent.ids:
            self._last_notified = task

    async def drain(self) -> None:
        """Wait until every request is answered."""
        await self._all_answered.wait()

    async def _hang_up(self) -> None:
        if self._link is not None:
            await self._link.close()

    def _fail(self) -> None:
        super()._fail()
        self._all_answered.set()

    async def _send(self, frame: SentFrame) -> None:
        await frame.wait_turn()
        link = None
        try:
            link = await self._open_link()
            self._sent.update(frame.ids)  # from here on they are lost with the connection
            if frame.method == INITIALIZED:
                self._initialized = frame  # if it is lost now, the next connection begins with it
            await link.write(frame.data)
        except ChannelClosed as error:
            self._lose(frame.ids, Failure(str(error), sent=link is not None))
            return
        if frame.method == "initialize":
            self._opening = frame

    def _lose(self, ids: Iterable[str], failure: Failure) -> None:
        """Answer the requests that still wait, each once, however full the inbox is."""
        for token in ids:
            if token in self._unanswered:
                self._inbox.put(failure.to_frame(token))
                self._note_answered([token])

    def _note_answered(self, ids: list[str]) -> None:
        self._sent.difference_update(ids)
        self._unanswered.difference_update(ids)
        if not self._unanswered:
            self._all_answered.set()

    # --- the connection -----------------------------------------------------------------

    async def _open_link(self) -> AsyncChannel:
        async with self._connecting:
            if self._link is not None:
                return self._link
            link = await try_often(self._connect, LinkLost, lambda lost: lost.is_final)
            self._use(link)
            try:
                await self._reopen(link)
            except ChannelClosed:
                self._link = None  # no frame is sent over it before the conversation is open
                await link.close()
                raise
            return link

    def _use(self, link: AsyncChannel) -> None:
        self._link = link
        self._tasks.begin(self._read_all(link))

    async def _reopen(self, link: AsyncChannel) -> None:
        """Open the conversation again as the client did, which has the first answer already."""
        if self._opening is None:
            return
        self._reopened = asyncio.Event()
        await link.write(self._opening.data)
        try:
            async with asyncio.timeout(REOPEN_SECONDS):
                await self._reopened.wait()
        except TimeoutError:
            raise LinkLost("the server accepts no new conversation in time") from None
        finally:
            self._reopened = None
        if self._link is not link:
            raise LinkLost(CONNECTION_LOST)
        if self._initialized is not None:
            await link.write(self._initialized.data)

    async def _read_all(self, link: AsyncChannel) -> None:
        began = monotonic()
        while (frame := await link.read()) is not None:
            _, tokens = await offload(frame, find_answers, frame)
            answered = [match_answer(token, self._sent.__contains__) for token in tokens]
            if not self._answers_reopening(answered):
                await self._inbox.add(frame)
                self._note_answered(answered)
        lost = sorted(self._sent)
        if self._link is link:
            self._link = None
        if self._reopened is not None:
            self._reopened.set()
        await link.close()
        self._lose(lost, Failure(CONNECTION_LOST))
        if monotonic() - began > STEADY_SECONDS:
            self._pauses = backoff()
        if self._opening is not None and not self._closed:
            self._tasks.begin(self._reconnect(next(self._pauses)))

    def _answers_reopening(self, ids: list[str]) -> bool:
        """True for the answer to our own opening, which is not passed on."""
        if self._reopened is None or self._opening is None:
            return False
        if not any(self._opening.ids[0] in spell_answered(token) for token in ids):
            return False
        self._reopened.set()
        return True

    async def _reconnect(self, pause_seconds: float) -> None:
        """Connect again without being asked: the server may have something to send."""
        await asyncio.sleep(pause_seconds)
        with suppress(ChannelClosed):
            await self._open_link()
