"""Frames on their way to one HTTP response, counted in bytes; knows no HTTP and no session."""

from __future__ import annotations

import asyncio

from pipeguard.transports.backlog import Backlog

STREAM_BYTES = 2**18  # that wait for one client; then its server is not read
UNTAKEN_SECONDS = 10.0  # after which a client that takes nothing is given up


class Stream:
    """Frames on their way to one HTTP response.

    Args:
        backlog: of all that clients do not take; where there is too much of it, the stream of the
            client that takes nothing for the longest time is cut.

    Attributes:
        is_cut: True once it was given up: what waited in it is gone, and no more goes in.
    """

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self._frames: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._bytes = 0
        self._taken = asyncio.Event()
        self.is_cut = False

    def tell(self, frames: list[bytes]) -> None:
        """Send these, without waiting."""
        for frame in frames:
            if not self.is_cut:
                self._frames.put_nowait(frame)
                self._count(len(frame))

    def end(self) -> None:
        """Nothing comes any more."""
        self._frames.put_nowait(None)

    def cut(self) -> None:
        """Give up what waits, and end."""
        self.is_cut = True
        self.untaken()
        self.end()

    @property
    def is_taken(self) -> bool:
        """True while nothing waits to be sent."""
        return self._frames.empty()

    @property
    def is_full(self) -> bool:
        """True while so much waits that a server which may be made to wait does."""
        return self._bytes > STREAM_BYTES

    def untaken(self) -> list[bytes]:
        """What nobody has taken."""
        frames = []
        while not self._frames.empty():
            frame = self._frames.get_nowait()
            if frame is not None:
                frames.append(frame)
        self._count(-self._bytes)
        return frames

    async def next(self, awake_seconds: float) -> bytes | None:
        """The next frame; nothing after so long a silence; None at the end."""
        try:
            async with asyncio.timeout(awake_seconds):
                frame = await self._frames.get()
        except TimeoutError:
            return b""
        self._count(-len(frame or b""))
        return frame

    async def make_wait(self) -> None:
        """Wait while much of it is not taken; a client that takes nothing for long is given up."""
        try:
            while self.is_full:
                self._taken.clear()
                async with asyncio.timeout(UNTAKEN_SECONDS):
                    await self._taken.wait()
        except TimeoutError:
            self.cut()

    def _count(self, more: int) -> None:
        self._bytes += more
        if more <= 0:
            self._taken.set()
        self._backlog.note(self, self._bytes, self.cut)
