"""Copies the server's standard error to ours, masked and complete to the last byte.

Free text, never an error signal (MCP 2025-11-25, basic/transports, stdio). Knows no frames.
"""

from __future__ import annotations

import os
import select
import sys
from _thread import allocate_lock
from time import monotonic
from typing import TYPE_CHECKING

from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.transports.descriptors import Waker, write_all

if TYPE_CHECKING:
    from collections.abc import Callable

PIECE_BYTES = 64 * 1024  # a longer line is copied in pieces
READ_BYTES = 16 * 1024  # `os.read` makes a buffer of this size for each call
WRITE_SECONDS = 0.5  # to write the lines read at the end of the grace
WORD_BYTES = 4096  # of a piece that are read beyond its cut, and in which a mark is looked for
MARKS = b' \t",;&<>(){}[]|'  # between two words or values
# A private key (RFC 7468) whose lines have not all come.
_OPEN_KEY = lazy_regex(
    rb"-----BEGIN [A-Z ]{0,24}PRIVATE KEY(?: BLOCK)?-----\r?\n"
    rb"(?:(?!-----END)[A-Za-z0-9+/=:, .-]{0,120}\r?\n)*"
)
# Control characters move a terminal's cursor, change its title or make it answer as if typed: C0
# except tab, LF and CR, DEL, and C1 as encoded in UTF-8 (ECMA-48, 5.2 and 5.3).
CONTROLS = bytes({*range(0x20), 0x7F} - {0x09, 0x0A, 0x0D})
# C1, and characters that change the direction of text or break a line (UAX 9; UAX 14).
NOT_ASCII_CONTROLS = (
    *map(chr, range(0x80, 0xA0)),
    *"\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
)


class StderrCopy:
    """Copies a server's standard error to ours, until its end or a while after the server's.

    `run` needs a thread of its own; `finish` waits for the server's last output. The mask gets a
    line in one piece, and lines that arrive together all at once. CR counts as a line end, so that
    progress bars move.
    """

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
            self._waker = Waker()

    def run(self) -> None:
        """Copy until the server's standard error or the grace of `finish` ends."""
        try:
            while data := self._receive():
                self._copy(data)
            self._put(self._rest)
        finally:
            self._running.release()

    def finish(self, grace_seconds: float) -> bool:
        """Wait for the last output of a server that has ended; True if all of it is written.

        A process that the server started may hold the pipe open for ever, hence the grace.
        """
        self._deadline = monotonic() + grace_seconds
        if sys.platform != "win32":
            self._waker.wake()
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
            """Wait for the next bytes; empty at the end, or after the grace."""
            poll = select.poll()
            poll.register(self._source, select.POLLIN)
            if self._deadline is None:
                poll.register(self._waker.woken, select.POLLIN)
            while True:
                left = None if self._deadline is None else max(0.0, self._deadline - monotonic())
                if left == 0.0:
                    return b""  # even if something is still writing
                ready = poll.poll(None if left is None else left * 1000 + 1)
                if any(descriptor == self._source for descriptor, _ in ready):
                    return os.read(self._source, READ_BYTES)
                if ready:  # `finish` was called: there is a deadline now
                    poll.unregister(self._waker.woken)

    def _copy(self, data: bytes) -> None:
        """Write the complete lines; store the unfinished one."""
        text = self._rest + data
        end = max(text.rfind(b"\n"), text.rfind(b"\r")) + 1
        if end == 0 and len(text) >= PIECE_BYTES:
            end = self._find_cut(text)
        begun = text.rfind(b"-----BEGIN ", 0, end)
        if begun >= 0 and len(text) < PIECE_BYTES and _OPEN_KEY.fullmatch(text, begun, end):
            end = max(text.rfind(b"\n", 0, begun), text.rfind(b"\r", 0, begun)) + 1
        self._rest = text[end:]
        self._put(text[:end])

    def _find_cut(self, text: bytes) -> int:
        """The place to cut a long line, so that no masked secret crosses it."""
        last, masked = len(text) - WORD_BYTES, self._mask(text)
        for high in range(last, last - 4 * WORD_BYTES, -WORD_BYTES):
            at = (
                max(text.rfind(b"%c" % mark, high - WORD_BYTES, high) for mark in MARKS) + 1 or high
            )
            at -= text[:at].endswith(b"\xc2")  # possibly half of a control character
            if self._mask(text[:at]) + self._mask(text[at:]) == masked:
                return at
        return len(text)

    def _put(self, text: bytes) -> None:
        if not text or self._sink is None:
            return  # our standard error is closed; the server's is still drained
        # Even if this is not a terminal: a log file is read on one later.
        try:
            write_all(self._sink, memoryview(neutralise(self._mask(text))))
        except OSError:
            self._sink = None


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
