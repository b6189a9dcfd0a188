"""MCP's stdio transport over two file descriptors: one frame a line, ended by LF.

MCP 2025-06-18, basic/transports, stdio: messages are delimited by newlines and must not contain
any. Knows descriptors and lines, not their owners or contents: `runtime.stdio` makes the channels,
and `transports.pump` reads them.
"""

from __future__ import annotations

import os
import select
import stat
import sys
from _thread import allocate_lock
from collections import deque
from contextlib import suppress

from pipeguard.firewall.protocol.framing import DEFAULT_LIMIT_BYTES, LineFrames
from pipeguard.transports.channel import ChannelClosed
from pipeguard.transports.descriptors import Waker, shut_reading, shut_writing, write_all

READ_BYTES = 64 * 1024  # the default size of a Linux pipe (pipe(7)); larger reads cost more
SOCKET_BYTES = 32 * 1024  # the most that is written at once to a socket that is ready
SOCKET_HEADER_BYTES = 64  # of each piece in a local socket's buffer
_ZERO = bytes(4)  # a C int
WINDOWS_READ_BYTES = 8 * 1024  # `os.read` makes a buffer of this size for each call


class LineChannel:
    """A Channel over a descriptor to read from and one to write to.

    The descriptors may be pipes, sockets (Node gives these to its children), a terminal or a file.
    Their numbers are never freed here (transports.descriptors); their opener closes them.
    O_NONBLOCK is not set: other processes share our standard streams, and would all see it.

    Attributes:
        read_fd: the descriptor to read from.
        awaited: descriptors; one is readable once `fill` does not block.
        is_ready: True once a thread found `read_fd` readable, until the next `fill`.
    """

    def __init__(self, read_fd: int, write_fd: int, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self.read_fd = read_fd
        self._write_fd = write_fd
        self._lines = LineFrames(limit_bytes)
        self._frames: deque[bytes] = deque()
        self._ended = self._closed = self._finishing = self.is_ready = False
        self._write_lock = allocate_lock()
        if sys.platform == "win32":
            import msvcrt

            msvcrt.setmode(read_fd, os.O_BINARY)  # otherwise CR LF and Ctrl-Z are translated
            msvcrt.setmode(write_fd, os.O_BINARY)
        else:
            self._buffer = bytearray(READ_BYTES)
            self._view = memoryview(self._buffer)
            self._waker = Waker()
            self.awaited = read_fd, self._waker.woken
            self._poll = select.poll()
            self._poll.register(read_fd, select.POLLIN)
            self._poll.register(self._waker.woken, select.POLLIN)
            self._room = select.poll()
            self._room_bytes = _find_room(write_fd)
            if self._room_bytes:
                self._room.register(write_fd, select.POLLOUT)

    def read(self) -> bytes | None:
        """Wait for the next line, without its LF; None at the end of the stream or once closed.

        The last line of the stream may lack its LF. A line over the limit is returned as
        `firewall.protocol.framing` describes. Only one thread may read at a time.
        """
        while not self.has_line:
            self.fill()
        return None if self._closed or not self._frames else self._frames.popleft()

    @property
    def has_line(self) -> bool:
        """True if `read` returns at once."""
        return bool(self._frames) or self._ended

    def fill(self) -> None:
        """Read once; wait until there is something to read, the stream ends, or it is closed."""
        data = self._receive()
        if data:
            self._frames.extend(self._lines.feed(data))
        else:
            self._ended = True
            if data is not None:
                self._frames.extend(self._lines.end())

    @property
    def lines(self) -> LineChannel | None:
        """This channel; None on Windows, because no thread can watch several there."""
        return None if sys.platform == "win32" else self

    def can_be_watched(self) -> bool:
        """True if an event loop can watch `read_fd`: for a pipe or a socket, but on Windows."""
        kind = os.fstat(self.read_fd).st_mode
        return sys.platform != "win32" and (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind))

    def read_ready(self) -> list[bytes] | None:
        """Read once from a descriptor that is ready, and never use `read`.

        Returns:
            The lines that are whole now; None at the end of the stream or once closed.
        """
        if not self._ended:
            self.fill()
        lines = [*self._frames]
        self._frames.clear()
        return None if self._closed or (self._ended and not lines) else lines

    def write_ready(self, frame: bytes) -> bool:
        """Write one line if that cannot block; False if it could.

        Raises:
            ChannelClosed: the peer reads no more, or this channel was closed.
        """
        if sys.platform == "win32" or not self._write_lock.acquire(blocking=False):
            return False  # the thread that holds the lock may block
        try:
            if not self._takes(len(frame) + 1):
                return False
            self._write(frame)
        finally:
            self._write_lock.release()
        return True

    def write(self, frame: bytes) -> None:
        """Write one line with its LF; lines of several threads do not mix.

        Raises:
            ChannelClosed: the peer reads no more, or this channel was closed.
            ValueError: the frame contains a newline, so it would be two.
        """
        with self._write_lock:
            self._write(frame)

    def _write(self, frame: bytes) -> None:
        if b"\n" in frame:
            raise ValueError("a frame must not contain a newline")
        try:
            self._send(frame)
        except OSError as error:  # EPIPE, ECONNRESET, EIO of a terminal, EINVAL on Windows
            raise ChannelClosed(error.strerror) from error

    def close(self) -> None:
        """Hang up both ways; a waiting `read` returns None, a waiting `write` waits for EPIPE."""
        self.close_reading()
        self.close_writing()

    def close_reading(self) -> None:
        """Stop reading: a waiting `read` returns None; frames can still be written.

        Safe in a signal handler: it takes no lock, and may be called again.
        """
        self._closed = True
        if sys.platform != "win32":
            self._waker.wake()
            # On Windows a second thread cannot interrupt a read: it ends when the peer ends, or
            # with the process.
            shut_reading(self.read_fd)

    def wait_for_hangup(self) -> bool:
        """Wait until the peer writes no more, even if some of its bytes were not read yet.

        Returns:
            False once no more is to be read here; and at once on Windows, because a second thread
            cannot tell.
        """
        if sys.platform == "win32":
            return False
        poll = select.poll()
        poll.register(self.read_fd, select.POLLHUP | getattr(select, "POLLRDHUP", 0))
        poll.register(self._waker.woken, select.POLLIN)
        return self._waker.woken not in dict(poll.poll())

    def finish_reading(self) -> None:
        """Read the bytes that the peer has written so far; then `read` returns None.

        On Windows nothing more is read, as after `close_reading`.
        """
        self._finishing = True
        if sys.platform == "win32":
            self.close_reading()
        else:
            self._waker.wake()

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
            write_all(self._write_fd, memoryview(frame + b"\n"))

    else:

        def _takes(self, size: int) -> bool:
            """True if the peer accepts `size` bytes at once, or is gone.

            A pipe that is ready takes `select.PIPE_BUF` (POSIX, `write` and `poll`), an empty one
            as many as it holds. On Linux a local socket is ready while three quarters of its buffer
            are free, and takes up to half of it as one piece (`net/unix/af_unix.c`).
            """
            if size <= self._room_bytes:
                return bool(self._room.poll(0))
            return self._room_bytes == select.PIPE_BUF and size <= free_bytes(self._write_fd)

        def _receive(self) -> bytes | None:
            """Wait for the next bytes; empty at the end, None if reading has ended."""
            while True:
                ready = [(self.read_fd, 0)] if self.is_ready else self._poll.poll()
                woken, self.is_ready = self._waker.woken, False
                is_over = self._finishing and all(found == woken for found, _ in ready)
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
                write_all(self._write_fd, memoryview(frame + b"\n")[size:])


def free_bytes(descriptor: int) -> int:
    """The room in an empty pipe (pipe(7)); 0 in any other, and if the system does not tell."""
    free = 0
    if sys.platform == "linux":
        import fcntl
        import termios

        with suppress(OSError):
            if fcntl.ioctl(descriptor, termios.FIONREAD, _ZERO) == _ZERO:
                free = fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ)
    return free


def _find_room(descriptor: int) -> int:
    """The bytes that a ready descriptor accepts at once; 0 if unknown."""
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISFIFO(kind):
        return select.PIPE_BUF
    if sys.platform != "linux" or not stat.S_ISSOCK(kind):
        return 0
    import _socket

    # A local socket that is ready takes up to half of its buffer.
    peer = _socket.socket(fileno=os.dup(descriptor))
    try:
        size = peer.getsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF) // 2 - SOCKET_HEADER_BYTES
        return min(SOCKET_BYTES, size) if peer.family == _socket.AF_UNIX else 0
    finally:
        peer.close()
