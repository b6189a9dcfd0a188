"""Frames that wait to be taken: so many, of so many bytes, and whoever brings more waits.

A single frame always has room, however large it may be: there is a limit for one frame elsewhere.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from threading import Condition

MOST_FRAMES = 64
MOST_BYTES = 2**20


class Allowance:
    """Room for frames on an event loop, given in the order in which it is asked for.

    Args:
        most_frames: at once.
        most_bytes: of them together, where there is more than one.
    """

    def __init__(self, most_frames: int = MOST_FRAMES, most_bytes: int = MOST_BYTES) -> None:
        self._most_frames = most_frames
        self._most_bytes = most_bytes
        self._frames = self._bytes = 0
        self._is_open = False
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()

    async def enter(self, size: int) -> None:
        """Wait until there is room for so many bytes."""
        if not self._waiting and self._fits(size):
            self._count(size)
            return
        entry = asyncio.get_running_loop().create_future(), size
        self._waiting.append(entry)
        try:
            await entry[0]
        except asyncio.CancelledError:
            if entry[0].done() and not entry[0].cancelled():
                self.leave(size)  # it was given at this moment
            else:
                with suppress(ValueError):
                    self._waiting.remove(entry)
                self._admit()
            raise

    def leave(self, size: int) -> None:
        """A frame of so many bytes was taken."""
        self._frames -= 1
        self._bytes -= size
        self._admit()

    def open(self) -> None:
        """Let everybody in from now on: nothing is kept any more."""
        self._is_open = True
        self._admit()

    def _fits(self, size: int) -> bool:
        if self._is_open or not self._frames:
            return True
        return self._frames < self._most_frames and self._bytes + size <= self._most_bytes

    def _count(self, size: int) -> None:
        self._frames += 1
        self._bytes += size

    def _admit(self) -> None:
        while self._waiting and self._fits(self._waiting[0][1]):
            waiter, size = self._waiting.popleft()
            if not waiter.done():
                self._count(size)
                waiter.set_result(None)


class ThreadAllowance:
    """The same between threads, of which one enters."""

    def __init__(self, most_frames: int = MOST_FRAMES, most_bytes: int = MOST_BYTES) -> None:
        self._most_frames = most_frames
        self._most_bytes = most_bytes
        self._frames = self._bytes = 0
        self._is_open = False
        self._changed = Condition()

    def enter(self, size: int) -> None:
        """Wait until there is room for so many bytes."""
        with self._changed:
            while not self._fits(size):
                self._changed.wait()
            self._frames += 1
            self._bytes += size

    def leave(self, size: int) -> None:
        """A frame of so many bytes was taken."""
        with self._changed:
            self._frames -= 1
            self._bytes -= size
            self._changed.notify_all()

    def open(self) -> None:
        """Let everybody in from now on: nothing is kept any more."""
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    def _fits(self, size: int) -> bool:
        if self._is_open or not self._frames:
            return True
        return self._frames < self._most_frames and self._bytes + size <= self._most_bytes


class Frames:
    """A queue of frames on an event loop, with None for its end.

    Args:
        most_frames: that wait.
        most_bytes: of them together, where there is more than one.
    """

    def __init__(self, most_frames: int = MOST_FRAMES, most_bytes: int = MOST_BYTES) -> None:
        self._allowance = Allowance(most_frames, most_bytes)
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def put(self, frame: bytes) -> None:
        """Add a frame; waits while the others are not taken."""
        await self._allowance.enter(len(frame))
        self._queue.put_nowait(frame)

    def end(self) -> None:
        """Nothing comes any more; who still brings something does not wait."""
        self._allowance.open()
        self._queue.put_nowait(None)

    def empty(self) -> bool:
        """True where nothing waits."""
        return self._queue.empty()

    async def get(self) -> bytes | None:
        """The next frame; None at the end."""
        frame = await self._queue.get()
        if frame is not None:
            self._allowance.leave(len(frame))
        return frame
