"""Queues of frames that are bounded in number and in bytes, and a bound for all peers together.

A single frame always fits, however large it is: the limit for one frame is elsewhere. Of the bytes
that peers make us keep (bodies that arrive slowly, answers that clients do not read), whatever has
waited longest is given up: an honest peer waits for a moment, an attacker for as long as it can.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from pipeguard.firewall.protocol import framing, strict_json

SPARE_BYTES = 4 * 2**20  # in addition to one message of the greatest size
LIMIT_BYTES = framing.DEFAULT_LIMIT_BYTES + SPARE_BYTES
SMALL_BYTES = 2**16  # so many bytes of a body are not counted: a small message needs no limit
MOST_FRAMES = 64
MOST_BYTES = 2**20
MOST_PARSED_BYTES = 2**16  # of a frame whose value, ten times that size, waits with it
UNTAKEN_SECONDS = 10.0  # a reader that takes nothing for so long is given up


class Allowance:
    """Room for frames on an event loop, given out in the order of the requests.

    Args:
        most_frames: at once.
        most_bytes: of all frames together, if there is more than one.
    """

    def __init__(self, most_frames: int = MOST_FRAMES, most_bytes: int = MOST_BYTES) -> None:
        self._most_frames, self._most_bytes = most_frames, most_bytes
        self._frames = self._bytes = 0
        self._is_open = False
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()

    async def enter(self, size: int) -> None:
        """Wait until there is room for a frame of `size` bytes."""
        if not self._waiting and self._fits(size):
            self._add(size)
            return
        entry = asyncio.get_running_loop().create_future(), size
        self._waiting.append(entry)
        try:
            await entry[0]
        except asyncio.CancelledError:
            if entry[0].done() and not entry[0].cancelled():
                self.leave(size)  # room was given in the same moment
            else:
                with suppress(ValueError):
                    self._waiting.remove(entry)
                self._admit()
            raise

    def has_one(self) -> bool:
        """True while a single frame has room here."""
        return self._frames == 1

    def leave(self, size: int) -> None:
        """Free the room of a frame of `size` bytes."""
        self._frames -= 1
        self._bytes -= size
        self._admit()

    def open(self) -> None:
        """Let everything in from now on: no bytes are stored any more."""
        self._is_open = True
        self._admit()

    def _fits(self, size: int) -> bool:
        if self._is_open or not self._frames:
            return True
        return self._frames < self._most_frames and self._bytes + size <= self._most_bytes

    def _add(self, size: int) -> None:
        self._frames += 1
        self._bytes += size

    def _admit(self) -> None:
        while self._waiting and self._fits(self._waiting[0][1]):
            waiter, size = self._waiting.popleft()
            if not waiter.done():
                self._add(size)
                waiter.set_result(None)


class Outbox:
    """Frames on an event loop for a reader that may be slow. None marks their end.

    Args:
        most_bytes: above which it is full.

    Attributes:
        size_bytes: of all frames in it.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.size_bytes = 0
        self._taken = asyncio.Event()
        self._adding = asyncio.Lock()  # whoever waits first is first
        self._has_ended = False

    def __len__(self) -> int:
        return self._queue.qsize()

    @property
    def is_full(self) -> bool:
        """True while it holds more bytes than it should."""
        return self.size_bytes > self._most_bytes

    def fits(self, frame: bytes) -> bool:
        """True if it would not be full with this frame."""
        return self.size_bytes + len(frame) <= self._most_bytes

    async def add(self, frame: bytes) -> None:
        """Add a frame once there is room, in the order of the calls; at once after the end."""
        async with self._adding:
            while len(self) and not self._has_ended:
                if len(self) < MOST_FRAMES and self.fits(frame):
                    break
                await self.wait_taken()
            self.put(frame)

    def put(self, frame: bytes) -> None:
        """Add a frame, whether it is full or not. Of several frames, one keeps its value."""
        keeps = self._queue.empty() and len(frame) < MOST_PARSED_BYTES
        self._queue.put_nowait(frame if keeps else strict_json.without_value(frame))
        self.size_bytes += len(frame)

    def end(self) -> None:
        """Mark the end."""
        self._has_ended = True
        self._taken.set()
        self._queue.put_nowait(None)

    async def get(self) -> bytes | None:
        """Take the next frame, None at the end."""
        frame = await self._queue.get()
        self.size_bytes -= len(frame or b"")
        self._taken.set()
        return frame

    def clear(self) -> list[bytes]:
        """Take all frames at once, and drop the mark of the end."""
        frames = []
        while not self._queue.empty():
            frame = self._queue.get_nowait()
            if frame is not None:
                frames.append(frame)
        self.size_bytes = 0
        self._taken.set()
        return frames

    async def wait_taken(self) -> None:
        """Wait until the reader takes something."""
        self._taken.clear()
        await self._taken.wait()


class Crowded(Exception):  # noqa: N818  whoever sent so much is at fault
    """The body was given up, to make room for others."""


class Backlog:
    """Counts waiting bytes, and gives up the longest waiting ones.

    Args:
        limit_bytes: of everything that waits.
    """

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._waiting: dict[object, tuple[int, Callable[[], object]]] = {}  # the longest first
        self._total = 0

    def note(self, key: object, size: int, cut: Callable[[], object]) -> None:
        """Set how many bytes wait under a key.

        Args:
            key: of the waiting bytes; its place in the order is kept until none wait.
            size: in bytes; 0 if none wait any more.
            cut: gives them up.
        """
        self._total += size - self._waiting.get(key, (0, cut))[0]
        if size:
            self._waiting[key] = size, cut
        else:
            self._waiting.pop(key, None)
        while self._total > self._limit:
            size, cut = self._waiting.pop(next(iter(self._waiting)))  # the oldest
            self._total -= size
            cut()

    def holding(self) -> "_HeldBody":
        """Count the body of the current task, as `with backlog.holding() as hold`."""
        return _HeldBody(self)


class _HeldBody:
    """Counts the growing body of one task in a backlog: call it with its size so far.

    While the body is small, it needs no limit, and is not counted.

    Raises:
        Crowded: the body was given up, by a call or on leaving the context.
    """

    __slots__ = ("_backlog", "_is_cut", "_is_noting", "_task")

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self._task: asyncio.Task[object] | None = None  # once something is counted
        self._is_cut = self._is_noting = False

    def __enter__(self) -> Self:
        return self

    def __call__(self, size: int) -> None:
        """Set the size of the body, in bytes."""
        if size <= SMALL_BYTES and self._task is None:
            return
        self._task = asyncio.current_task()
        self._is_noting = True
        self._backlog.note(self, max(0, size - SMALL_BYTES), self._cut)
        self._is_noting = False
        if self._is_cut:
            raise Crowded

    def _cut(self) -> None:
        self._is_cut = True
        if not self._is_noting and self._task is not None:
            self._task.cancel()

    def __exit__(self, _kind: object, error: object, _trace: object) -> None:
        if self._task is None:
            return
        self._backlog.note(self, 0, self._cut)
        is_ours = self._is_cut and isinstance(error, asyncio.CancelledError)
        if is_ours and not self._task.uncancel():
            raise Crowded from None
