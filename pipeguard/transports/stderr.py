"""Copies the server's standard error to ours, masked and complete to the last byte.

Free text, never an error signal (MCP 2025-11-25, basic/transports, stdio). Knows no frames.
"""

from __future__ import annotations

import os
import select
import sys
from _thread import allocate_lock
from time import monotonic

TYPE_CHECKING = False  # as typing.TYPE_CHECKING, whose import costs 6 ms
if TYPE_CHECKING:
    from collections.abc import Callable

PIECE_BYTES = 64 * 1024  # a longer line is copied in pieces
READ_BYTES = 16 * 1024  # `os.read` makes a buffer of this size for each call
WAITING_BYTES = 1024 * 1024  # that are read ahead of what is written
CATCH_UP_SECONDS = 0.1  # for the other thread to look at what it has read
WRITE_SECONDS = 0.5  # to write what was read at the end of the grace
WORD_BYTES = 4096  # a piece is cut between words if a space is so close to its end
# Control characters move a terminal's cursor, change its title or make it answer as if typed: C0
# except tab, LF and CR, DEL, and C1 as encoded in UTF-8 (ECMA-48, 5.2 and 5.3).
CONTROLS = bytes({*range(0x20), 0x7F} - {0x09, 0x0A, 0x0D})
# C1, and what changes the direction of text or breaks a line (UAX 9; UAX 14).
NOT_ASCII_CONTROLS = (
    *map(chr, range(0x80, 0xA0)),
    *"\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
)


class StderrCopy:
    """Copies a server's standard error to ours, until its end or a while after the server's.

    `run` needs a thread of its own; `finish` waits for the server's last output. The mask gets a
    line in one piece, and lines that arrive together all at once. CR counts as a line end, so that
    progress bars move.

    Args:
        source_fd: where the server writes to.
        sink_fd: ours.
        mask: of what is written; must not raise.
        look: sees the same lines before, as soon as they are read, in the thread of `run` or of
            `catch_up`; must not raise.
    """

    _own: tuple[int, ...] = ()

    def __init__(
        self,
        source_fd: int,
        sink_fd: int,
        mask: Callable[[bytes], bytes],
        look: Callable[[bytes], None] | None = None,
    ) -> None:
        self._source = source_fd
        self._sink: int | None = sink_fd
        self._mask = mask
        self._look = look
        self._rest = b""
        self._read: list[bytes] = []  # and looked at; to be written
        self._deadline: float | None = None
        self._reading = allocate_lock()  # while something is read and looked at, never written
        self._running = allocate_lock()
        self._running.acquire()
        if sys.platform != "win32":
            self._own = self._woken, self._wake = os.pipe()
            self._readable = select.poll()
            self._readable.register(source_fd, select.POLLIN)

    def __del__(self) -> None:
        """Close the descriptors that belong to this object."""
        for descriptor in self._own:
            os.close(descriptor)

    def run(self) -> None:
        """Copy until the server's standard error ends, or the grace of `finish` is over."""
        try:
            while self._receive():
                self._put_read()
            with self._reading:
                self._keep(self._rest)
                self._rest = b""
            self._put_read()
        finally:
            self._running.release()

    def finish(self, grace_seconds: float) -> bool:
        """Wait for the last output of a server that has ended; True if all of it is written.

        A process that the server started may hold the pipe open for ever, hence the grace.
        """
        self._deadline = monotonic() + grace_seconds
        if sys.platform != "win32":
            with self._reading:  # `catch_up` reads no more: the descriptor is closed after this
                os.write(self._wake, b"\0")
        if not self._running.acquire(timeout=grace_seconds + WRITE_SECONDS):
            return False  # our own standard error is not being read
        self._running.release()
        return True

    if sys.platform == "win32":

        def catch_up(self) -> None:
            """Do nothing: a pipe here does not say what it holds."""

        def _receive(self) -> bool:
            try:
                data = os.read(self._source, READ_BYTES)
            except OSError:
                return False
            with self._reading:
                self._copy(data)
            return bool(data)

    else:

        def catch_up(self) -> None:
            """Look at all that the server has written until now.

            What it wrote before an answer is then seen before that. Waits for nothing that is still
            to come, nor for whoever reads our standard error.
            """
            if self._reading.acquire(timeout=CATCH_UP_SECONDS):
                try:
                    self._read_waiting()
                finally:
                    self._reading.release()

        def _read_waiting(self) -> None:
            """Read what waits now, unless too much waits to be written, or `finish` was called."""
            if self._deadline is not None or sum(map(len, self._read)) >= WAITING_BYTES:
                return
            left, was_empty = _waiting(self._source), not self._read
            while left > 0 and (data := os.read(self._source, min(left, READ_BYTES))):
                left -= len(data)
                self._copy(data)
            if self._read and was_empty:
                os.write(self._wake, b"\0")  # the other thread writes it

        def _receive(self) -> bool:
            """Wait for the next bytes, and read them; False at the end, or when the grace is over.

            Another thread may have read them.
            """
            if not self._await_bytes():
                return False
            with self._reading:
                if not self._readable.poll(0):
                    return True
                data = os.read(self._source, READ_BYTES)
                self._copy(data)
            return bool(data)

        def _await_bytes(self) -> bool:
            """Wait until there are bytes to read or to write; False when the grace is over."""
            poll = select.poll()
            poll.register(self._source, select.POLLIN)
            poll.register(self._woken, select.POLLIN)
            while True:
                left = None if self._deadline is None else max(0.0, self._deadline - monotonic())
                if left == 0.0:
                    return False  # even if something is still writing
                ready = {descriptor for descriptor, _ in poll.poll(_milliseconds(left))}
                if self._woken in ready:
                    os.read(self._woken, READ_BYTES)  # there is a deadline now, or bytes to write
                if self._source in ready or (ready and self._deadline is None):
                    return True

    def _copy(self, data: bytes) -> None:
        """Keep the complete lines to be written; store the unfinished one."""
        text = self._rest + data
        end = max(text.rfind(b"\n"), text.rfind(b"\r")) + 1
        if end == 0 and len(text) >= PIECE_BYTES:
            tail = len(text) - WORD_BYTES
            end = max(text.rfind(b" ", tail), text.rfind(b"\t", tail)) + 1 or len(text)
            end -= text[:end].endswith(b"\xc2")  # possibly half of a control character
        self._rest = text[end:]
        self._keep(text[:end])

    def _keep(self, text: bytes) -> None:
        """Look at a text that was read, and have it written."""
        if text:
            if self._look is not None:
                self._look(text)
            self._read.append(text)

    def _put_read(self) -> None:
        """Write what was read, by whichever thread."""
        with self._reading:
            texts, self._read = self._read, []
        for text in texts:
            self._put(text)

    def _put(self, text: bytes) -> None:
        if self._sink is None:
            return  # our standard error is closed; the server's is still drained
        # Even where this is no terminal: a log file is read on one later.
        rest = memoryview(neutralise(self._mask(text)))
        while rest and self._sink is not None:
            try:
                rest = rest[os.write(self._sink, rest) :]
            except BlockingIOError:
                self._await_reader(self._sink)
            except OSError:
                self._sink = None

    def _await_reader(self, sink: int) -> None:
        """Wait for room where another process made our standard error non-blocking."""
        if sys.platform != "win32":
            poll = select.poll()
            poll.register(sink, select.POLLOUT)
            poll.poll()


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000 + 1


if sys.platform != "win32":

    def _waiting(pipe: int) -> int:
        """How many bytes a pipe holds."""
        import termios  # here, since few servers fail at anything
        from fcntl import ioctl

        return int.from_bytes(ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def neutralise(text: bytes) -> bytes:
    """Make control characters visible, so that a terminal does not obey them: ESC as ^[."""
    if not text.isascii():
        for control in NOT_ASCII_CONTROLS:
            text = text.replace(control.encode(), control.encode("ascii", "backslashreplace"))
    if len(text.translate(None, CONTROLS)) == len(text):
        return text
    for number in CONTROLS:
        text = text.replace(b"%c" % number, b"^%c" % (number ^ 0x40))
    return text
