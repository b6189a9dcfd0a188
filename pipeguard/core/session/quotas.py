"""How much a peer may send that nobody asked for: notifications, and output that is no message."""

from __future__ import annotations

from pipeguard.core.finding import Finding
from pipeguard.core.protocol.framing import Oversized
from pipeguard.core.session.envelope import dropped

# A line whose id is known may be this many times over the limit. A longer one never ends, and all
# other answers wait behind it.
ENDLESS = 64


class NotificationQuota:
    """The notifications of one direction within the current second."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._since = float("-inf")
        self._count = self._dropped = 0
        self._is_reported = False

    def take(self, now: float, *, is_expendable: bool) -> list[Finding] | None:
        """Count a notification.

        Returns:
            None if it may go on. If it is dropped, the reason, once a second.
        """
        if now - self._since >= 1.0:
            self._since, self._count, self._is_reported = now, 0, False
        self._count += 1
        if self._count <= self._limit or not is_expendable:
            return None
        self._dropped += 1
        if self._is_reported:
            return []
        self._is_reported = True
        return dropped(
            "protocol.flood",
            f"more than {self._limit} notifications came in a second: progress and log messages"
            f" beyond that are dropped ({self._dropped} so far)",
        )


class UnreadableOutput:
    """How much of a server's output could not be read since its last message that could.

    Text on standard output is common, and a line of it costs nobody an answer. If it is larger
    than a whole frame may be, it contained an answer, or the server has gone astray.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._size = 0
        self._is_identified = False  # whether the id in the current endless line could be read

    def reset(self) -> None:
        """The server sent something that can be read."""
        self._size, self._is_identified = 0, False

    def identify(self, frame: bytes) -> None:
        """The id in a frame could be read: the rest of its line is nobody else's answer."""
        self._is_identified = isinstance(frame, Oversized) and not frame.tail

    def exceeds(self, frame: bytes) -> bool:
        """Count a frame without a legible id; True if the total is over the limit."""
        size = frame.size if isinstance(frame, Oversized) else len(frame)
        if self._is_identified and isinstance(frame, Oversized) and not frame.head:
            self._is_identified = not frame.tail
            size //= ENDLESS
        self._size += size
        is_exceeded = self._size > self._limit
        if is_exceeded:
            self._size = 0
        return is_exceeded
