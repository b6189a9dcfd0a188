"""Bodies of answers: decompressed, bounded. transports/http/client/bodies.py, as relays use it."""

import asyncio
import gzip

import aiohttp
from aiohttp import web

from pipeguard.transports.http.client.bodies import body_pieces
from tests.transports.wire import eventually, serving

HEADER_BYTES = 10  # of gzip (RFC 1952, section 2.3)


async def test_a_compressed_body_may_begin_with_a_piece_that_gives_nothing_yet() -> None:
    """An empty piece would be taken for the end of a stream of events."""
    compressed = gzip.compress(b"data: x\n\n")
    was_read = asyncio.Event()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Encoding": "gzip"})
        await response.prepare(request)
        await response.write(compressed[:HEADER_BYTES])
        await was_read.wait()
        await response.write(compressed[HEADER_BYTES:])
        return response

    async with (
        serving(handle) as url,
        aiohttp.ClientSession(auto_decompress=False) as http,
        http.get(url) as answer,
    ):
        pieces = body_pieces(answer)
        first = asyncio.ensure_future(anext(pieces))
        await eventually(lambda: answer.content.total_bytes == HEADER_BYTES, "it is read")
        await asyncio.sleep(0)
        assert not first.done()
        was_read.set()
        assert await first == b"data: x\n\n"
        assert [piece async for piece in pieces] == []
