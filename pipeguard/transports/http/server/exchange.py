"""One exchange over HTTP: a POST with requests, and the stream of its answers."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.strict_json import without_value
from pipeguard.firewall.session.session import Session
from pipeguard.transports.bounded import UNTAKEN_SECONDS, Backlog, Outbox
from pipeguard.transports.channel import Failure
from pipeguard.transports.judging import Judge

JudgeAnswer = Callable[[Session, bytes], Awaitable[bytes | None]]
STREAM_BYTES = 2**18  # unsent to one client; above that its server is not read


class Stream:
    """Frames on their way to one HTTP response.

    Args:
        backlog: counts the unsent bytes of all clients; above its limit, it cuts the stream of the
            client that has taken nothing for the longest time.

    Attributes:
        is_cut: True once it was given up: its frames are dropped, and none are added.
    """

    def __init__(self, backlog: Backlog) -> None:
        self._outbox = Outbox(STREAM_BYTES)
        self.end = self._outbox.end
        self._backlog = backlog
        self.is_cut = False

    @property
    def is_full(self) -> bool:
        """True while its client is too slow for its server."""
        return self._outbox.is_full

    def send(self, frames: list[bytes]) -> None:
        """Send these without waiting."""
        for frame in frames:
            if not self.is_cut:
                self._outbox.put(without_value(frame))
                self._count()

    def cut(self) -> None:
        """Drop the unsent frames, and end."""
        self.is_cut = True
        self.clear()
        self.end()

    def clear(self) -> list[bytes]:
        """Take back the unsent frames."""
        frames = self._outbox.clear()
        self._count()
        return frames

    async def next(self, awake_seconds: float) -> bytes | None:
        """The next frame; empty after a silence, None at the end."""
        try:
            async with asyncio.timeout(awake_seconds):
                frame = await self._outbox.get()
        except TimeoutError:
            return b""
        self._count()
        return frame

    async def make_room(self) -> None:
        """Wait while the stream is full; cut it once its client reads nothing for too long."""
        try:
            while self.is_full:
                async with asyncio.timeout(UNTAKEN_SECONDS):
                    await self._outbox.wait_taken()
        except TimeoutError:
            self.cut()

    def _count(self) -> None:
        self._backlog.note(self, self._outbox.size_bytes, self.cut)


class Exchange(Stream):
    """A POST with requests, until they are answered.

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
        return not self._unanswered and not len(self._outbox)

    def begin(self, ids: Iterable[str]) -> None:
        """Wait for the answers to these requests."""
        self._unanswered = set(ids)
        self.is_present = True

    def leave(self) -> None:
        """Drop the unsent frames: the client no longer waits."""
        self.is_present = False
        self.clear()

    def send(self, frames: list[bytes]) -> None:
        """Send frames without waiting; drop them if the client is gone."""
        if self.is_present:
            super().send(frames)

    async def take(self, frame: bytes, token: str, judge: JudgeAnswer) -> None:
        """Pass on the answer to one of the requests."""
        frames = [await judge(self.session, frame)]
        if token in self.session.waiting():  # the frame does not answer it; no other will
            failure = Failure("the server broke the protocol", codes.PEER_BROKE_PROTOCOL)
            frames.append(await judge(self.session, failure.to_frame(token)))
        self._unanswered.discard(token)
        self.send([frame for frame in frames if frame is not None])
        if self.is_answered:
            self.end()

    def expire(self, judge: Judge) -> None:
        """Answer the requests that have waited for too long."""
        self.send(judge.answer_overdue(self.session, early_seconds=1))
        self._unanswered.clear()

    async def lose(self, failure: Failure, judge: JudgeAnswer) -> None:
        """Tell the client that no further answer will come."""
        for token in sorted(self._unanswered):
            await self.take(failure.to_frame(token), token, judge)

    def cancel(self, token: str) -> None:
        """Stop waiting for an answer that the client no longer wants."""
        self._unanswered.discard(token)
        if not self._unanswered:
            self.end()

    def abandon(self) -> None:
        """End without answers, because no answer can be sent any more."""
        if self._unanswered:
            self._unanswered.clear()
            self.end()
