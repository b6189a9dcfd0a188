"""The server's standard error on its way to ours: masked, whole to its last byte.

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

PIECE_BYTES = 64 * 1024  # a longer line goes on in pieces
READ_BYTES = 16 * 1024  # `os.read` makes a buffer of this size for each call
WRITE_SECONDS = 0.5  # for writing what was read at the end of the grace
WORD_BYTES = 4096  # how far from its end a piece is cut between words rather than within one
# What moves a terminal's cursor, changes its title or answers as if typed: C0 but for tab, LF and
# CR, DEL, and C1 as UTF-8 writes it (ECMA-48, 5.2 and 5.3).
CONTROLS = bytes({*range(0x20), 0x7F} - {0x09, 0x0A, 0x0D})


class StderrCopy:
    """Copies a server's standard error to ours, until its end or until the server is long gone.

    `run` is for a thread of its own; the server's last words are waited for with `finish`.
    What stands between two line ends is seen by the mask in one piece, and several whole lines
    are when they came together. CR counts as a line end, so that progress bars move.
    """

    _own: tuple[int, ...] = ()

    def __init__(self, source_fd: int, sink_fd: int, mask: Callable[[bytes], bytes]) -> None:
        """Set up the copy; the mask must not raise."""
        self._source = source_fd
        self._sink: int | None = sink_fd
        self._mask = mask
        self._rest = b""
        self._deadline: float | None = None
        self._running = allocate_lock()
        self._running.acquire()
        if sys.platform != "win32":
            self._own = self._woken, self._wake = os.pipe()

    def __del__(self) -> None:
        """Free the descriptors that only this object knows."""
        for descriptor in self._own:
            os.close(descriptor)

    def run(self) -> None:
        """Copy until the end of the server's standard error, or the end that `finish` sets."""
        try:
            while data := self._receive():
                self._copy(data)
            self._put(self._rest)
        finally:
            self._running.release()

    def finish(self, grace_seconds: float) -> bool:
        """The server has ended: wait for its last words; True if they are all written.

        What it started may hold the pipe open for ever, hence the grace.
        """
        self._deadline = monotonic() + grace_seconds
        if sys.platform != "win32":
            os.write(self._wake, b"\0")
        if not self._running.acquire(timeout=grace_seconds + WRITE_SECONDS):
            return False  # our own standard error is not being read
        self._running.release()
        return True

    if sys.platform == "win32":

        def _receive(self) -> bytes:
            try:
                return os.read(self._source, READ_BYTES)
            except OSError:
                return b""

    else:

        def _receive(self) -> bytes:
            """The next bytes; none at the end, or when the grace is over."""
            poll = select.poll()
            poll.register(self._source, select.POLLIN)
            if self._deadline is None:
                poll.register(self._woken, select.POLLIN)
            while True:
                left = None if self._deadline is None else max(0.0, self._deadline - monotonic())
                if left == 0.0:
                    return b""  # even if something still writes
                ready = poll.poll(None if left is None else left * 1000 + 1)
                if any(descriptor == self._source for descriptor, _ in ready):
                    return os.read(self._source, READ_BYTES)
                if ready:
                    poll.unregister(self._woken)  # `finish` was called: there is a deadline now

    def _copy(self, data: bytes) -> None:
        """Pass on what is whole; keep the unfinished line."""
        text = self._rest + data
        end = max(text.rfind(b"\n"), text.rfind(b"\r")) + 1
        if end == 0 and len(text) >= PIECE_BYTES:
            tail = len(text) - WORD_BYTES
            end = max(text.rfind(b" ", tail), text.rfind(b"\t", tail)) + 1 or len(text)
            end -= text[:end].endswith(b"\xc2")  # half of a control character, maybe
        self._rest = text[end:]
        self._put(text[:end])

    def _put(self, text: bytes) -> None:
        if not text or self._sink is None:
            return  # with our own standard error gone, the server's is still drained
        # Also where no terminal is: what goes to a file is read on one later.
        rest = memoryview(neutralise(self._mask(text)))
        while rest and self._sink is not None:
            try:
                rest = rest[os.write(self._sink, rest) :]
            except BlockingIOError:
                self._await_reader(self._sink)
            except OSError:
                self._sink = None

    def _await_reader(self, sink: int) -> None:
        """Another process made our standard error non-blocking, and it is full."""
        if sys.platform != "win32":
            poll = select.poll()
            poll.register(sink, select.POLLOUT)
            poll.poll()


def neutralise(text: bytes) -> bytes:
    """The text with what a terminal would obey made visible: ESC as ^[, and so on."""
    if b"\xc2" in text:
        for number in range(0x80, 0xA0):
            text = text.replace(b"\xc2%c" % number, b"\\x%02x" % number)
    if len(text.translate(None, CONTROLS)) == len(text):
        return text
    for number in CONTROLS:
        text = text.replace(b"%c" % number, b"^%c" % (number ^ 0x40))
    return text
