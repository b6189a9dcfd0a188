"""Between threads and a loop: frames keep their order, and no wait is endless."""

import asyncio
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread

import pytest

from pipeguard.transports import bridge
from pipeguard.transports.bounded import MOST_BYTES, MOST_FRAMES
from pipeguard.transports.bridge import AsyncAdapter, BlockingAdapter
from pipeguard.transports.channel import ChannelClosed
from pipeguard.transports.stdio import LineChannel
from tests.transports.talking import QueuedChannel
from tests.transports.wire import PATIENCE_SECONDS, eventually


def begin(name: str, work: Callable[[], object]) -> Thread:
    thread = Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread


class Blocked:
    """A peer that accepts nothing until it is released, and sends a test's frames."""

    def __init__(self) -> None:
        self.said: SimpleQueue[bytes | None] = SimpleQueue()
        self.let = threading.Event()
        self.wait_taken: list[bytes] = []
        self.asked = 0
        self._closed = threading.Event()

    def read(self) -> bytes | None:
        self.asked += 1
        return self.said.get()

    def write(self, frame: bytes) -> None:
        self.let.wait(PATIENCE_SECONDS)
        if self._closed.is_set():
            raise ChannelClosed("closed")
        self.wait_taken.append(frame)

    def close(self) -> None:
        self._closed.set()
        self.let.set()
        self.said.put(None)


class Pipes:
    """Two pipes: a channel, and the peer's ends of it."""

    def __init__(self) -> None:
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        self.channel = LineChannel(ours_in, ours_out, 10_000)
        self.reads, self.writes = theirs_in, theirs_out
        self._ours = ours_in, ours_out

    def close(self) -> None:
        for descriptor in (self.reads, self.writes, *self._ours):
            with suppress(OSError):  # it is closed already
                os.close(descriptor)


@pytest.fixture
def pipes() -> Pipes:
    return Pipes()


async def test_frames_go_both_ways_in_their_order(pipes: Pipes) -> None:
    frames = [b'{"n":%d}' % number for number in range(3 * MOST_FRAMES)]
    looped = AsyncAdapter(pipes.channel, begin)
    os.write(pipes.writes, b"".join(frame + b"\n" for frame in frames))
    assert [await looped.read() for _ in frames] == frames
    for frame in frames:
        await looped.write(frame)
    told = b""
    while told.count(b"\n") < len(frames):
        told += await asyncio.to_thread(os.read, pipes.reads, 65536)
    assert told.split() == frames
    os.close(pipes.writes)
    assert await looped.read() is None
    await looped.close()
    pipes.close()


def refuse_thread(name: str, work: Callable[[], object]) -> Thread:
    raise AssertionError(f"a thread to {name} with {work}")


async def test_the_loop_itself_reads_pipes_and_writes_what_they_take(pipes: Pipes) -> None:
    looped = AsyncAdapter(pipes.channel, refuse_thread)
    os.write(pipes.writes, b"one\ntwo\nth")
    assert [await looped.read(), await looped.read()] == [b"one", b"two"]
    reading = asyncio.create_task(looped.read())
    os.write(pipes.writes, b"ree\nrest")
    assert await reading == b"three"
    await looped.write(b"answer")
    assert os.read(pipes.reads, 100) == b"answer\n"
    os.close(pipes.writes)
    assert [await looped.read(), await looped.read()] == [b"rest", None]
    os.close(pipes.reads)
    with pytest.raises(ChannelClosed):
        await looped.write(b"nobody reads this")
    await looped.finish()
    await looped.close()
    pipes.close()


async def test_frames_that_a_pipe_cannot_take_at_once_keep_their_order(pipes: Pipes) -> None:
    frames = [b"%d" % number * (1 if number % 3 else 5_000) for number in range(40)]
    looped = AsyncAdapter(pipes.channel, begin)
    writing = asyncio.gather(*(looped.write(frame) for frame in frames))
    told = b""
    while told.count(b"\n") < len(frames):
        told += await asyncio.to_thread(os.read, pipes.reads, 65536)
    await writing
    assert told.split() == frames
    await looped.write(b"last")
    await looped.finish()
    assert os.read(pipes.reads, 100) == b"last\n"
    await looped.close()
    pipes.close()


async def test_a_pipe_is_not_read_faster_than_it_is_heard(pipes: Pipes) -> None:
    line = b"x" * 1_000  # which a pipe takes whole or not at all
    os.set_blocking(pipes.writes, False)

    def fill() -> int:
        taken = 0
        with suppress(BlockingIOError):
            while True:
                taken += os.write(pipes.writes, line + b"\n")
        return taken

    looped = AsyncAdapter(pipes.channel, refuse_thread)
    taken = 0
    while more := fill():
        taken += more
        await asyncio.sleep(0.01)
    assert taken < MOST_BYTES
    for _ in range(MOST_FRAMES):
        assert await looped.read() == line
    await eventually(lambda: fill() > 0, "and again")
    await looped.close()
    assert await looped.read() is None
    pipes.close()


async def test_closing_a_pipe_wakes_whoever_waits_for_a_frame(pipes: Pipes) -> None:
    looped = AsyncAdapter(pipes.channel, refuse_thread)
    reading = asyncio.create_task(looped.read())
    await asyncio.sleep(0)
    await asyncio.to_thread(looped.join)
    assert await reading is None
    with pytest.raises(ChannelClosed):
        await looped.write(b"late")
    looped.abort()
    pipes.close()


async def test_nobody_waits_for_a_writing_thread_that_does_not_start(pipes: Pipes) -> None:
    looped = AsyncAdapter(pipes.channel, refuse_thread)
    with pytest.raises(AssertionError, match="a thread to write"):
        await looped.write(b"x" * 100_000)  # more than the pipe holds
    with pytest.raises(ChannelClosed):
        await looped.write(b"{}")
    await asyncio.wait_for(looped.finish(), PATIENCE_SECONDS)
    await looped.close()
    pipes.close()


async def test_a_peer_that_does_not_read_holds_writers_up_and_then_lets_all_go() -> None:
    peer = Blocked()
    looped = AsyncAdapter(peer, begin)
    writers = [
        asyncio.create_task(looped.write(b"%d" % number)) for number in range(2 * MOST_FRAMES)
    ]
    await eventually(lambda: sum(one.done() for one in writers) >= MOST_FRAMES, "it is full")
    assert sum(one.done() for one in writers) <= MOST_FRAMES + 1, "back-pressure"
    peer.let.set()
    await asyncio.gather(*writers)
    await eventually(lambda: len(peer.wait_taken) == len(writers), "all of it is taken")
    assert peer.wait_taken == [b"%d" % number for number in range(2 * MOST_FRAMES)]
    await looped.close()


@pytest.mark.parametrize("is_gone", [False, True])
async def test_all_who_wait_wake_when_either_side_is_gone(*, is_gone: bool) -> None:
    peer = Blocked()
    looped = AsyncAdapter(peer, begin)
    writers = [
        asyncio.create_task(looped.write(b"%d" % number)) for number in range(2 * MOST_FRAMES)
    ]
    reading = asyncio.create_task(looped.read())
    await eventually(lambda: sum(one.done() for one in writers) >= MOST_FRAMES, "it is full")
    if is_gone:
        peer.close()  # the next write fails, as to a pipe that nobody reads
    else:
        await looped.close()
    assert await reading is None
    told = await asyncio.gather(*writers, return_exceptions=True)
    refused = [one for one in told if isinstance(one, ChannelClosed)]
    assert len(refused) >= MOST_FRAMES - 1
    with pytest.raises(ChannelClosed):
        await looped.write(b"late")
    assert await looped.read() is None
    await looped.close()


class Broken:
    """A channel that fails unexpectedly, at reading or at writing."""

    def __init__(self, *, reads: bool) -> None:
        self._reads = reads
        self._closed = threading.Event()

    def read(self) -> bytes | None:
        if not self._reads:
            raise ValueError("nobody expected this")
        self._closed.wait(PATIENCE_SECONDS)
        return None

    def write(self, frame: bytes) -> None:
        raise ValueError("nobody expected this")

    def close(self) -> None:
        self._closed.set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("reads", [False, True])
async def test_a_thread_that_fails_ends_the_channel(
    *, reads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge, "LAST_FRAMES_SECONDS", 0.01)
    looped = AsyncAdapter(Broken(reads=reads), begin)
    with suppress(ChannelClosed):
        await looped.write(b"{}")
    assert await looped.read() is None
    assert await looped.read() is None
    if reads:
        with pytest.raises(ChannelClosed):
            await looped.write(b"{}")
    await looped.close()


async def test_few_large_frames_wait_and_the_next_is_not_read() -> None:
    peer = Blocked()
    looped = AsyncAdapter(peer, begin)
    for _ in range(9):
        peer.said.put(b"x" * 400_000)
    await eventually(lambda: peer.asked >= 3, "it was read")
    await asyncio.sleep(0.02)
    assert peer.asked == 3, "two fit, and a third waits to be handed over"
    for _ in range(9):
        assert len(await looped.read() or b"") == 400_000
    writers = [asyncio.create_task(looped.write(b"y" * 400_000)) for _ in range(9)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sum(one.done() for one in writers) == 2
    writers[5].cancel()
    peer.let.set()
    await asyncio.gather(*writers, return_exceptions=True)
    await eventually(lambda: len(peer.wait_taken) == 8, "all but the one that was given up")
    await looped.close()


# --- a loop's channel in threads ------------------------------------------------------------------


def test_threads_use_a_loops_channel() -> None:
    loop = asyncio.new_event_loop()
    running = begin("loop", loop.run_forever)
    inner = QueuedChannel()
    threaded = BlockingAdapter(loop, inner)
    threaded.write(b"up")
    assert inner.wait_taken == [b"up"]
    loop.call_soon_threadsafe(inner.frames.put_nowait, b"down")
    assert threaded.read() == b"down"
    heard: SimpleQueue[bytes | None] = SimpleQueue()
    waiting = begin("reader", lambda: heard.put(threaded.read()))
    threaded.close()
    waiting.join(PATIENCE_SECONDS)
    assert heard.get_nowait() is None
    with pytest.raises(ChannelClosed):
        threaded.write(b"late")
    loop.call_soon_threadsafe(loop.stop)
    running.join(PATIENCE_SECONDS)
    loop.close()


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_a_loop_that_is_gone_is_an_end() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    threaded = BlockingAdapter(loop, QueuedChannel())
    assert threaded.read() is None
    with pytest.raises(ChannelClosed):
        threaded.write(b"x")
    threaded.close()
