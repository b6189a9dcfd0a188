"""One exchange over HTTP: a POST with requests, and the stream of its answers.

A server's message that answers no request goes on a single stream. Which one is certain for a
progress report or a subscription; otherwise it is a client's stream for unrequested messages, or
that of a request in progress. While nobody listens, it is stored.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic
from typing import NamedTuple

from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.ids import request_ids
from pipeguard.firewall.protocol.json_values import JsonValue
from pipeguard.firewall.protocol.strict_json import parse_json, without_value
from pipeguard.firewall.session.session import Session
from pipeguard.transports.bounded import UNTAKEN_SECONDS, Backlog, Outbox
from pipeguard.transports.channel import Failure
from pipeguard.transports.http.correlator import Correlator

UNHEARD_FRAMES = 256
UNHEARD_BYTES = 2**18
JudgeAnswer = Callable[[Session, bytes], Awaitable[bytes | None]]
STREAM_BYTES = 2**18  # unsent to one client; above that its server is not read


class Stream:
    """Frames on their way to one HTTP response.

    Args:
        backlog: counts the unsent bytes of all clients; above its limit, it cuts the stream of the
            client that has taken nothing for the longest time.

    Attributes:
        is_cut: True once it was given up: its frames are dropped, and no more are added.
    """

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self._frames = Outbox(STREAM_BYTES)
        self.is_cut = False

    def send(self, frames: list[bytes]) -> None:
        """Send these without waiting."""
        for frame in frames:
            if not self.is_cut:
                self._frames.put(without_value(frame))
                self._count()

    def end(self) -> None:
        """Nothing is sent any more."""
        self._frames.end()

    def cut(self) -> None:
        """Drop the unsent frames, and end."""
        self.is_cut = True
        self.untaken()
        self.end()

    @property
    def is_taken(self) -> bool:
        """True while nothing is unsent."""
        return not len(self._frames)

    @property
    def is_full(self) -> bool:
        """True while a server that can be made to wait should wait."""
        return self._frames.is_full

    def untaken(self) -> list[bytes]:
        """Take back the unsent frames."""
        frames = self._frames.clear()
        self._count()
        return frames

    async def next(self, awake_seconds: float) -> bytes | None:
        """The next frame; empty after so long a silence, None at the end."""
        try:
            async with asyncio.timeout(awake_seconds):
                frame = await self._frames.get()
        except TimeoutError:
            return b""
        self._count()
        return frame

    async def make_room(self) -> None:
        """Wait while the stream is full; cut it once its client takes nothing for too long."""
        try:
            while self.is_full:
                async with asyncio.timeout(UNTAKEN_SECONDS):
                    await self._frames.wait_taken()
        except TimeoutError:
            self.cut()

    def _count(self) -> None:
        self._backlog.note(self, self._frames.size_bytes, self.cut)


class Exchange(Stream):
    """A POST with requests, while it is answered.

    Args:
        session: judges its messages.
        backlog: counts the unsent bytes of all clients.
        lasting: False if a client that leaves cancels its requests (MCP 2026-07-28).

    Attributes:
        is_present: True while the client waits.
    """

    def __init__(self, session: Session, backlog: Backlog, *, lasting: bool) -> None:
        super().__init__(backlog)
        self.session = session
        self.lasting = lasting
        self.is_present = False
        self._unanswered: set[str] = set()

    @property
    def is_answered(self) -> bool:
        """True once all requests are answered, and the answers sent."""
        return not self._unanswered and self.is_taken

    def begin(self, ids: Iterable[str]) -> None:
        """Wait for the answers to these requests."""
        self._unanswered = set(ids)
        self.is_present = True

    def leave(self) -> None:
        """Drop what is unsent: the client waits no more."""
        self.is_present = False
        self.untaken()

    def send(self, frames: list[bytes]) -> None:
        """Send frames without waiting; a client that is gone gets nothing."""
        if self.is_present:
            super().send(frames)

    async def take(self, frame: bytes, ids: list[str], judge: JudgeAnswer) -> None:
        """Pass on the answer to some of the requests."""
        frames = [await judge(self.session, frame)]
        # The frame may not answer them after all; another answer will not come.
        for token in sorted(set(ids) & set(self.session.waiting())):
            failure = Failure("the server broke the protocol", codes.PEER_BROKE_PROTOCOL)
            frames.append(await judge(self.session, failure.to_frame(token)))
        self._unanswered.difference_update(ids)
        self.send([frame for frame in frames if frame is not None])
        if not self._unanswered and self.is_taken:
            self.end()

    def expire(self) -> None:
        """Answer the requests that have waited for too long."""
        self.send(self.session.expire(monotonic() + 1))
        self._unanswered.clear()

    async def lose(self, failure: Failure, judge: JudgeAnswer) -> None:
        """Tell the client that no further answer will come."""
        for token in sorted(self._unanswered):
            await self.take(failure.to_frame(token), [token], judge)

    def cancel(self, token: str) -> None:
        """Stop waiting for an answer that the client does not want any more."""
        self._unanswered.discard(token)
        if not self._unanswered:
            self.end()

    def abandon(self) -> None:
        """End without answers: nothing can be sent any more."""
        if self._unanswered:
            self._unanswered.clear()
            self.end()


class _Unheard(NamedTuple):
    """A frame that nobody has heard yet.

    Attributes:
        frame: as the server sent it, or as it was judged.
        is_judged: True if it was judged.
    """

    frame: bytes
    is_judged: bool


class UnrequestedMessages:
    """Delivers unrequested messages to the clients of one channel.

    Args:
        ids: the requests in progress.
        is_shared: True if the clients know nothing of each other.
        waits: True if the server waits for a client that does not read.

    Attributes:
        streams: of clients that listen to unrequested messages, the latest last.
        unheard_bytes: of the stored frames.
    """

    def __init__(self, ids: Correlator[Exchange], *, is_shared: bool, waits: bool) -> None:
        self._ids = ids
        self._is_shared = is_shared
        self._waits = waits
        self.streams: list[Stream] = []
        self._unheard: deque[_Unheard] = deque()
        self.unheard_bytes = 0

    def deliver(self, frame: bytes, exchange: Exchange | None) -> list[bytes]:
        """Send a message, or store it; return the frames that were dropped for it.

        Args:
            frame: was judged.
            exchange: that it certainly belongs to, or None.
        """
        stream = self._choose_stream(frame, exchange)
        if stream is not None:
            self._send(stream, frame)
        elif not self._is_shared:
            return self.store(frame, is_judged=True)
        return []  # of a shared server's message nobody can tell whose it is

    def is_heard(self) -> bool:
        """True if somebody gets at once a message that belongs to no request."""
        if self._is_shared:  # nobody can tell to which of several it belongs
            return bool(self.streams) or len(present(self._ids)) == 1
        return bool(self.streams or present(self._ids))

    def store(self, frame: bytes, *, is_judged: bool) -> list[bytes]:
        """Store a frame that nobody hears yet; return the oldest ones where there are too many.

        A notification is judged when somebody hears it: a server may have many clients, and what
        it sends to all of them costs nothing while nobody listens.
        """
        self._unheard.append(_Unheard(without_value(frame), is_judged))
        self.unheard_bytes += len(frame)
        dropped = []
        while len(self._unheard) > UNHEARD_FRAMES or self.unheard_bytes > UNHEARD_BYTES:
            dropped.append(self._take_oldest().frame)
        return dropped

    def take_unheard(self) -> _Unheard | None:
        """Take the oldest stored frame, None where there is none."""
        return self._take_oldest() if self._unheard else None

    def _take_oldest(self) -> _Unheard:
        oldest = self._unheard.popleft()
        self.unheard_bytes -= len(oldest.frame)
        return oldest

    def _choose_stream(self, frame: bytes, exchange: Exchange | None) -> Stream | None:
        if exchange is not None:
            return exchange
        waiting = present(self._ids)
        if not self._is_shared and len(waiting) == 1 and _may_belong_to_a_request(frame):
            return waiting[0]  # with two, nobody could tell to which
        if self.streams:
            return self.streams[-1]  # an older stream's connection may be lost
        if self._is_shared and len(waiting) != 1:
            return None
        return waiting[-1] if waiting else None

    def _send(self, stream: Stream, frame: bytes) -> None:
        """Send a message; a full stream misses notifications, if the server does not wait.

        They would fill it until it is cut, together with the answer behind them.
        """
        if self._waits or not stream.is_full or not is_notification(parse_json(frame)):
            stream.send([frame])


def present(ids: Correlator[Exchange]) -> list[Exchange]:
    """The exchanges that wait for answers and whose clients are there, the latest last."""
    return [exchange for exchange in ids.owners() if exchange.is_present]


def is_notification(value: JsonValue) -> bool:
    """True for a notification."""
    return isinstance(value, dict) and "method" in value and "id" not in value


def _may_belong_to_a_request(frame: bytes) -> bool:
    """True for what a server sends while it handles a request: its own requests, and its log.

    Anything else unrequested goes on the stream for that (MCP 2025-11-25, basic/transports,
    "Sending Messages to the Server" and "Listening for Messages from the Server").
    """
    value = parse_json(frame)
    method = value.get("method") if isinstance(value, dict) else None
    return bool(request_ids(value)) or method == "notifications/message"
