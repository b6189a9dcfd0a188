"""Frames between real descriptors, carried both ways by two threads: transports/both_ways.py."""

import os
import select
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pipeguard.transports.both_ways import SMALL_BYTES, BothWays, carry, leave_turn
from pipeguard.transports.channel import AsyncChannel, Channel, ChannelClosed
from pipeguard.transports.descriptors import shut_writing
from pipeguard.transports.stdio import SOCKET_BYTES, LineChannel, free_bytes
from tests.launch.processes import PATIENCE_SECONDS, until
from tests.transports.test_stdio import sleeps

LARGE = b"L" * SMALL_BYTES
Way = Callable[[AsyncChannel, AsyncChannel], Coroutine[Any, Any, None]]


class Side:
    """One side of a conversation: the firewall's channel, and the peer's own ends."""

    def __init__(self, *, is_socket: bool) -> None:
        if is_socket:
            ours, theirs = socket.socketpair()
            ours_back, theirs_back = socket.socketpair()
            read_fd, self.write_fd = ours.detach(), theirs.detach()
            write_fd, self.read_fd = ours_back.detach(), theirs_back.detach()
        else:
            read_fd, self.write_fd = os.pipe()
            self.read_fd, write_fd = os.pipe()
        self.channel = LineChannel(read_fd, write_fd)
        self._lines = LineChannel(self.read_fd, self.write_fd)
        self._own = read_fd, write_fd, self.read_fd, self.write_fd

    def say(self, *frames: bytes) -> None:
        for frame in frames:
            self._lines.write(frame)

    def hear(self) -> bytes | None:
        return self._lines.read()

    def end(self) -> None:
        """Stop writing."""
        shut_writing(self.write_fd)

    def close(self) -> None:
        for descriptor in self._own:
            os.close(descriptor)


class Conversation:
    """A client and a server between which two threads carry frames."""

    def __init__(self, to_server: Way, *, is_socket: bool = False) -> None:
        self.client, self.server = Side(is_socket=is_socket), Side(is_socket=is_socket)
        self.threads: list[threading.Thread] = []
        carry(self._begin, self.client.channel, self.server.channel, (to_server, copy_back))

    def _begin(self, work: Callable[[], object]) -> None:
        self.threads.append(threading.Thread(target=work, daemon=True))
        self.threads[-1].start()

    def end(self) -> None:
        self.client.end()
        self.server.end()
        self.join()

    def join(self) -> None:
        for thread in self.threads:
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive()


@contextmanager
def conversation(to_server: Way, *, is_socket: bool = False) -> Iterator[Conversation]:
    talk = Conversation(to_server, is_socket=is_socket)
    try:
        yield talk
        talk.end()
    finally:
        talk.client.close()
        talk.server.close()


async def copy(source: AsyncChannel, sink: AsyncChannel) -> None:
    while (frame := await source.read()) is not None:
        await sink.write(frame)


async def copy_back(client: AsyncChannel, server: AsyncChannel) -> None:
    await copy(server, client)


@pytest.mark.parametrize("is_socket", [False, True])
def test_frames_of_any_size_pass_both_ways_in_order(is_socket: bool) -> None:
    frames = [b"1", LARGE, b"2", b"3" * 5000, LARGE * 20, b"4", b"5" * (SMALL_BYTES - 1), b"6"]
    with conversation(copy, is_socket=is_socket) as talk:
        for said, heard in ((talk.client, talk.server), (talk.server, talk.client)) * 3:
            saying = threading.Thread(target=said.say, args=frames, daemon=True)
            saying.start()
            assert [heard.hear() for _ in frames] == frames
            saying.join()


@pytest.mark.parametrize("is_socket", [False, True])
def test_who_reads_nothing_stops_one_way_only(is_socket: bool) -> None:
    with conversation(copy, is_socket=is_socket) as talk:
        frames = [b"%d" % number + b"x" * 3000 for number in range(200)]
        saying = threading.Thread(target=talk.client.say, args=frames, daemon=True)
        saying.start()
        for number in range(300):
            talk.server.say(b"%d" % number)
            assert talk.client.hear() == b"%d" % number
        assert [talk.server.hear() for _ in frames] == frames
        saying.join()


def test_what_takes_long_stops_one_way_only_and_comes_back() -> None:
    ready, alone = threading.Event(), list[bytes]()

    async def judge(source: AsyncChannel, sink: AsyncChannel) -> None:
        while (frame := await source.read()) is not None:
            if len(frame) >= SMALL_BYTES or frame == b"slow":
                await leave_turn()
                alone.append(frame[:4])
                ready.wait(PATIENCE_SECONDS)
            await sink.write(frame)

    with conversation(judge) as talk:
        for _ in range(5):
            for frame in (LARGE, b"slow"):
                ready.clear()
                talk.client.say(frame, b"behind it")
                until(lambda: bool(alone), "the way has left its turn")
                talk.server.say(b"other way")
                assert talk.client.hear() == b"other way"
                ready.set()
                assert [talk.server.hear(), talk.server.hear()] == [frame, b"behind it"]
                alone.clear()


def test_many_small_frames_do_not_stop_the_other_way() -> None:
    frames = [b"%d" % number + b"x" * 1000 for number in range(50)]
    passed = list[bool]()

    async def note(source: AsyncChannel, sink: AsyncChannel) -> None:
        while (frame := await source.read()) is not None:
            if frame == frames[0]:
                talk.server.say(b"other way")
            passed.append(bool(select.select([talk.client.read_fd], [], [], 0)[0]))
            await sink.write(frame)

    with conversation(note) as talk:
        os.write(talk.client.write_fd, b"\n".join([*frames, b""]))
        assert [talk.server.hear() for _ in frames] == frames
        assert passed.index(True) * len(frames[0]) < 2 * SMALL_BYTES
        assert talk.client.hear() == b"other way"


def test_threads_sleep_while_nothing_comes_and_end_with_the_last_way() -> None:
    with conversation(copy) as talk:
        until(lambda: all(map(sleeps, talk.threads)), "both threads wait")
        talk.client.end()
        talk.server.say(b"still there")
        assert talk.client.hear() == b"still there"
        until(lambda: all(map(sleeps, talk.threads)), "both threads wait")


def test_a_way_that_fails_ends_alone() -> None:
    failed = list[object]()
    before, threading.excepthook = threading.excepthook, failed.append

    async def fail(source: AsyncChannel, _: AsyncChannel) -> None:
        while (frame := await source.read()) is not None:
            if frame == b"alone":
                await leave_turn()
            raise LookupError(frame)

    try:
        for frame in (b"now", b"alone"):
            with conversation(fail) as talk:
                talk.client.say(frame)
                until(lambda: bool(failed), "the way has failed")
                talk.server.say(b"a", LARGE, b"b")
                assert [talk.client.hear() for _ in range(3)] == [b"a", LARGE, b"b"]
                failed.clear()
    finally:
        threading.excepthook = before


def test_a_peer_that_left_is_told_to_the_way_that_writes() -> None:
    gone = threading.Event()

    async def note(source: AsyncChannel, sink: AsyncChannel) -> None:
        try:
            await copy(source, sink)
        except ChannelClosed:
            gone.set()

    with conversation(note) as talk:
        os.dup2(os.open(os.devnull, os.O_RDONLY), talk.server.read_fd)
        talk.client.say(b"lost")
        assert gone.wait(PATIENCE_SECONDS)
        talk.server.say(b"last words")
        assert talk.client.hear() == b"last words"


def test_channels_without_descriptors_have_a_thread_each() -> None:
    class Plain:
        """A channel without known descriptors."""

        def __init__(self, channel: Channel) -> None:
            self.read, self.write, self.close = channel.read, channel.write, channel.close

    sides = Side(is_socket=False), Side(is_socket=False)
    threads = list[threading.Thread]()

    def begin(work: Callable[[], object]) -> None:
        threads.append(threading.Thread(target=work, daemon=True))
        threads[-1].start()

    carry(begin, sides[0].channel, Plain(sides[1].channel), (copy, copy_back))
    sides[0].say(b"to", LARGE)
    sides[1].say(b"back")
    assert [sides[1].hear(), sides[1].hear(), sides[0].hear()] == [b"to", LARGE, b"back"]
    for side in sides:
        side.end()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    for side in sides:
        side.close()


# --- writing what is taken at once ------------------------------------------------------


@pytest.mark.parametrize("is_socket", [False, True])
def test_nothing_is_written_at_once_that_could_block(is_socket: bool) -> None:
    side = Side(is_socket=is_socket)
    os.set_blocking(side.read_fd, False)
    written = 0
    while side.channel.write_ready(b"x" * 4000):
        written += 1
    assert written > 10
    assert not side.channel.write_ready(b"x" * 4000)
    os.read(side.read_fd, 2**20)
    if is_socket:
        assert side.channel.write_ready(b"x" * (SOCKET_BYTES - 1))
    side.close()


@pytest.mark.parametrize("buffer_bytes", [1, 4096, 20_000])
def test_a_socket_with_a_small_buffer_takes_little_at_once(buffer_bytes: int) -> None:
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
    channel = LineChannel(theirs.fileno(), ours.fileno())

    def write() -> None:
        for size in (30_000, 3000, 300) * 100:
            channel.write_ready(b"x" * size)

    writing = threading.Thread(target=write, daemon=True)
    writing.start()
    writing.join(PATIENCE_SECONDS)
    assert not writing.is_alive()
    assert not channel.write_ready(b"x" * 300)
    ours.close()
    theirs.close()


def test_nothing_is_written_at_once_to_a_socket_of_another_kind() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        assert not LineChannel(ours.fileno(), ours.fileno()).write_ready(b"{}")
        ours.close()


def test_an_empty_pipe_takes_all_that_it_holds() -> None:
    side = Side(is_socket=False)
    frame = b"x" * (free_bytes(side.channel._write_fd) - 1)
    assert not side.channel.write_ready(frame + b"x")
    assert side.channel.write_ready(frame)
    assert side.hear() == frame
    assert side.channel.write_ready(b"{}")
    assert not side.channel.write_ready(frame)
    side.close()


def test_nothing_is_written_at_once_while_another_thread_waits_in_a_write() -> None:
    side = Side(is_socket=False)
    waiting = threading.Thread(target=side.channel.write, args=(b"x" * 2**20,), daemon=True)
    waiting.start()
    until(lambda: sleeps(waiting), "the writer waits")
    assert not side.channel.write_ready(b"{}")
    assert side.hear() == b"x" * 2**20
    waiting.join()
    assert side.channel.write_ready(b"{}")
    assert side.hear() == b"{}"
    side.close()


def test_its_descriptors_are_closed_with_it() -> None:
    before = os.listdir("/proc/self/fd")
    BothWays(())
    assert os.listdir("/proc/self/fd") == before
