"""Bodies of a server's answers: decompressed where necessary, and bounded in size."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Iterable

import aiohttp

_PIECE_BYTES = 2**16


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
        async for plain in _decompressed(decompressor, piece):
            yield plain
    if decompressor is not None and not decompressor.eof:
        raise Unreadable("the answer is compressed, and cut short")


async def _decompressed(decompressor: zlib._Decompress, piece: bytes) -> AsyncIterator[bytes]:
    while piece:
        try:
            plain = decompressor.decompress(piece, _PIECE_BYTES)
        except zlib.error:
            raise Unreadable("the answer is not compressed as its header says") from None
        if plain:  # a header, or half a block, gives nothing yet
            yield plain
        if decompressor.unused_data:  # zlib would keep all of it
            raise Unreadable("the answer goes on behind its compressed part")
        piece = decompressor.unconsumed_tail
        await asyncio.sleep(0)  # a few bytes may expand to megabytes: others have their turn


def _decompressor(header: Iterable[str]) -> zlib._Decompress | None:
    """What decompresses a body; None where it is plain (RFC 9110, section 8.4.1)."""
    codings = [coding.strip().lower() for line in header for coding in line.split(",")]
    codings = [coding for coding in codings if coding not in ("", "identity")]
    if not codings:
        return None
    if codings in (["gzip"], ["x-gzip"], ["deflate"]):
        return zlib.decompressobj(zlib.MAX_WBITS | 32)  # accepts the header of either
    raise Unreadable("the answer is compressed in a way that was not asked for")


async def read_body(
    answer: aiohttp.ClientResponse,
    limit_bytes: int,
    hold: Callable[[int], object] = lambda _: None,
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

    def take(size: int) -> None:
        if size > limit_bytes:
            answer.close()
            raise Unreadable("the answer is larger than the limit")
        hold(size)

    if answer.content.is_eof() and "Content-Encoding" not in answer.headers:
        body = answer.content.read_nowait()  # it came with the head, as a small body does
        take(len(body))
        return body
    pieces: list[bytes] = []
    size = 0
    async for piece in body_pieces(answer):
        size += len(piece)
        take(size)
        pieces.append(piece)
    return b"".join(pieces)
