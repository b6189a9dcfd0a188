"""One exchange over HTTP: a POST with requests, and the stream of its answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from time import monotonic

from pipeguard.core.protocol import codes
from pipeguard.core.session.session import Session
from pipeguard.transports.backlog import Backlog
from pipeguard.transports.failure import Failure
from pipeguard.transports.http.server.streams import Stream

JudgeAnswer = Callable[[Session, bytes], Awaitable[bytes | None]]


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
            frames.append(await judge(self.session, failure.lost(token)))
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
            await self.take(failure.lost(token), [token], judge)

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
