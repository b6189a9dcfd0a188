"""Bodies of a server's answers: decompressed if necessary, and bounded in size."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import suppress

import aiohttp

from pipeguard.errors import Refusal
from pipeguard.firewall.protocol.ids import match_answer
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, as_object
from pipeguard.firewall.session import replies
from pipeguard.transports.bounded import SMALL_BYTES
from pipeguard.transports.http import correlator, request_headers
from pipeguard.transports.http.headers import EVENTS, JSON, is_text, media_type
from pipeguard.transports.judging import offload, parse_value, read_frame
from pipeguard.transports.sse import MESSAGE, EventStream, ServerSentEvent
from pipeguard.transports.tasks import MOST_PAUSE_SECONDS

_PIECE_BYTES = 2**16
NETWORK_ERRORS = (aiohttp.ClientError, OSError)  # of a connection, including its time-outs


class Unreadable(Exception):  # noqa: N818  the peer's body is at fault
    """The body is too large to be judged, or its coding is not supported."""


async def body_pieces(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Yield a body as it arrives; decompressed, although compression was not asked for.

    Raises:
        Unreadable: the coding is neither gzip nor deflate, or the body does not follow it.
        aiohttp.ClientError: the connection was lost.
    """
    decompressor = _decompressor(answer.headers.getall("Content-Encoding", ()))
    async for piece in answer.content.iter_any():
        if decompressor is None:
            yield piece
            continue
        async for plain in _decompress(decompressor, piece):
            yield plain
    if decompressor is not None and not decompressor.eof:
        raise Unreadable("the answer is compressed, and cut short")


async def _decompress(decompressor: zlib._Decompress, piece: bytes) -> AsyncIterator[bytes]:
    while piece:
        try:
            plain = decompressor.decompress(piece, _PIECE_BYTES)
        except zlib.error:
            raise Unreadable("the answer is not compressed as its header says") from None
        if plain:  # a header, or half a block, gives nothing yet
            yield plain
        if decompressor.unused_data:  # zlib would keep all of it
            raise Unreadable("the answer continues after its compressed part")
        piece = decompressor.unconsumed_tail
        await asyncio.sleep(0)  # a few bytes may expand to megabytes: others have their turn


def _decompressor(header: Iterable[str]) -> zlib._Decompress | None:
    """The decompressor of a body; None if it is plain (RFC 9110, section 8.4.1)."""
    codings = [coding.strip().lower() for line in header for coding in line.split(",")]
    codings = [coding for coding in codings if coding not in ("", "identity")]
    if not codings:
        return None
    if codings in (["gzip"], ["x-gzip"], ["deflate"]):
        return zlib.decompressobj(zlib.MAX_WBITS | 32)  # accepts the header of either
    raise Unreadable("the answer is compressed in a way that was not asked for")


async def read_body(
    answer: aiohttp.ClientResponse, limit_bytes: int, hold: Callable[[int], object] = lambda _: None
) -> bytes:
    """Read a whole body.

    Args:
        answer: the answer whose body is read.
        limit_bytes: of the body.
        hold: called with the number of bytes so far.

    Raises:
        Unreadable: it exceeds `limit_bytes`, which ends the reading, or cannot be decompressed.
        aiohttp.ClientError: the connection was lost.
    """
    is_plain = "Content-Encoding" not in answer.headers
    if is_plain and (arrived := read_arrived(answer.content, limit_bytes)) is not None:
        return arrived
    try:
        return await join_pieces(body_pieces(answer), limit_bytes, hold)
    except Unreadable:
        answer.close()
        raise


def read_arrived(content: aiohttp.StreamReader, limit_bytes: int) -> bytes | None:
    """Read a small body; None if it has not arrived as a whole, or is not small."""
    is_small = content.is_eof() and content.total_bytes <= min(limit_bytes, SMALL_BYTES)
    return content.read_nowait() if is_small else None


async def join_pieces(
    pieces: AsyncIterable[bytes], limit_bytes: int, hold: Callable[[int], object]
) -> bytes:
    """Join the pieces of a body.

    Raises:
        Unreadable: they exceed the limit; the rest is not read.
    """
    read: list[bytes] = []
    size = 0
    async for piece in pieces:
        size += len(piece)
        if size > limit_bytes:
            raise Unreadable("the answer is larger than the limit")
        hold(size)
        read.append(piece)
    return read[0] if len(read) == 1 else b"".join(read)


async def read_events(
    answer: aiohttp.ClientResponse, limit_bytes: int
) -> AsyncIterator[list[ServerSentEvent]]:
    """Yield the events of a stream, as many as arrive at once.

    Raises:
        Unreadable: an event exceeds the limit, or the body cannot be decompressed.
        aiohttp.ClientError: the connection was lost.
    """
    stream = EventStream(limit_bytes)
    try:
        async for piece in body_pieces(answer):
            yield stream.feed(piece)
            if stream.overrun:
                break
    except NETWORK_ERRORS:
        if not stream.is_too_large:
            raise
    if stream.is_too_large:
        raise Unreadable("the answer is larger than the limit")


# --- answers ----------------------------------------------------------------------------
# Reads a server's answers out of HTTP bodies: one JSON text, or a stream of events.

Learn = Callable[[JsonObject, JsonObject], None]
Deliver = Callable[[bytes], Awaitable[None]]


class AnswerReader:
    """Reads the answers to one request, from as many bodies as it takes.

    Args:
        request: the message; None for a stream of unrequested messages.
        ids: of its requests, as tokens.
        learn: takes the request and each result that answers it.
        deliver: takes each frame.
        limit_bytes: of one frame.

    Attributes:
        unanswered: the ids whose answers have not come.
        cursor: the id of the last event; None if a stream cannot be resumed.
        retry_seconds: how long the server wants us to wait before we resume.
    """

    def __init__(
        self,
        request: JsonValue,
        ids: Collection[str],
        learn: Learn,
        deliver: Deliver,
        limit_bytes: int,
    ) -> None:
        self._request = request
        self._learn = learn
        self._deliver = deliver
        self._limit = limit_bytes
        self.unanswered = set(ids)
        self.cursor: str | None = None
        self.retry_seconds = 0.0

    async def read(self, answer: aiohttp.ClientResponse) -> None:
        """Read a body of either media type; any other holds no answer.

        Raises:
            Unreadable: it cannot be judged; a part of it is delivered.
            aiohttp.ClientError: the connection was lost before the end of a JSON body.
        """
        if media_type(answer) == EVENTS:
            await self.read_events(answer)
        elif media_type(answer) == JSON:
            body = await read_frame(await read_body(answer, self._limit))
            waiting = sorted(self.unanswered)
            frame = await offload(body, replies.set_id, body, waiting) if body else None
            if frame is not None:
                await self._take(frame)

    async def read_events(self, answer: aiohttp.ClientResponse) -> None:
        """Read a stream to its end, or until everything is answered.

        Raises:
            Unreadable: an event exceeds the limit, and would again.
        """
        self.retry_seconds = 0.0
        with suppress(*NETWORK_ERRORS):  # the stream ends here
            async for events in read_events(answer, self._limit):
                if await self._take_events(events):
                    return

    async def _take_events(self, events: Iterable[ServerSentEvent]) -> bool:
        """Deliver the messages; True once the last awaited answer is among them."""
        for event in events:
            if event.id is not None and is_text(event.id):
                self.cursor = event.id or None  # an empty one resets it
            if event.retry_ms is not None:
                self.retry_seconds = min(event.retry_ms / 1000, MOST_PAUSE_SECONDS)
            if not event.data or event.name != MESSAGE:
                continue
            was_waiting = bool(self.unanswered)
            await self._take(event.data)
            if was_waiting and not self.unanswered:
                return True
        return False

    async def _take(self, frame: bytes) -> None:
        if self.unanswered:
            frame = await read_frame(frame)
            with suppress(Refusal):  # the Session says why
                value = await parse_value(frame)
                self._note_answers(value)
                without = request_headers.without_bad_tools
                frame = await offload(frame, without, frame, value, self._request)
        await self._deliver(frame)

    def _note_answers(self, value: JsonValue) -> None:
        for member in value if isinstance(value, list) else [value]:
            token = match_answer(correlator.answered_id(member) or "", self.unanswered.__contains__)
            if token in self.unanswered:
                self.unanswered.discard(token)
                result = as_object(member).get("result")
                if isinstance(result, dict) and isinstance(self._request, dict):
                    self._learn(self._request, result)
