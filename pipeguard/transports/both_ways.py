"""Both ways of a conversation over descriptors, carried by turns.

Two threads that judge small frames at the same time take the interpreter's lock from each other
several times a frame, which costs more than judging. So the thread that has the turn waits for both
sides at once, and carries small frames. Before a step that may take long, it leaves the turn to the
other thread and continues with only that one way; then it waits for its turn again (leader and
followers, Schmidt et al., "Pattern-Oriented Software Architecture", volume 2).
"""

from __future__ import annotations

import os
import select
from _thread import allocate_lock
from collections import deque
from contextlib import suppress
from functools import partial
from types import coroutine
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

from pipeguard.transports.channel import Channel
from pipeguard.transports.descriptors import Waker

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Iterable

    from pipeguard.transports.channel import AsyncChannel
    from pipeguard.transports.stdio import LineChannel

    Work = Coroutine[LineChannel | None, None, None]  # carries frames one way
    Way = Callable[[AsyncChannel, AsyncChannel], Work]

T = TypeVar("T")
SMALL_BYTES = 16 * 1024  # of frames that are judged while the other way waits


@runtime_checkable
class LineBased(Channel, Protocol):
    """A channel over descriptors that a thread can watch.

    Attributes:
        lines: over the same descriptors; None if no thread can watch them, as on Windows.
    """

    lines: LineChannel | None

    def write_ready(self, frame: bytes) -> bool:
        """Send one frame if that cannot block; False if it could.

        Raises:
            ChannelClosed: the peer is gone, or this side was closed.
        """


@coroutine
def _wait(channel: LineChannel | None) -> Generator[LineChannel | None, None, None]:
    """Suspend a way until a channel has bytes or lines; without one, only leave the turn."""
    yield channel


async def leave_turn() -> None:
    """Let the other way continue: the next step may take long."""
    await _wait(None)


def run_alone(work: Coroutine[LineChannel | None, None, T]) -> T:
    """Run a coroutine that waits only in blocking calls."""
    while True:
        try:
            work.send(None)
        except StopIteration as end:
            result: T = end.value
            return result


class BlockingChannel:
    """A blocking channel with the methods of an asynchronous one, which block."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def read(self) -> bytes | None:
        """Wait for the next frame."""
        return self._channel.read()

    async def write(self, frame: bytes) -> None:
        """Send a frame.

        Raises:
            ChannelClosed: the peer is gone, or this side was closed.
        """
        self._channel.write(frame)

    async def close(self) -> None:
        """Hang up."""
        self._channel.close()


class TurnChannel(BlockingChannel):
    """A channel for the coroutines of `BothWays`, which leave their turn before they block.

    Args:
        channel: that is read and written to.
        lines: behind it.
    """

    def __init__(self, channel: LineBased, lines: LineChannel) -> None:
        super().__init__(channel)
        self._write_ready, self._lines = channel.write_ready, lines
        self._size = 0  # of the frames since the other way could continue

    async def read(self) -> bytes | None:
        """Wait for the next frame; a large one is read without the turn."""
        if self._size >= SMALL_BYTES and self._lines.has_line:
            self._size = 0
            await _wait(self._lines)
        while not self._lines.has_line:
            self._size = 0
            await _wait(self._lines)
            self._lines.fill()
        frame = self._channel.read()
        if frame is not None:
            self._size += len(frame)
            if len(frame) >= SMALL_BYTES:
                await leave_turn()
        return frame

    async def write(self, frame: bytes) -> None:
        """Send a frame, without the turn if the peer does not take it at once.

        Raises:
            ChannelClosed: the peer is gone, or this side was closed.
        """
        if not self._write_ready(frame):
            await leave_turn()
            self._channel.write(frame)


class _Way:
    """A coroutine that carries frames one way, and the channel that it waits for.

    Attributes:
        channel: that has to be readable before it continues; None if it continues at once.
        has_more: True if it stopped for the other way, and its channel has further lines.
        has_ended: True once it has returned.
    """

    __slots__ = ("_work", "channel", "has_ended", "has_more")

    def __init__(self, work: Work) -> None:
        self._work = work
        self.channel: LineChannel | None = None
        self.has_ended = self.has_more = False

    def has_left_turn(self) -> bool:
        """True if it continues at once, in a thread without the turn."""
        return self.channel is None and not self.has_ended

    def proceed(self) -> None:
        """Run until it waits, leaves its turn, or ends."""
        self.channel, self.has_ended, self.has_more = None, True, False  # in case it raises
        with suppress(StopIteration):
            self.channel = self._work.send(None)
            self.has_ended = False
            self.has_more = self.channel is not None and self.channel.has_line


class BothWays:
    """The ways of one conversation, carried by as many threads; each thread calls `run`.

    Not on Windows, because no thread can wait for two pipes there.

    Args:
        ways: coroutines that suspend in a `TurnChannel` and in `leave_turn` only.
    """

    def __init__(self, ways: Iterable[Work]) -> None:
        self._turn = allocate_lock()
        self._watched: dict[int, _Way] = {}  # by descriptor
        self._poll = select.poll()
        self._waker = Waker()  # gets a byte for each way that returned
        self._poll.register(self._waker.woken, select.POLLIN)
        self._returned = deque[_Way]()  # from a thread without the turn
        self._open = 0  # ways that have not ended
        for work in ways:
            self._open += 1
            self._carry_alone(_Way(work))

    def run(self) -> None:
        """Carry frames until every way has ended."""
        while True:
            with self._turn:
                way = self._lead()
            if way is None:
                return
            self._carry_alone(way)

    def _lead(self) -> _Way | None:
        """Carry small frames; return a way that left its turn, or None once all have ended."""
        while self._open:
            for way in self._find_ready():
                if self._leaves_turn(way):
                    return way
        return None

    def _find_ready(self) -> list[_Way]:
        """Wait until a way can continue; ways that only stopped for the others come last."""
        stopped = [way for way in self._watched.values() if way.has_more]
        ready = list[_Way]()
        for descriptor, _ in self._poll.poll(0 if stopped else None):
            if descriptor == self._waker.woken:
                os.read(descriptor, 1)
                self._settle(self._returned.popleft())
                continue
            way = self._watched[descriptor]
            if way.channel is not None and descriptor == way.channel.read_fd:
                way.channel.is_ready = True
            if way not in ready:
                ready.append(way)
        return [*ready, *(way for way in dict.fromkeys(stopped) if way not in ready)]

    def _leaves_turn(self, way: _Way) -> bool:
        """Carry small frames of one way; True if it left its turn."""
        channel = way.channel
        try:
            way.proceed()
        finally:
            if way.channel is not channel:
                for descriptor in [each for each in self._watched if self._watched[each] is way]:
                    del self._watched[descriptor]
                    self._poll.unregister(descriptor)
                self._settle(way)
        return way.has_left_turn()

    def _carry_alone(self, way: _Way) -> None:
        """Carry one way until it has to wait, then hand it back to the thread with the turn."""
        try:
            while way.has_left_turn():
                way.proceed()
        finally:
            self._returned.append(way)
            self._waker.wake()

    def _settle(self, way: _Way) -> None:
        """Watch the channel that a way waits for, or count the way as ended."""
        if way.channel is not None:
            for descriptor in way.channel.awaited:
                self._watched[descriptor] = way
                self._poll.register(descriptor, select.POLLIN)
        elif way.has_ended:
            self._open -= 1


def carry(
    begin: Callable[[Callable[[], object]], object],
    client: Channel,
    server: Channel,
    ways: tuple[Way, Way],
) -> None:
    """Carry frames between two channels in two threads: by turns if that is possible.

    Args:
        begin: starts a thread with its work.
        client: the channel to the client.
        server: the channel to the server.
        ways: make the coroutines, given the channels of the client and the server.
    """
    channels = client, server
    watched = [
        TurnChannel(channel, channel.lines)
        for channel in channels
        if isinstance(channel, LineBased) and channel.lines is not None
    ]
    if len(watched) == len(channels):
        both = BothWays(way(*watched) for way in ways)
        for _ in channels:
            begin(both.run)
    else:
        for way in ways:
            begin(partial(run_alone, way(*map(BlockingChannel, channels))))
