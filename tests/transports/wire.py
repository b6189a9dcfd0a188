"""Real sockets for the tests of transports: odd servers, clients byte by byte, and a watched loop.

It knows HTTP and asyncio, and neither MCP nor PipeGuard.
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar

from aiohttp import web

PATIENCE_SECONDS = 60.0  # only a failure waits so long
T = TypeVar("T")
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a test on a loop; an error in a task that nobody awaits fails it as well."""
    complaints: list[dict[str, Any]] = []
    gc.freeze()  # what other tests left behind is not looked through: that took half a second

    async def watched() -> T:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        async with asyncio.timeout(PATIENCE_SECONDS):
            done = await work()
        await asyncio.sleep(0)  # what was cancelled comes to its end
        gc.collect()
        return done

    done = asyncio.run(watched())
    gc.collect()
    assert complaints == []
    return done


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """A server on this machine; gives its address, as `http://127.0.0.1:1234`."""
    runner = web.ServerRunner(web.Server(handler, handler_cancellation=True), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Answer(NamedTuple):
    """A response over HTTP/1.1."""

    status: int
    headers: dict[str, str]
    body: bytes


async def exchange(port: int, sent: bytes) -> Answer:
    """Send bytes as they are, and read one answer; status 0 if the connection was closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        await writer.drain()
        return await read_answer(reader)
    except ConnectionError:
        return Answer(0, {}, b"")
    finally:
        writer.close()


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """One answer, whose body has a length or ends with the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return Answer(0, {}, b"")
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    length = headers.get("content-length")
    if length is not None:
        body = await reader.readexactly(int(length))
    elif headers.get("transfer-encoding") == "chunked":
        body = await _chunks(reader)
    else:
        body = await reader.read()
    return Answer(int(first.split()[1]), headers, body)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


async def eventually(holds: Callable[[], object], what: str) -> None:
    """Wait for a fact that nothing announces; the pause only spares the processor."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS / 2):
            while not holds():  # noqa: ASYNC110  of many facts, most are no event
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"waited in vain until {what}") from None
