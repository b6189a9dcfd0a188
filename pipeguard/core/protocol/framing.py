r"""Whole frames out of a stream of bytes, and frames that are one line for every reader.

MCP's stdio transport puts one JSON text on each line, ended by LF (basic/transports, all
revisions). Only the byte 0x0A splits what is read here: U+2028, U+2029, U+0085 and CR are data.
Other readers split there too, so what goes on holds none of them.
"""

from __future__ import annotations

from pipeguard.core.protocol.codes import PEER_GONE

DEFAULT_LIMIT_BYTES = 16 * 2**20  # the specification sets none
KEPT_BYTES = 4096  # of either end of a line over the limit, to find its id in
PARTS = 2  # times the limit without a newline: what is lost by then is told
SMALL_BYTES = 4096  # a piece below is joined to the one before, or its overhead would outweigh it

# What ends a line for some reader: CR for Python's text files, Node's `readline` and Java's
# `BufferedReader`; U+2028 and U+2029 for `readline` too; all four for `str.splitlines` and Java's
# `Scanner`. The other characters at which `splitlines` splits are not allowed in JSON.
_SPACED = bytes.maketrans(b"\r\n", b"  ")
_ENDS = {"\x85": r"\u0085", "\u2028": r"\u2028", "\u2029": r"\u2029"}


def one_line(frame: bytes, text: str) -> bytes:
    """The same JSON text as a line that every reader of lines reads as one.

    CR and LF stand between tokens and become spaces; the other line ends stand in strings and
    are escaped (RFC 8259, section 7). One CR at the very end stays: with the LF that follows it
    ends the line, as it does on Windows.

    Args:
        frame: valid JSON; of anything else the meaning may change.
        text: the frame, decoded: a character is found in it far sooner than its bytes.

    Returns:
        The frame itself where it is such a line, as it nearly always is.
    """
    if b"\n" in frame or (b"\r" in frame and frame.find(b"\r") != len(frame) - 1):
        frame = frame.translate(_SPACED)
        text = frame.decode("utf-8")
    if text.isascii():
        return frame
    escaped = without_line_ends(text)
    return frame if escaped is text else escaped.encode("utf-8")


def without_line_ends(text: str) -> str:
    """JSON without a line end in a string; the text itself where there is none."""
    if not text.isascii():
        for end, escape in _ENDS.items():
            if end in text:
                text = text.replace(end, escape)
    return text


class Oversized(bytes):
    """What was kept of a line over the limit, or of a part of one that is far over it.

    Attributes:
        head: what the line began with; empty where an earlier part had it.
        tail: what it ended with; empty where it goes on.
        size: how many bytes these stand for.
    """

    head: bytes
    tail: bytes
    size: int

    @classmethod
    def of(cls, head: bytes, tail: bytes, size: int) -> Oversized:
        """Head and tail of so many bytes."""
        kept = cls(head + tail)
        kept.head, kept.tail, kept.size = head, tail, size
        return kept


class Lost(bytes):
    """In place of an answer that will not come.

    Attributes:
        id_token: of the request that waits, as it stood in its frame.
        why: in words fit for the client.
        code: that the client is told.
        sent: False where the request certainly never reached the server.
    """

    id_token: str
    why: str
    code: int
    sent: bool

    @classmethod
    def of(cls, id_token: str, why: str, code: int = PEER_GONE, *, sent: bool = True) -> Lost:
        """What takes the place of the answer to a request."""
        lost = cls(b'{"id":' + id_token.encode() + b"}")
        lost.id_token, lost.why, lost.code, lost.sent = id_token, why, code, sent
        return lost


class LineFrames:
    """Splits a stream into lines; memory is bounded by the limit whatever comes."""

    def __init__(self, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._chunks: list[bytes | bytearray] = []
        self._size = 0
        self._head: bytes | None = None  # set while a line over the limit is being discarded

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the stream; return the lines that they complete.

        Lines come without their LF; blank lines are left out. A line over the limit comes as
        an Oversized; one that goes on for `PARTS` times the limit, in parts, so that nobody waits
        for an end that may never come.
        """
        if not self._chunks and self._head is None and data.find(b"\n") == len(data) - 1:
            line = data[:-1]  # the common case: one whole line in one read
            if line and not line.isspace() and len(line) <= self._limit:
                return [line]
        *ended, rest = data.split(b"\n")
        frames: list[bytes] = []
        for part in ended:
            self._add(part)
            frame = self._take()
            if frame and not frame.isspace():
                frames.append(frame)
        if rest:
            self._add(rest)
        if self._head is not None and self._size > PARTS * self._limit:
            frames.append(Oversized.of(self._head, b"", self._size))
            self._head, self._size = b"", 0
        return frames

    def end(self) -> list[bytes]:
        """The stream ended: what is left of an unfinished line, if anything."""
        frame = self._take()
        return [frame] if frame and not frame.isspace() else []

    def _add(self, part: bytes) -> None:
        last = self._chunks[-1] if self._chunks else b""
        if isinstance(last, bytearray) and len(part) < SMALL_BYTES:
            last += part
        else:
            small = len(part) < SMALL_BYTES and self._chunks
            self._chunks.append(bytearray(part) if small else part)
        self._size += len(part)
        if self._size > self._limit or self._head is not None:
            self._discard()

    def _discard(self) -> None:
        kept = b"".join(self._chunks)
        if self._head is None:
            self._head = kept[:KEPT_BYTES]
        self._chunks = [kept[-KEPT_BYTES:]]

    def _take(self) -> bytes:
        frame = b"".join(self._chunks)  # of a single piece, the very object
        if self._head is not None:
            frame = Oversized.of(self._head, frame, self._size)
        self._chunks, self._size, self._head = [], 0, None
        return frame
