"""Adapters between threads and an event loop: a channel of either kind, used as the other kind.

An event loop reads a pipe itself, and writes as much as the pipe takes at once. Threads do the
rest, because they work on every system. Decides nothing, and buffers few frames.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Event, Thread

from pipeguard.firewall.protocol.strict_json import without_value
from pipeguard.transports.bounded import MOST_BYTES, MOST_FRAMES, Allowance
from pipeguard.transports.channel import AsyncChannel, Channel, ChannelClosed
from pipeguard.transports.stdio import LineChannel

CLOSE_SECONDS = 5.0
LAST_FRAMES_SECONDS = 2.0  # for the last frames of a peer that reads nothing any more


class AsyncAdapter:
    """A blocking channel, used on an event loop.

    A thread that ends, for whatever reason, ends the channel, so that no reader waits in vain.

    Args:
        channel: belongs to this adapter; one thread reads it, another one writes to it.
        begin: starts a thread, given its name and its work.
    """

    def __init__(
        self, channel: Channel, begin: Callable[[str, Callable[[], object]], Thread]
    ) -> None:
        self._channel = channel
        self._begin = begin
        self._loop = asyncio.get_running_loop()
        self._inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._outbox: SimpleQueue[bytes | None] = SimpleQueue()
        # Frames and bytes, counted separately as they come in and as they are taken.
        self._came = self._came_bytes = self._went = self._went_bytes = 0
        self._taken = Event()
        self._unsent = Allowance()
        self._closed = self._writer_ended = self._reader_ended = False
        self._written = asyncio.Event()
        self._threads: list[Thread] = []
        self._pipe: LineChannel | None = None
        self._watches = self._writes = False  # the loop watches the pipe; a thread writes
        if isinstance(channel, LineChannel) and channel.can_be_watched():
            self._pipe = channel
            self._watch(channel)
        else:
            self._threads.append(begin("read", self._read_all))

    async def read(self) -> bytes | None:
        """Wait for the next frame; None at the end."""
        if self._closed or (self._reader_ended and self._inbox.empty()):
            return None
        frame = await self._inbox.get()
        if frame is not None:
            self._went += 1
            self._went_bytes += len(frame)
            self._taken.set()
        waits = not (self._watches or self._reader_ended)
        if self._pipe is not None and waits and self._has_room():
            self._watch(self._pipe)
        return frame

    async def write(self, frame: bytes) -> None:
        """Send a frame, or hand it to the writing thread; waits while the peer does not read.

        Raises:
            ChannelClosed: the peer is gone, or this side was closed.
        """
        await self._unsent.enter(len(frame))
        if self._closed or self._writer_ended:
            raise ChannelClosed("closed")
        try:
            if self._pipe is not None and self._unsent.has_one() and self._pipe.write_ready(frame):
                self._unsent.leave(len(frame))
                return
            if not self._writes:
                self._threads.append(self._begin("write", self._write_all))
                self._writes = True
        except BaseException:
            self._end_writing()
            raise
        self._outbox.put(without_value(frame))

    async def close(self) -> None:
        """Hang up; a waiting `read` returns None."""
        if not self._closed:
            self._closed = True
            self._end_reading()
            self._unsent.open()
            await self._loop.run_in_executor(None, self.join)

    async def finish(self) -> None:
        """Send the frames that still wait to be written; no more are sent after that."""
        if self._writes:
            self._outbox.put(None)
            await self._written.wait()
        self._writer_ended = True

    def abort(self) -> None:
        """Hang up on a peer that may not read, without waiting for a thread."""
        self._closed = True
        self._end_reading()
        self._channel.close()
        self._taken.set()
        self._unsent.open()

    def join(self) -> None:
        """Wait for the threads, once the peer is gone or the channel is closed here.

        Called in a thread: the loop lets go of the descriptor before it is shut.
        """
        self._closed = True
        stopped = Event()
        if self._pipe is not None and self._call(self._end_reading) and self._call(stopped.set):
            stopped.wait(CLOSE_SECONDS)
        self._channel.close()
        self._outbox.put(None)
        self._taken.set()  # for a thread that waits for room in the inbox
        for thread in self._threads:
            thread.join(CLOSE_SECONDS)

    # --- on the loop ----------------------------------------------------------------------

    def _watch(self, pipe: LineChannel) -> None:
        self._watches = True
        self._loop.add_reader(pipe.read_fd, self._read_ready, pipe)

    def _unwatch(self) -> None:
        if self._pipe is not None and self._watches:
            self._watches = False
            self._loop.remove_reader(self._pipe.read_fd)

    def _has_room(self) -> bool:
        unread_bytes = self._came_bytes - self._went_bytes
        is_full = self._came - self._went >= MOST_FRAMES or unread_bytes >= MOST_BYTES
        return self._closed or not is_full

    def _count(self, frame: bytes) -> None:
        self._came += 1
        self._came_bytes += len(frame)

    def _read_ready(self, pipe: LineChannel) -> None:
        frames: list[bytes] | None = None
        try:
            frames = pipe.read_ready()
        finally:
            if frames is None:
                self._end_reading()
        for frame in frames or ():
            self._count(frame)
            self._inbox.put_nowait(frame)
        if not self._has_room():
            self._unwatch()

    def _end_reading(self) -> None:
        self._unwatch()
        self._reader_ended = True
        self._inbox.put_nowait(None)

    def _end_writing(self) -> None:
        """Read the peer's last frames for a moment, then stop."""
        self._writer_ended = True
        self._written.set()
        self._unsent.open()
        if not self._closed:
            self._loop.call_later(LAST_FRAMES_SECONDS, self._end_reading)

    # --- in the threads -------------------------------------------------------------------

    def _read_all(self) -> None:
        try:
            while (frame := self._channel.read()) is not None and not self._closed:
                self._count(frame)
                self._call(self._inbox.put_nowait, frame)
                while not self._has_room():
                    self._taken.wait()
                    self._taken.clear()
        finally:
            self._call(self._end_reading)

    def _write_all(self) -> None:
        try:
            with suppress(ChannelClosed):
                while (frame := self._outbox.get()) is not None:
                    self._channel.write(frame)
                    self._call(self._unsent.leave, len(frame))
        finally:
            self._writer_ended = True  # at once; the loop does the rest
            self._call(self._end_writing)

    def _call(self, function: Callable[..., object], *arguments: object) -> bool:
        """Call on the loop; False if that is closed."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)
            return True
        return False


class BlockingAdapter:
    """A channel of an event loop, used by threads. The loop runs in a thread of its own.

    Args:
        loop: on which the channel lives.
        channel: the asynchronous channel.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, channel: AsyncChannel) -> None:
        self._loop = loop
        self._channel = channel

    def read(self) -> bytes | None:
        """Wait for the next frame; None at the end."""
        try:
            return asyncio.run_coroutine_threadsafe(self._channel.read(), self._loop).result()
        except (RuntimeError, asyncio.CancelledError):  # the loop is closed
            return None

    def write(self, frame: bytes) -> None:
        """Send a frame.

        Raises:
            ChannelClosed: the peer is gone, or this side was closed.
        """
        try:
            asyncio.run_coroutine_threadsafe(self._channel.write(frame), self._loop).result()
        except (RuntimeError, asyncio.CancelledError):
            raise ChannelClosed("closed") from None

    def close(self) -> None:
        """Hang up; a waiting `read` returns None."""
        with suppress(RuntimeError, asyncio.CancelledError, TimeoutError):
            closing = asyncio.run_coroutine_threadsafe(self._channel.close(), self._loop)
            closing.result(CLOSE_SECONDS)
