r"""Splits a byte stream into frames, and writes frames that every reader reads as one line.

MCP's stdio transport puts one JSON text on each line, ended by LF (basic/transports, all
revisions). Only the byte 0x0A ends a line here: U+2028, U+2029, U+0085 and CR are data. Other
readers split at those too, so no forwarded frame contains one.
"""

from __future__ import annotations

from pipeguard.firewall.protocol.codes import PEER_GONE

DEFAULT_LIMIT_BYTES = 16 * 2**20  # the specification sets none
KEPT_BYTES = 4096  # of each end of a line over the limit, where its id may be
MAX_PART = 2  # times the limit: a longer line is reported in parts
SMALL_BYTES = 4096  # a smaller piece is appended to the one before: objects have an overhead

# Line ends of some readers: CR of Python's text files, Node's `readline` and Java's
# `BufferedReader`; U+2028 and U+2029 of `readline` too; all four of `str.splitlines` and Java's
# `Scanner`. The other characters at which `splitlines` splits are not allowed in JSON.
_SPACED = bytes.maketrans(b"\r\n", b"  ")
_ENDS = {"\x85": r"\u0085", "\u2028": r"\u2028", "\u2029": r"\u2029"}


def one_line(frame: bytes, text: str) -> bytes:
    """The same JSON text as a line that every reader of lines reads as one.

    CR and LF are between tokens and become spaces. The other line ends are in strings and are
    escaped (RFC 8259, section 7). One CR at the very end stays: together with the LF that follows
    it ends the line, as on Windows.

    Args:
        frame: valid JSON; the meaning of anything else may change.
        text: the frame, decoded: a character is found in it much faster than its bytes.

    Returns:
        The frame itself if it is such a line already, as it nearly always is.
    """
    if b"\n" in frame or (b"\r" in frame and frame.find(b"\r") != len(frame) - 1):
        frame = frame.translate(_SPACED)
        text = frame.decode("utf-8")
    if text.isascii():
        return frame
    escaped = without_line_ends(text)
    return frame if escaped is text else escaped.encode("utf-8")


def without_line_ends(text: str) -> str:
    """The JSON text with each line end in a string escaped; the text itself if it has none."""
    if not text.isascii():
        for end, escape in _ENDS.items():
            if end in text:
                text = text.replace(end, escape)
    return text


class Oversized(bytes):
    """Both ends of a line over the limit, or of a part of a line that is far over it.

    Attributes:
        head: the beginning of the line; empty if an earlier part had it.
        tail: the end of the line; empty if the line goes on.
        size: the number of bytes in the line or part.
    """

    head: bytes
    tail: bytes
    size: int

    @classmethod
    def of(cls, head: bytes, tail: bytes, size: int) -> Oversized:
        """The ends of a line or part of this size."""
        oversized = cls(head + tail)
        oversized.head, oversized.tail, oversized.size = head, tail, size
        return oversized


class Lost(bytes):
    """In place of an answer that will not come.

    Attributes:
        id_token: of the request that waits, as it is written in its frame.
        why: the reason, in words for the client.
        code: the JSON-RPC error code for the client.
        sent: False if the request certainly never reached the server.
    """

    id_token: str
    why: str
    code: int
    sent: bool

    @classmethod
    def of(cls, id_token: str, why: str, code: int = PEER_GONE, *, sent: bool = True) -> Lost:
        """In place of the answer to a request."""
        lost = cls(b'{"id":' + id_token.encode() + b"}")
        lost.id_token, lost.why, lost.code, lost.sent = id_token, why, code, sent
        return lost


class LineFrames:
    """Splits a stream into lines. The limit bounds its memory, whatever comes."""

    def __init__(self, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._chunks: list[bytes | bytearray] = []
        self._size = 0
        self._head: bytes | None = None  # set while a line over the limit is being discarded

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the stream; return the lines that they complete.

        Lines come without their LF, and blank lines are left out. A line over the limit comes as
        an Oversized. One over `MAX_PART` times the limit comes in parts, so that nobody waits for
        an end that may never come.
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
        if self._head is not None and self._size > MAX_PART * self._limit:
            frames.append(Oversized.of(self._head, b"", self._size))
            self._head, self._size = b"", 0
        return frames

    def end(self) -> list[bytes]:
        """End the stream; return what there is of an unfinished line."""
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
        line = b"".join(self._chunks)
        if self._head is None:
            self._head = line[:KEPT_BYTES]
        self._chunks = [line[-KEPT_BYTES:]]

    def _take(self) -> bytes:
        frame = b"".join(self._chunks)  # of a single piece, the very object
        if self._head is not None:
            frame = Oversized.of(self._head, frame, self._size)
        self._chunks, self._size, self._head = [], 0, None
        return frame
