"""The common part of channels whose frames arrive in tasks of their own."""

from __future__ import annotations

from pipeguard.transports.bounded import FrameQueue
from pipeguard.transports.channel import ChannelClosed
from pipeguard.transports.tasks import Tasks


class InboxChannel:
    """A channel that is read from a queue.

    An unexpected error in one of its tasks ends the channel, so that nobody waits for an answer.
    """

    def __init__(self) -> None:
        self._inbox = FrameQueue()
        self._tasks = Tasks(self._fail)
        self._closed = False

    async def read(self) -> bytes | None:
        """Wait for the server's next frame; a Lost in place of an answer that will not come."""
        return None if self._closed and self._inbox.empty() else await self._inbox.get()

    def _check_open(self) -> None:
        """Raise ChannelClosed if this side was closed."""
        if self._closed:
            raise ChannelClosed("closed")

    def _fail(self) -> None:
        self._closed = True
        self._inbox.end()
