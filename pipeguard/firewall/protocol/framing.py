r"""Splits a byte stream into frames, and writes frames that every reader reads as one line.

MCP's stdio transport puts one JSON text on each line, ended by LF (basic/transports, all
revisions). Only the byte 0x0A ends a line here: U+2028, U+2029, U+0085 and CR are data. Other
readers split at those too, so no forwarded frame contains one.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress

from pipeguard.errors import Refusal
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol import codes, ids, json_values, spelling
from pipeguard.records import NamedTuple

DEFAULT_LIMIT_BYTES = 16 * 2**20  # the specification sets none
KEPT_BYTES = 4096  # of each end of a line over the limit, which may have its id
MAX_PART = 2  # times the limit: a longer line is reported in parts
SMALL_BYTES = 4096  # a smaller piece is appended to the one before: objects have an overhead

# Line ends of some readers: CR of Python's text files, Node's `readline` and Java's
# `BufferedReader`; U+2028 and U+2029 of `readline` too; all four of `str.splitlines` and Java's
# `Scanner`. The other characters at which `splitlines` splits are not allowed in JSON.
_SPACED = bytes.maketrans(b"\r\n", b"  ")


def one_line(frame: bytes, text: str) -> bytes:
    """Rewrite JSON text so that every line reader reads it as one line.

    CR and LF are between tokens and become spaces. The other line ends are in strings and are
    escaped (RFC 8259, section 7). One CR at the very end stays: together with the LF that follows
    it ends the line, as on Windows.

    Args:
        frame: valid JSON; other text may change its meaning.
        text: the frame, decoded: a character is found in it much faster than its bytes.

    Returns:
        The frame itself if it is one line already, as it nearly always is.
    """
    if b"\n" in frame or (b"\r" in frame and frame.find(b"\r") != len(frame) - 1):
        frame = frame.translate(_SPACED)
        text = frame.decode("utf-8")
    if text.isascii():
        return frame
    escaped = json_values.without_line_ends(text)
    return frame if escaped is text else escaped.encode("utf-8")


class Oversized(bytes):
    """Both ends of a line over the limit, or of a part of a line that is far over it.

    Attributes:
        head: the beginning of the line; empty if an earlier part had it, with an id.
        tail: the end of the line; empty if the line continues.
        size: the number of bytes in the line or part.
    """

    head: bytes
    tail: bytes
    size: int

    @classmethod
    def of(cls, head: bytes, tail: bytes, size: int) -> Oversized:
        """The ends of a line or part of this size."""
        oversized = cls(head + tail)
        oversized.head = head
        oversized.tail = tail
        oversized.size = size
        return oversized


class Lost(bytes):
    """A stand-in for an answer that will not come.

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
    def of(cls, id_token: str, why: str, code: int = codes.PEER_GONE, *, sent: bool = True) -> Lost:
        """A stand-in for the answer to a request."""
        lost = cls(b'{"id":' + id_token.encode() + b"}")
        lost.id_token = id_token
        lost.why = why
        lost.code = code
        lost.sent = sent
        return lost


class KnownResult(bytes):
    """The frame of a result whose value is known, and which has no effect on later messages.

    Attributes:
        id_token: of the request that it answers, as it is written in its frame.
    """

    id_token: str

    @classmethod
    def of(cls, frame: bytes, id_token: str) -> KnownResult:
        """Mark a frame, which is one line."""
        known = cls(frame)
        known.id_token = id_token
        return known


class LineFrames:
    """Splits a stream into lines. The limit bounds its memory for any input."""

    def __init__(self, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._chunks: list[bytes | bytearray] = []
        self._size = 0
        self._head: bytes | None = None  # set while a line over the limit is being discarded

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the stream; return the lines that they complete.

        Lines come without their LF, and blank lines are left out. A line over the limit comes as an
        Oversized. One over `MAX_PART` times the limit comes in parts, so that no reader waits for
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
            self._head = b"" if legible_ids(frames[-1]) else self._head
            self._size = 0
        return frames

    def end(self) -> list[bytes]:
        """End the stream; return the rest of an unfinished line."""
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
        self._chunks = []
        self._size = 0
        self._head = None
        return frame


# --- frame outline ----------------------------------------------------------------------
# The outline of a frame that could not be parsed: its id and the names of its top-level members.

MAX_TOKENS = 100_000  # read in one frame, in about 50 ms
MAX_MESSAGES = 100  # of a batch

_STRING = rb'"[^"\\]*+(?>(?>(?:\\.[^"\\]*+){1,500})*)"'
_COMMENT = rb"/\*.*?\*/"  # no JSON, but many readers skip it
_TOKEN = lazy_regex(_STRING + rb"|" + _COMMENT + rb'|[{}\[\],:"]|[^\s{}\[\],:"]++', re.DOTALL)
# Below the top only the depth counts.
_NESTED = lazy_regex(_STRING + rb"|" + _COMMENT + rb'|[{}\[\]"]', re.DOTALL)
# The last members of a frame are at its top level: some SDKs write the id there, after the result.
_ID = rb'"id"\s*:\s*(-?\d{1,40}|"[^"\\\x00-\x1f]{0,1024}")\s*'
_MEMBER = rb'"(?:jsonrpc|method)"\s*:\s*"[^"\\]{0,200}"\s*'
_TAIL = lazy_regex(
    rb"[\}\]]\s*,\s*(?:" + _MEMBER + rb",\s*){0,2}" + _ID + rb"(?:,\s*" + _MEMBER + rb"){0,2}\}\s*$"
)
_BOM = b"\xef\xbb\xbf"


class Outline(NamedTuple):
    """The legible parts of one message.

    Attributes:
        id: its id as it is written in the frame, or None.
        names: the folded names of its top-level members (firewall.protocol.strict_json).
    """

    id: bytes | None
    names: frozenset[str]

    @property
    def asks(self) -> bool | None:
        """True for a request, False for an answer, None if the names do not tell."""
        if self.names & {"method", "params"}:
            return True
        return False if self.names & {"result", "error"} else None


def outlines(frame: bytes) -> list[Outline]:
    """The outline of a message, or of each message of a batch; empty if the frame is neither."""
    if isinstance(frame, Oversized):
        return _with_tail(_Scan(frame.head).messages, frame.tail) if frame.head else []
    scan = _Scan(frame.removeprefix(_BOM))
    return scan.messages if scan.is_whole else _with_tail(scan.messages, bytes(frame[-KEPT_BYTES:]))


def legible_ids(frame: bytes) -> list[tuple[str, bool | None]]:
    """The id tokens that can be read in a refused frame, each with `Outline.asks`."""
    tokens: dict[str, bool | None] = {}
    for outline in outlines(frame):
        token = _id_token(outline.id) if outline.id is not None else None
        if token is not None:
            tokens.setdefault(token, outline.asks)
    return list(tokens.items())


def legible_id(frame: bytes) -> str | None:
    """The first id token that can be read in a refused frame, or None."""
    return next((token for token, _ in legible_ids(frame)), None)


def is_request_shaped(frame: bytes) -> bool | None:
    """`Outline.asks` of the first message in a refused frame; None without a message."""
    return next((outline.asks for outline in outlines(frame)), None)


def is_answer(frame: bytes, refusal: Refusal, *, asks: bool | None) -> bool:
    """True if a server's refused frame with an id answers the request of that id.

    A frame that was not read to its end, or is not JSON-RPC, may be text or the beginning of a
    notification: it is an answer only if it has a result or an error.

    Args:
        frame: the frame.
        refusal: why it was refused.
        asks: `Outline.asks` of it.
    """
    if asks is not None or isinstance(frame, Oversized) or refusal.code == codes.PARSE_ERROR:
        return asks is False
    return refusal.rule != "protocol.jsonrpc-version"


def answered_ids(frame: bytes, refusal: Refusal) -> list[str]:
    """The ids of the requests that a refused frame of a server answers."""
    return [token for token, asks in legible_ids(frame) if is_answer(frame, refusal, asks=asks)]


class _Scan:
    """One pass over the tokens of the first JSON value.

    Attributes:
        messages: the outlines so far.
        is_whole: True once the value was read to its end, or turned out to be no message.
    """

    def __init__(self, data: bytes) -> None:
        self.messages: list[Outline] = []
        self.is_whole = False
        self._depth = 0
        self._level = 0  # the depth of the current message's members; 0 outside a message
        self._is_batch = False
        self._id: bytes | None = None
        self._names: set[str] = set()
        self._key: str | None = None
        position = 0
        for _ in range(MAX_TOKENS):
            pattern = _NESTED if 0 < self._level < self._depth else _TOKEN
            match = pattern.search(data, position)
            if match is None or match[0] == b'"':  # the end, or an unterminated string
                break
            token = match[0]
            position = match.end()
            self._take(token, is_ended=position < len(data) or token.startswith(b'"'))
            if self.is_whole:
                return
        self._end()

    def _take(self, token: bytes, *, is_ended: bool) -> None:
        if token.startswith(b"/*"):
            return
        if token in (b"{", b"["):
            self._open(token)
        elif self._depth == 0:
            self.is_whole = True  # a frame that begins with anything else is not a message
        elif token in (b"}", b"]"):
            self._depth -= 1
            self._key = None
            if self._depth < self._level:
                self._end()
            self.is_whole = self._depth == 0 or len(self.messages) == MAX_MESSAGES
        elif 0 < self._level == self._depth:
            self._member(token, is_ended=is_ended)

    def _open(self, token: bytes) -> None:
        if self._depth == 0:
            self._is_batch = token == b"["
        self._depth += 1
        self._key = None
        if self._level == 0 and token == b"{" and self._depth == 1 + self._is_batch:
            self._level = self._depth
            self._id = None
            self._names = set()

    def _member(self, token: bytes, *, is_ended: bool) -> None:
        if token == b",":
            self._key = None
        elif token == b":":
            return
        elif self._key is None:
            self._key = _name(token)
            self._names.add(self._key)
        else:
            if self._key == "id" and self._id is None and is_ended:
                self._id = token
            self._key = None

    def _end(self) -> None:
        if self._level:
            self.messages.append(Outline(self._id, frozenset(self._names)))
            self._level = 0


def _name(token: bytes) -> str:
    """The folded name of a key. `id` must be spelt exactly, because an answer repeats it."""
    text = token.strip(b'"').decode("utf-8", "replace")
    with suppress(ValueError):
        text = str(json.loads(token, strict=False))
    name = spelling.folded_name(text)
    return name if name != "id" or text == "id" else ""


def _with_tail(messages: list[Outline], tail: bytes) -> list[Outline]:
    """The outlines, with the id at the end of the frame if a single message has none."""
    if len(messages) > 1 or (messages and messages[0].id is not None):
        return messages
    last = _TAIL.search(tail)
    if last is None:
        return messages
    names = messages[0].names if messages else frozenset()
    return [Outline(last[1], names | ({"method"} if b'"method"' in last[0] else frozenset()))]


def _id_token(written: bytes) -> str | None:
    """The token of an id as it is written in a frame; None if it is malformed."""
    with suppress(ValueError):
        text = written.decode("utf-8")
        return ids.write_id(json.loads(text) if text.startswith('"') else json_values.Number(text))
    return None
