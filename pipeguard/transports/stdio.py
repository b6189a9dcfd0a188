"""MCP's stdio transport over two file descriptors: one frame a line, ended by LF.

MCP 2025-06-18, basic/transports, stdio: messages are delimited by newlines and must not contain
any. Knows descriptors and lines, not whose they are or what the lines say: `runtime.stdio` makes
the channels, and `transports.pump` reads them.
"""

from __future__ import annotations

import os
import select
import stat
import sys
from _thread import allocate_lock
from collections import deque
from typing import TYPE_CHECKING

from pipeguard.firewall.protocol.framing import DEFAULT_LIMIT_BYTES, LineFrames
from pipeguard.transports.channel import ChannelClosed
from pipeguard.transports.descriptors import shut_reading, shut_writing

if TYPE_CHECKING:
    from collections.abc import Callable

READ_BYTES = 64 * 1024  # the default size of a Linux pipe (pipe(7)); larger reads cost more
WINDOWS_READ_BYTES = 8 * 1024  # `os.read` makes a buffer of this size for each call


class LineChannel:
    """A Channel over a descriptor to read from and one to write to.

    The descriptors may be pipes, sockets (Node gives these to its children), a terminal or a file.
    Their numbers are never freed here (transports.descriptors); whoever opened them closes them.
    O_NONBLOCK is not set: other processes share our standard streams, and would all see it.

    Attributes:
        read_fd: the descriptor to read from.
    """

    _own: tuple[int, ...] = ()

    def __init__(self, read_fd: int, write_fd: int, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self.read_fd = read_fd
        self._write_fd = write_fd
        self._lines = LineFrames(limit_bytes)
        self._frames: deque[bytes] = deque()
        self._ended = False
        self._closed = False
        self._finishing = False
        self._write_lock = allocate_lock()
        if sys.platform == "win32":
            import msvcrt

            msvcrt.setmode(read_fd, os.O_BINARY)  # otherwise CR LF and Ctrl-Z are translated
            msvcrt.setmode(write_fd, os.O_BINARY)
        else:
            self._buffer = bytearray(READ_BYTES)
            self._view = memoryview(self._buffer)
            self._own = self._woken, self._wake = os.pipe()
            self._poll = select.poll()
            self._poll.register(read_fd, select.POLLIN)
            self._poll.register(self._woken, select.POLLIN)
            self._room = select.poll()
            if stat.S_ISFIFO(os.fstat(write_fd).st_mode):
                self._room.register(write_fd, select.POLLOUT)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        """Close the descriptors that belong to this object; at shutdown `os` may be gone."""
        for descriptor in self._own:
            close(descriptor)

    def read(self) -> bytes | None:
        """Wait for the next line, without its LF; None at the end of the stream or once closed.

        The last line of the stream may lack its LF. A line over the limit is returned as
        `firewall.protocol.framing` describes. Only one thread may read at a time.
        """
        frames = self._frames
        while not frames:
            if self._ended:
                return None
            data = self._receive()
            if data:
                frames.extend(self._lines.feed(data))
                continue
            self._ended = True
            if data is not None:
                frames.extend(self._lines.end())
        return None if self._closed else frames.popleft()

    def can_be_watched(self) -> bool:
        """True if an event loop can watch `read_fd`: for a pipe or a socket, but on Windows."""
        kind = os.fstat(self.read_fd).st_mode
        return sys.platform != "win32" and (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind))

    def read_ready(self) -> list[bytes] | None:
        """Read once from a descriptor that is ready, and never use `read`.

        Returns:
            The lines that are whole now; None at the end of the stream or once closed.
        """
        data = None if self._closed or self._ended else self._receive()
        if data:
            return self._lines.feed(data)
        self._ended = True
        return (data is not None and self._lines.end()) or None

    def write_ready(self, frame: bytes) -> bool:
        """Write one line if that cannot block; False where it could.

        A pipe that is ready takes `select.PIPE_BUF` bytes at once (POSIX, `write` and `poll`).

        Raises:
            ChannelClosed: the peer reads no more, or this channel was closed.
        """
        if sys.platform == "win32" or len(frame) >= select.PIPE_BUF or not self._room.poll(0):
            return False
        self.write(frame)
        return True

    def write(self, frame: bytes) -> None:
        """Write one line with its LF; lines of several threads do not mix.

        Raises:
            ChannelClosed: the peer reads no more, or this channel was closed.
            ValueError: the frame contains a newline, so it would be two.
        """
        if b"\n" in frame:
            raise ValueError("a frame must not contain a newline")
        with self._write_lock:
            try:
                self._send(frame)
            except OSError as error:  # EPIPE, ECONNRESET, EIO of a terminal, EINVAL on Windows
                raise ChannelClosed(error.strerror) from error

    def close(self) -> None:
        """Hang up both ways; a waiting `read` returns None, a waiting `write` waits for EPIPE."""
        self.close_reading()
        self.close_writing()

    def close_reading(self) -> None:
        """Read no more: a waiting `read` returns None; frames can still be written.

        Safe in a signal handler: it takes no lock, and may be called again.
        """
        self._closed = True
        if sys.platform != "win32":
            os.write(self._wake, b"\0")
            # On Windows a second thread cannot interrupt a read: it ends when the peer ends, or
            # with the process.
            shut_reading(self.read_fd)

    def wait_for_hangup(self) -> bool:
        """Wait until the peer writes no more, even if what it wrote was not read yet.

        Returns:
            False once nothing more is to be read here; and at once on Windows, where a second
            thread cannot tell.
        """
        if sys.platform == "win32":
            return False
        poll = select.poll()
        poll.register(self.read_fd, select.POLLHUP | getattr(select, "POLLRDHUP", 0))
        poll.register(self._woken, select.POLLIN)
        return self._woken not in dict(poll.poll())

    def finish_reading(self) -> None:
        """Read what the peer has written by now and no more; then `read` returns None.

        On Windows nothing more is read, as after `close_reading`.
        """
        self._finishing = True
        if sys.platform == "win32":
            self.close_reading()
        else:
            os.write(self._wake, b"\0")

    def close_writing(self) -> None:
        """Let the peer see the end; its frames can still be read. May be called again."""
        shut_writing(self._write_fd)

    if sys.platform == "win32":

        def _receive(self) -> bytes | None:
            try:
                return None if self._closed else os.read(self.read_fd, WINDOWS_READ_BYTES)
            except OSError:
                return b""

        def _send(self, frame: bytes) -> None:
            rest = memoryview(frame + b"\n")
            while rest:
                rest = rest[os.write(self._write_fd, rest) :]

    else:

        def _receive(self) -> bytes | None:
            """Wait for the next bytes; empty at the end, None where no more are to be read."""
            while True:
                ready = self._poll.poll()
                is_over = self._finishing and all(found == self._woken for found, _ in ready)
                if self._closed or is_over:
                    return None
                try:
                    size = os.readv(self.read_fd, (self._buffer,))
                except BlockingIOError:
                    continue  # another process set O_NONBLOCK, and read the bytes first
                except OSError:
                    return b""  # ECONNRESET of a socket, EIO of a terminal: the stream is over
                return bytes(self._view[:size])

        def _send(self, frame: bytes) -> None:
            try:
                size = os.writev(self._write_fd, (frame, b"\n"))
            except BlockingIOError:
                size = 0
            if size <= len(frame):
                self._send_rest(memoryview(frame + b"\n")[size:])

        def _send_rest(self, rest: memoryview) -> None:
            """Go on after a signal, or on a descriptor that another process made non-blocking."""
            while rest:
                try:
                    rest = rest[os.write(self._write_fd, rest) :]
                except BlockingIOError:
                    poll = select.poll()
                    poll.register(self._write_fd, select.POLLOUT)
                    poll.poll()
