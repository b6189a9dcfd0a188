"""Between threads and an event loop: a channel of either kind, used as one of the other.

A child's pipes are read and written by threads, which works on every system; what comes over a
network lives on an event loop. Decides nothing and holds few frames.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Semaphore, Thread

from pipeguard.transports.channel import AsyncChannel, Channel, ChannelClosed

INBOX_FRAMES = 64  # that wait to be taken; then the peer is not read
CLOSE_SECONDS = 5.0


class Looped:
    """A channel of threads, used on an event loop.

    Args:
        channel: read by one thread of its own, written to by another.
        begin: starts a thread, given its name and its work.
    """

    def __init__(
        self, channel: Channel, begin: Callable[[str, Callable[[], object]], Thread]
    ) -> None:
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._outbox: SimpleQueue[bytes | None] = SimpleQueue()
        self._unread = Semaphore(INBOX_FRAMES)
        self._unsent = asyncio.Semaphore(INBOX_FRAMES)
        self._closed = self._deaf = False
        self._threads = begin("read", self._read_all), begin("write", self._write_all)

    async def read(self) -> bytes | None:
        """The next frame; None at the end."""
        if self._closed:
            return None
        frame = await self._inbox.get()
        self._unread.release()
        return frame

    async def write(self, frame: bytes) -> None:
        """Hand over a frame; waits while the peer does not read.

        Raises:
            ChannelClosed: the peer is gone, or this side was closed.
        """
        await self._unsent.acquire()
        if self._closed or self._deaf:
            self._unsent.release()  # for the next that waits, to hear the same
            raise ChannelClosed("closed")
        self._outbox.put(frame)

    async def close(self) -> None:
        """Hang up; a waiting `read` returns None."""
        if not self._closed:
            self._closed = True
            self._inbox.put_nowait(None)
            self._unsent.release()
            await self._loop.run_in_executor(None, self.join)

    def join(self) -> None:
        """Wait for the threads, once the peer is gone or the channel is closed here."""
        self._closed = True
        self._channel.close()
        self._outbox.put(None)
        self._unread.release(INBOX_FRAMES)  # for a thread that waits to hand a frame over
        for thread in self._threads:
            thread.join(CLOSE_SECONDS)

    def _read_all(self) -> None:
        with suppress(RuntimeError):  # the loop is gone
            while (frame := self._channel.read()) is not None and not self._closed:
                self._unread.acquire()
                self._loop.call_soon_threadsafe(self._inbox.put_nowait, frame)
            self._loop.call_soon_threadsafe(self._inbox.put_nowait, None)

    def _write_all(self) -> None:
        with suppress(RuntimeError, ChannelClosed):
            while (frame := self._outbox.get()) is not None:
                self._channel.write(frame)
                self._loop.call_soon_threadsafe(self._unsent.release)
        self._deaf = True
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._unsent.release)


class Threaded:
    """A channel of an event loop, used by threads. The loop runs in a thread of its own.

    Args:
        loop: where the channel lives.
        channel: it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, channel: AsyncChannel) -> None:
        self._loop = loop
        self._channel = channel

    def read(self) -> bytes | None:
        """The next frame; None at the end."""
        try:
            return asyncio.run_coroutine_threadsafe(self._channel.read(), self._loop).result()
        except (RuntimeError, asyncio.CancelledError):  # the loop is gone
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
