r"""Reads and writes server-sent events. Knows lines and fields, and no JSON.

HTML Living Standard, 9.2.5 and 9.2.6. Events are rewritten from the parsed fields, so that no two
readers see different events. LF, CR LF and CR each end a line, also at the end of a piece.
"""

from typing import NamedTuple

from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.framing import DEFAULT_LIMIT_BYTES, KEPT_BYTES, Oversized

MESSAGE = "message"
MAX_FIELD_BYTES = 8192  # of an event's name or cursor
MAX_RETRY_MS = 24 * 3600 * 1000
ENDLESS = 4  # times the limit: an event that is longer never ends, and all others wait behind it
_BOM = b"\xef\xbb\xbf"
_DATA = b"data:"
_LINE_END = lazy_regex(rb"\r\n|\n|\r")


class ServerSentEvent(NamedTuple):
    """One event, or only a comment.

    Attributes:
        data: its data lines joined by LF; None if it has none, and so no message. If they exceed
            the limit, an Oversized.
        name: the type of event, `message` by default.
        id: the server's cursor, for `Last-Event-ID`, or None.
        retry_ms: the reconnection time, or None.
        comment: the text of a comment, which keeps a connection alive.
    """

    data: bytes | None
    name: str = MESSAGE
    id: str | None = None
    retry_ms: int | None = None
    comment: bytes | None = None


class EventStream:
    """Splits a stream into events. The limit bounds its memory for any input.

    Attributes:
        overrun: True once an event never ends, or a line other than data exceeded its limit; no
            more is read after that.
    """

    def __init__(self, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._begun = bytearray()  # a line whose end has not come yet
        self._first = True
        self._after_cr = False
        self._is_odd = False
        self._clear()
        self.overrun = False

    @property
    def is_too_large(self) -> bool:
        """True within an event over the limit."""
        return self.overrun or self._head is not None

    def feed(self, piece: bytes) -> list[ServerSentEvent]:
        """Take the next bytes; return the events that they complete."""
        events: list[ServerSentEvent] = []
        if self.overrun or not piece:
            return events
        if self._after_cr:
            piece = piece.removeprefix(b"\n")
        self._after_cr = piece.endswith(b"\r")
        start = 0
        for end in _LINE_END.finditer(piece):
            line = piece[start : end.start()]
            start = end.end()
            if self._begun:
                line = bytes(self._begun + line)
                self._begun.clear()
            event = self._line(line)
            if event is not None:
                events.append(event)
        self._begun += piece[start:]
        if len(self._begun) + len(self._data or b"") > self._limit:
            self._discard()
        if self._is_odd:
            self.overrun = True
            self._begun.clear()
            self._clear()
        return events

    def _clear(self) -> None:
        self._data: bytes | bytearray | None = None
        self._head: bytes | None = None  # of data over the limit; `_data` has only its end
        self._dropped = 0  # bytes of it
        self._name = MESSAGE
        self._id: str | None = None
        self._retry_ms: int | None = None

    def _discard(self) -> None:
        """Keep both ends of the data of an event over the limit."""
        if self._begun and not self._begun.startswith(_DATA):
            self._is_odd = True  # a comment, or a name
            return
        value = bytes(self._begun[len(_DATA) :]).removeprefix(b" ") if self._begun else None
        data = b"\n".join([bytes(line) for line in (self._data, value) if line is not None])
        if self._head is None:
            self._head = data[:KEPT_BYTES]
        self._dropped += max(0, len(data) - KEPT_BYTES)
        if value is None:
            self._data = data[-KEPT_BYTES:]
        else:
            self._data = None
            self._begun[:] = _DATA + data[-KEPT_BYTES:]
        self._is_odd = self._dropped > ENDLESS * self._limit

    def _line(self, line: bytes) -> ServerSentEvent | None:
        if self._first:
            self._first = False
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatch()
        name, colon, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not name and colon:
            # At once, even within an event: a comment is useful only in time.
            return ServerSentEvent(None, comment=value)
        if name == b"data":
            self._add(value)
        elif name in (b"event", b"id") and len(value) > MAX_FIELD_BYTES:
            self._is_odd = True  # it would be stored, and sent back in a header
        elif name == b"event":
            self._name = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and value.isascii():
            self._retry_ms = min(int(value.lstrip(b"0")[:10] or b"0"), MAX_RETRY_MS)
        return None

    def _add(self, value: bytes) -> None:
        if self._data is None:
            self._data = value  # the common case: all data on one line
            return
        if isinstance(self._data, bytes):
            self._data = bytearray(self._data)
        self._data += b"\n" + value

    def _dispatch(self) -> ServerSentEvent | None:
        data = None if self._data is None else bytes(self._data)
        if self._head is not None:
            tail = (data or b"")[-KEPT_BYTES:]
            data = Oversized.of(self._head, tail, self._dropped + len(data or b""))
        event = ServerSentEvent(data, self._name or MESSAGE, self._id, self._retry_ms)
        self._clear()
        has_content = data is not None or event.id is not None or event.retry_ms is not None
        return event if has_content else None


def to_bytes(event: ServerSentEvent) -> bytes:
    """An event as bytes, with LF at the end of each line.

    Some clients split lines like `str.splitlines`, so no name, cursor or comment with such a line
    end is written. Data has none, because it was judged.
    """
    lines: list[bytes] = []
    if event.comment is not None:
        comment = event.comment.decode("utf-8", "replace")
        return b":" + (event.comment if _is_one_line(comment) else b"") + b"\n\n"
    if event.name != MESSAGE:
        lines.append(b"event: " + (event.name if _is_one_line(event.name) else "unread").encode())
    elif event.data:
        lines.append(b"event: message")
    if event.id is not None and _is_one_line(event.id):
        lines.append(b"id: " + event.id.encode())
    if event.retry_ms is not None:
        lines.append(b"retry: %d" % event.retry_ms)
    if event.data is not None:
        # A CR ends a line too: one between two values of a frame would cut the frame short.
        lines += [b"data: " + line for line in _LINE_END.split(event.data)]
    return b"\n".join(lines) + b"\n\n"


def _is_one_line(text: str) -> bool:
    return text.splitlines() in ([], [text])
