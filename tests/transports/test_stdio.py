"""Frames over real descriptors, and the server's standard error: transports/stdio.py, stderr.py."""

import os
import pty
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeguard.transports import descriptors, stderr, stdio
from pipeguard.transports.channel import Channel, ChannelClosed
from pipeguard.transports.descriptors import shut_reading, shut_writing, widen
from pipeguard.transports.stderr import PIECE_BYTES, WORD_BYTES, StderrCopy, neutralise
from pipeguard.transports.stdio import LineChannel
from tests.launch.processes import PATIENCE_SECONDS, launch, python, read_all, until

FRAMES = [b'{"a":1}', '{"b":"ü\u2028é"}'.encode(), b'{"c":"\\n"}', b"[" + b"1," * 9 + b"1]"]
STREAM = b"".join(frame + b"\n" for frame in FRAMES)
LIMIT = 64 * 1024
REPOSITORY = Path(__file__).parents[2]


@contextmanager
def wire(limit_bytes: int = LIMIT) -> Iterator[tuple[LineChannel, int, int]]:
    """A channel, with a descriptor to write its input, and one to read its output."""
    read_end, to_channel = os.pipe()
    from_channel, write_end = os.pipe()
    try:
        yield LineChannel(read_end, write_end, limit_bytes), to_channel, from_channel
    finally:
        for descriptor in (read_end, to_channel, from_channel, write_end):
            os.close(descriptor)


def sleeps(thread: threading.Thread) -> bool:
    """True if a thread is not running: it waits in the kernel."""
    with open(f"/proc/self/task/{thread.native_id}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[0] == b"S"


def test_frames_split_anywhere_come_whole() -> None:
    for position in range(len(STREAM) + 1):
        with wire() as (channel, to_channel, _):
            os.write(to_channel, STREAM[:position])
            complete = STREAM[:position].count(b"\n")
            assert [channel.read() for _ in range(complete)] == FRAMES[:complete]
            os.write(to_channel, STREAM[position:])
            assert [channel.read() for _ in FRAMES[complete:]] == FRAMES[complete:]


def test_writers_do_not_mix_their_frames() -> None:
    frames = [bytes([letter]) * 30_000 for letter in b"abcd"]

    def write_often(channel: Channel, frame: bytes) -> None:
        for _ in range(20):
            channel.write(frame)

    with wire() as (channel, _, from_channel), ThreadPoolExecutor(4) as pool:
        for frame in frames:
            pool.submit(write_often, channel, frame)
        null = os.open(os.devnull, os.O_WRONLY)
        reader = LineChannel(from_channel, null)
        got = [reader.read() for _ in range(80)]
        os.close(null)
        assert sorted(filter(None, got)) == sorted(frames * 20)


def test_a_frame_with_a_newline_is_never_written() -> None:
    with wire() as (channel, _, from_channel):
        with pytest.raises(ValueError, match="newline"):
            channel.write(b"{}\n{}")
        channel.close()
        assert read_all(from_channel) == b""


def test_a_peer_that_does_not_read_blocks_the_writer_but_not_the_reader() -> None:
    with wire() as (channel, to_channel, from_channel):
        writer = threading.Thread(target=channel.write, args=(b"x" * 2**20,), daemon=True)
        writer.start()
        os.read(from_channel, 1)  # it has begun
        os.write(to_channel, b"{}\n")
        assert channel.read() == b"{}"
        assert writer.is_alive()
        left = 2**20
        while left:
            left -= len(os.read(from_channel, 2**20))
        writer.join(PATIENCE_SECONDS)
        assert not writer.is_alive()


def test_close_wakes_a_waiting_read_and_ends_both_ways() -> None:
    with wire() as (channel, to_channel, from_channel):
        seen: list[bytes | None] = []
        reader = threading.Thread(target=lambda: seen.append(channel.read()), daemon=True)
        reader.start()
        until(lambda: sleeps(reader), "the reader waits")
        channel.close()
        reader.join(PATIENCE_SECONDS)
        assert seen == [None]
        assert channel.read() is None
        assert os.read(from_channel, 1) == b""
        with pytest.raises(BrokenPipeError):
            os.write(to_channel, b"x")
        with pytest.raises(ChannelClosed):
            channel.write(b"{}")
        channel.close()


def test_each_way_closes_by_itself() -> None:
    with wire() as (channel, to_channel, from_channel):
        channel.close_writing()
        assert os.read(from_channel, 1) == b""
        os.write(to_channel, b"{}\n")
        assert channel.read() == b"{}"
        with pytest.raises(ChannelClosed):
            channel.write(b"{}")
    with wire() as (channel, _, from_channel):
        channel.close_reading()
        channel.close_reading()
        assert channel.read() is None
        channel.write(b"{}")
        assert os.read(from_channel, 9) == b"{}\n"


def test_reading_can_be_finished_with_what_is_there() -> None:
    with wire(2**20) as (channel, to_channel, _):
        widen(to_channel)  # so that it takes two reads
        os.write(to_channel, b"1\n" + b"2" * 100_000 + b"\nhalf a fr")
        channel.finish_reading()
        assert [channel.read(), channel.read()] == [b"1", b"2" * 100_000]
        assert channel.read() is None
        os.write(to_channel, b"ame\n")
        assert channel.read() is None
    with wire() as (channel, _, from_channel), ThreadPoolExecutor(1) as pool:
        reading = pool.submit(channel.read)
        channel.finish_reading()
        assert reading.result(PATIENCE_SECONDS) is None
        channel.write(b"{}")
        assert os.read(from_channel, 9) == b"{}\n"
    with wire() as (channel, to_channel, _):
        os.write(to_channel, b"the last line")
        shut_writing(to_channel)
        channel.finish_reading()
        assert [channel.read(), channel.read()] == [b"the last line", None]


def test_a_signal_handler_may_close_the_reading_that_it_interrupts() -> None:
    with wire() as (channel, _, _from):
        before = signal.signal(signal.SIGALRM, lambda *_: channel.close_reading())
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            assert channel.read() is None
        finally:
            signal.signal(signal.SIGALRM, before)


def test_a_peer_that_goes_away_frees_a_waiting_writer() -> None:
    with wire() as (channel, _, from_channel), ThreadPoolExecutor(1) as pool:
        writing = pool.submit(channel.write, b"x" * 2**20)
        os.read(from_channel, 1)
        shut_reading(from_channel)
        with pytest.raises(ChannelClosed):
            writing.result(PATIENCE_SECONDS)


def test_a_socket_that_is_reset_is_an_end() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, socket.create_connection(listener.getsockname()) as ours:
        theirs, _ = listener.accept()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        theirs.close()
        assert LineChannel(ours.fileno(), ours.fileno()).read() is None


def test_descriptors_that_another_process_made_non_blocking_work_all_the_same() -> None:
    with wire() as (channel, to_channel, from_channel), ThreadPoolExecutor(2) as pool:
        for descriptor in (channel.read_fd, channel._write_fd):
            os.set_blocking(descriptor, False)
        reading = pool.submit(channel.read)
        os.write(to_channel, b"{}\n")
        assert reading.result(PATIENCE_SECONDS) == b"{}"
        frame = b"x" * 2**20
        writing = pool.submit(channel.write, frame)
        got = b""
        while len(got) <= len(frame):
            got += os.read(from_channel, 2**16)
        writing.result(PATIENCE_SECONDS)
        assert got == frame + b"\n"


# --- the server's standard error ---


def masked(text: bytes) -> bytes:
    return text.replace(b"secret", b"******")


@contextmanager
def copying(
    sink: int | None = None, mask: Callable[[bytes], bytes] = masked
) -> Iterator[tuple[StderrCopy, int, int]]:
    """A running copy, with the server's descriptor, and one to read the result."""
    source, server = os.pipe()
    out, sink_end = os.pipe()
    widen(sink_end)
    copy = StderrCopy(source, sink_end if sink is None else sink, mask)
    thread = threading.Thread(target=copy.run, daemon=True)
    thread.start()
    try:
        yield copy, server, out
    finally:
        shut_writing(server)
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()
        for descriptor in (source, server, out, sink_end):
            os.close(descriptor)


def read_size(descriptor: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += os.read(descriptor, size - len(data))
    return data


BEFORE, AFTER = b"x" * (PIECE_BYTES - WORD_BYTES - 1), b"y" * (WORD_BYTES - 1)
PIECES = {
    "whole lines": [(b"one\ntw", b"one\n"), (b"o\r33%\r", b"two\r33%\r")],
    "a secret": [(b"key: sec", b""), (b"ret!\n", b"key: ******!\n")],
    "a control character": [
        (BEFORE + b"\xc2\x9b" + AFTER, BEFORE),
        (b" gr\xc3\xbcn\n", b"\\x9b" + AFTER + b" gr\xc3\xbcn\n"),
    ],
}


@pytest.mark.parametrize("steps", PIECES.values(), ids=PIECES)
def test_what_comes_in_pieces_passes_by_whole_lines(steps: list[tuple[bytes, bytes]]) -> None:
    with copying() as (_, server, out):
        for written, shown in steps:
            os.write(server, written)
            assert read_size(out, len(shown)) == shown


def test_the_lines_of_a_private_key_are_masked_together() -> None:
    begin, end = (b"-----%s RSA PRIVATE KEY-----\n" % word for word in (b"BEGIN", b"END"))
    with copying() as (_, server, out):
        os.write(server, b"a key:\n" + begin)
        assert read_size(out, 7) == b"a key:\n"
        for line in (b"c2Vj\n", b"sec", b"ret\n"):
            os.write(server, line)
        assert select.select([out], [], [], 0.2)[0] == [], "it waits for the rest"
        os.write(server, end)
        whole = begin + b"c2Vj\n******\n" + end
        assert read_size(out, len(whole)) == whole
        os.write(server, begin + b"and so on, said nobody.\n{}\n")
        assert read_size(out, len(begin) + 27).endswith(b"{}\n"), "that is no key"


@pytest.mark.parametrize(
    ("word", "size"),
    [
        *((b"words ", size) for size in (PIECE_BYTES - 1, PIECE_BYTES, 300_000)),
        *((word, 30_000 * len(word)) for word in (b"secret ", b'"secret",')),
        (b"of a secret or xx secrets|", 780_000),
    ],
)
def test_a_long_line_passes_whole_and_is_cut_between_words(word: bytes, size: int) -> None:
    line = (word * (size // len(word) + 1))[:size] + b"\n"
    with copying() as (_, server, out), ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_size, out, len(line))
        os.write(server, line)
        assert reading.result(PATIENCE_SECONDS) == masked(line)


def test_a_grandchild_that_holds_the_pipe_does_not_hold_us() -> None:
    with copying() as (copy, server, out):
        os.write(server, b"half a line")
        assert copy.finish(0.2)
        assert read_size(out, 11) == b"half a line"


def test_our_own_standard_error_may_be_gone() -> None:
    with copying() as (copy, server, out):
        shut_reading(out)
        for _ in range(40):  # more than the pipe holds, so somebody reads it
            os.write(server, b"x" * 10_000 + b"\n")
        shut_writing(server)
        assert copy.finish(PATIENCE_SECONDS)


def test_escapes_are_made_visible_on_a_terminal() -> None:
    ours, terminal = pty.openpty()
    try:
        with copying(terminal) as (_, server, _out):
            os.write(server, b"\x1b]0;title\x07\tgr\xc3\xbcn\n")
            wanted = b"^[]0;title^G\tgr\xc3\xbcn\r\n"  # the terminal itself adds the CR
            assert read_size(ours, len(wanted)) == wanted
    finally:
        os.close(ours)
        os.close(terminal)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b"plain \xe2\x9c\x93\r\n", b"plain \xe2\x9c\x93\r\n"),
        (b"\x00\x7f", b"^@^?"),
        (b"\xc2\x9b31m \xc2\xa0", b"\\x9b31m \xc2\xa0"),
        (
            "a\u202eb\u2066c\u2028 \u05d0\u2013".encode(),
            b"a\\u202eb\\u2066c\\u2028 \xd7\x90\xe2\x80\x93",
        ),
    ],
)
def test_controls_are_shown_and_text_is_left(text: bytes, shown: bytes) -> None:
    assert neutralise(text) == shown


def test_the_wire_imports_no_event_loop() -> None:
    loaded = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import pipeguard.transports.stdio, pipeguard.transports.stderr\n"
        "print(*sys.modules)"
    )
    child = launch(python(loaded, str(REPOSITORY)))
    try:
        modules = set(read_all(child.stdout_fd).decode().split())
    finally:
        child.close()
    assert "pipeguard.transports.stdio" in modules
    assert not modules & {"asyncio", "logging", "subprocess", "socket", "dataclasses", "pathlib"}


def test_what_outlives_the_modules_of_its_process_closes_its_descriptors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    channels: list[LineChannel | StderrCopy] = [LineChannel(0, 1), StderrCopy(0, 2, bytes)]
    with monkeypatch.context() as patch:
        patch.setattr(os, "pipe", lambda: os.dup(-1))  # as where no descriptor is left
        with pytest.raises(OSError, match="Bad file descriptor"):
            StderrCopy(0, 2, bytes)
    wakers = [each._waker for each in channels]
    pipes = [(waker.woken, waker._end) for waker in wakers]
    for module in (stdio, stderr, descriptors):
        monkeypatch.setattr(module, "os", None)  # as the interpreter does when it shuts down
    wakers.clear()
    channels.clear()
    for descriptor in (end for pipe in pipes for end in pipe):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
