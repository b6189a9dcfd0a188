"""A Streamable HTTP MCP client that adds as little as possible to what is measured.

One `Connection` is one socket and one session; its requests go one after the other. It knows only
as much HTTP as a response needs: a length or chunks, and events.
"""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Self
from urllib.parse import urlsplit

STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:\s*chunked", re.IGNORECASE)
SESSION = re.compile(rb"\r\nmcp-session-id:\s*(\S+)", re.IGNORECASE)
EVENTS = re.compile(rb"\r\ncontent-type:\s*text/event-stream", re.IGNORECASE)
VERSION = "2025-06-18"
INITIALIZE = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": VERSION,
            "capabilities": {},
            "clientInfo": {"name": "http", "version": "1"},
        },
    }
).encode()
INITIALIZED = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
LIST = b'{"jsonrpc":"2.0","id":%d,"method":"tools/list"}'
CALL = b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"%b","arguments":{}}}'
BLANK = re.compile(rb"\r?\n\r?\n")
PATIENCE_SECONDS = 60  # for one answer; only a failure waits so long


@dataclass(frozen=True, slots=True)
class Response:
    """A response; the body of a stream is the data of its last event."""

    status: int
    head: bytes
    body: bytes


class Connection(asyncio.Protocol):
    """One socket to one address.

    Attributes:
        session: the id that the server gave, or empty.
        events: the data of the events of the open stream.
    """

    def __init__(self, url: str) -> None:
        self.address = urlsplit(url)
        self.session = b""
        self.last_id = 1
        self.events: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._answer: asyncio.Future[Response] | None = None
        self._head: bytes | None = None  # of the response that is being read
        self._need: int | None = None  # bytes of its body; None for chunks
        self._body = b""
        self._is_stream = False
        self._news: asyncio.Future[None] | None = None

    @classmethod
    async def open(cls, url: str) -> Self:
        """Connect."""
        connection = cls(url)
        address = connection.address
        loop = asyncio.get_running_loop()
        host, port = address.hostname or "", address.port or 80
        await loop.create_connection(lambda: connection, host, port)
        return connection

    @classmethod
    async def session_at(cls, url: str) -> Self:
        """Connect, open a session, and list the tools, as every client does before it calls one."""
        connection = await cls.open(url)
        opened = await connection.post(INITIALIZE)
        if opened.status != 200 or b'"result"' not in opened.body:
            raise ConnectionError(f"{url} opens no session: {opened.status} {opened.body!r}")
        header = SESSION.search(opened.head)
        connection.session = header[1] if header else b""
        await connection.post(INITIALIZED)
        connection.last_id += 1
        await connection.post(LIST % connection.last_id)
        return connection

    # --- the session --------------------------------------------------------------------

    async def call(self, tool: bytes) -> tuple[int, bytes]:
        """Call a tool; returns the nanoseconds that it took, and the answer without its id."""
        self.last_id += 1
        request = self.request(b"POST", CALL % (self.last_id, tool))
        start = perf_counter_ns()
        response = await self.send(request)
        taken = perf_counter_ns() - start
        if response.status != 200 or b'"result"' not in response.body:
            raise ConnectionError(f"{tool!r} fails: {response.status} {response.body!r}")
        return taken, response.body.replace(b":%d," % self.last_id, b":0,", 1)

    async def post(self, body: bytes) -> Response:
        """Send a message, and read the whole response."""
        return await self.send(self.request(b"POST", body))

    async def listen(self) -> None:
        """Open the stream for messages that belong to no request."""
        self.write(self.request(b"GET"))
        await asyncio.wait_for(self.heard_head(), PATIENCE_SECONDS)

    async def end(self) -> None:
        """End the session, and hang up."""
        if self.session:
            await self.send(self.request(b"DELETE"))
        self.close()

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()

    # --- HTTP ---------------------------------------------------------------------------

    def request(self, method: bytes, body: bytes = b"") -> bytes:
        """A whole request."""
        lines = [
            b"%b %b HTTP/1.1" % (method, self.address.path.encode()),
            b"Host: %b" % self.address.netloc.encode(),
            b"Accept: application/json, text/event-stream",
            b"MCP-Protocol-Version: %b" % VERSION.encode(),
        ]
        if self.session:
            lines.append(b"Mcp-Session-Id: " + self.session)
        if method == b"POST":
            lines += [b"Content-Type: application/json", b"Content-Length: %d" % len(body)]
        return b"\r\n".join(lines) + b"\r\n\r\n" + body

    def write(self, request: bytes) -> None:
        """Send bytes without waiting for the response."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionError("the connection is closed")
        self._transport.write(request)

    async def send(self, request: bytes) -> Response:
        """Send a request, and wait for the whole response."""
        self._answer = asyncio.get_running_loop().create_future()
        self.write(request)
        return await self._answer

    async def heard_head(self) -> None:
        """Wait for the head of a response."""
        await self._until(lambda: self._head is not None)

    async def heard_events(self, count: int) -> None:
        """Wait for this many events of a stream."""
        await self._until(lambda: len(self.events) >= count)

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not holds():
                self._news = asyncio.get_running_loop().create_future()
                await self._news

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        """Fail whatever waits for data."""
        for waiting in (self._answer, self._news):
            if waiting is not None and not waiting.done():
                waiting.set_exception(error or ConnectionError("the connection was closed"))

    def data_received(self, data: bytes) -> None:
        """Read a part of the response; there is one at a time."""
        self._buffer += data
        if self._head is None and not self._read_head():
            return
        if self._need is None:
            self._read_chunks()
        elif len(self._buffer) >= self._need:
            body, self._buffer = self._buffer[: self._need], self._buffer[self._need :]
            self._finish(body)
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        self._head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
        length = LENGTH.search(self._head)
        self._need = int(length[1]) if length else None if CHUNKED.search(self._head) else 0
        self._is_stream = EVENTS.search(self._head) is not None
        self._body = b""
        return True

    def _read_chunks(self) -> None:
        """Take whole chunks (RFC 9112, section 7.1) from the buffer."""
        position = 0
        while (line := self._buffer.find(b"\r\n", position)) >= 0:
            size = int(self._buffer[position:line].split(b";")[0], 16)
            if len(self._buffer) < line + 2 + size + 2:
                break
            self._body += self._buffer[line + 2 : line + 2 + size]
            position = line + 2 + size + 2
            if size == 0:
                self._buffer = self._buffer[position:]
                self._take_events()
                self._finish(self.events[-1] if self._is_stream and self.events else self._body)
                return
        self._buffer = self._buffer[position:]
        self._take_events()

    def _take_events(self) -> None:
        if not self._is_stream:
            return
        *whole, self._body = BLANK.split(self._body)
        for block in whole:
            data = [line for line in block.splitlines() if line.startswith(b"data:")]
            if data:
                self.events.append(b"\n".join(line[5:].removeprefix(b" ") for line in data))

    def _finish(self, body: bytes) -> None:
        head = self._head or b""
        status = STATUS.match(head)
        self._head = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Response(int(status[1]) if status else 0, head, body))
