"""Frames on their way to one HTTP response, counted in bytes; knows no HTTP and no session."""

from __future__ import annotations

import asyncio

from pipeguard.core.protocol.strict_json import without_value
from pipeguard.transports.backlog import Backlog
from pipeguard.transports.bounded import UNTAKEN_SECONDS, Outbox

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
                    await self._frames.taken()
        except TimeoutError:
            self.cut()

    def _count(self) -> None:
        self._backlog.note(self, self._frames.size_bytes, self.cut)
