"""Where the body of one request ends, so that no second request passes behind it (RFC 9112, 7)."""

from __future__ import annotations

import re

MAX_LINE_BYTES = 1024  # of a chunk's size, or of a trailer
MAX_TRAILER_LINES = 64
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\x21-\x7e \t]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\x21-\x7e\x80-\xff \t]*")
_FORBIDDEN = re.compile(rb"(?i)(?:host|content-length|transfer-encoding|connection):")


class BodyError(Exception):
    """Chunks that are not of the strict form."""


class RequestBody:
    """The body of one request, taken from a stream as it comes.

    Args:
        length: its bytes; None where it is in chunks.
    """

    def __init__(self, length: int | None) -> None:
        self._left = length or 0
        self._is_chunked = length is None
        self._in_trailer = self._at_data_end = False
        self._line = b""
        self._trailers = 0
        self.is_whole = length == 0

    def take(self, data: bytes) -> int:
        """How many bytes of data, from its first, are of the body.

        Raises:
            BodyError: the chunks are malformed.
        """
        at = 0
        while at < len(data) and not self.is_whole:
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                self._after_data()
            else:
                at = self._take_line(data, at)
        return at

    def _after_data(self) -> None:
        if not self._left:
            self.is_whole = not self._is_chunked
            self._at_data_end = True

    def _take_line(self, data: bytes, at: int) -> int:
        """Read up to the end of a line, and read the line if it is whole."""
        newline = data.find(b"\n", at)
        end = len(data) if newline < 0 else newline + 1
        self._line += data[at:end]
        is_stray = self._at_data_end and not b"\r\n".startswith(self._line)
        if is_stray or len(self._line) > MAX_LINE_BYTES:
            raise BodyError
        if newline >= 0:
            line, self._line = self._line, b""
            if not line.endswith(b"\r\n"):
                raise BodyError
            self._read_line(line[:-2])
        return end

    def _read_line(self, line: bytes) -> None:
        if self._at_data_end:
            self._at_data_end = False
        elif self._in_trailer:
            self._read_trailer(line)
        elif (match := _SIZE.fullmatch(line)) is not None:
            self._left = int(match[1], 16)
            self._in_trailer = not self._left
        else:
            raise BodyError

    def _read_trailer(self, line: bytes) -> None:
        self._trailers += 1
        if not line:
            self.is_whole = True
        elif (
            self._trailers > MAX_TRAILER_LINES
            or not _TRAILER.fullmatch(line)
            or _FORBIDDEN.match(line)
        ):
            raise BodyError
