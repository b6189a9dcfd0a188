"""A Streamable HTTP MCP server that costs next to nothing: `server.py [--port N] [--sessions]`.

It reads no more of a request than it must: this benchmark's client writes ids as numbers. Calls of
the tools `small` and `page` are answered with JSON, of `stream` with a stream of events, the second
of which waits for a call of `release`; `slow` takes its time. With `--sessions` it answers 404 to a
session that it did not open. It prints its address on a line.
"""

import argparse
import asyncio
import json
import os
import re
from collections.abc import Callable
from pydoc_data.topics import topics
from typing import ClassVar

ID = re.compile(rb'"id":\s*(\d+)')
TOOL = re.compile(rb'"name":\s*"(\w+)"')
LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
EVENTS = 10_000  # of one stream
EVENTS_A_WRITE = 100
SESSION = b"session-%d-%d"
NAMED = re.compile(rb"\r\nmcp-session-id:\s*(\S+)", re.IGNORECASE)
SLOW_SECONDS = 0.02
PROSE = "\n".join(topics[name] for name in sorted(topics))  # the language reference, as in `help()`
OPENED = (
    b'{"protocolVersion":"2025-06-18","capabilities":{"tools":{},"logging":{}},'
    b'"serverInfo":{"name":"http","version":"1"}}'
)
SCHEMA = {"type": "object"}
LISTED = [
    {"name": name, "description": f"Answers with a {name} one.", "inputSchema": SCHEMA}
    for name in ("small", "page", "slow", "stream", "release")
]
TOOLS = json.dumps({"tools": LISTED}).encode()


def text(words: str) -> bytes:
    """The result of a tool, as bytes."""
    result = {"content": [{"type": "text", "text": words}]}
    return json.dumps(result, separators=(",", ":")).encode()


RESULTS = {
    b"small": text(PROSE[:200]),
    b"page": text(PROSE[:10_000]),
    b"slow": text("at last"),
    b"release": text("released"),
    b"stream": text("all sent"),
}
ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
GONE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
UNKNOWN = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


def answer(number: bytes, result: bytes, more: bytes = b"") -> bytes:
    """A whole response with a JSON body."""
    body = b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (number, result)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n"
    return head % (more, len(body)) + body


def chunk(data: bytes) -> bytes:
    """One chunk of a body of unknown length."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(number: int) -> bytes:
    """One event of a stream, with its number."""
    return (
        b'event: message\ndata: {"jsonrpc":"2.0","method":"notifications/message",'
        b'"params":{"level":"info","data":%d}}\n\n' % number
    )


class Connection(asyncio.Protocol):
    """One connection; requests are answered in order and at once, except for streams."""

    opened: ClassVar[set[bytes]] = set()
    is_strict = False
    waiting: ClassVar[list[Callable[[], None]]] = []  # streams that wait for a release

    def __init__(self) -> None:
        self.buffer = b""
        self.transport: asyncio.Transport | None = None
        self.writable = asyncio.Event()
        self.writable.set()
        self.task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, _error: Exception | None) -> None:
        """Give up a stream without a reader."""
        if self.task is not None:
            self.task.cancel()

    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        self.writable.clear()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        """Answer every complete request."""
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end]
            length = LENGTH.search(head)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self.buffer) < whole:
                return
            body, self.buffer = self.buffer[end + 4 : whole], self.buffer[whole:]
            self.request(head, body)

    def request(self, head: bytes, body: bytes) -> None:
        """Answer one request."""
        assert self.transport is not None
        if self.is_strict and (named := NAMED.search(head)) and named[1] not in self.opened:
            self.transport.write(UNKNOWN)
        elif head.startswith(b"GET"):
            self.transport.write(STREAM)
        elif head.startswith(b"DELETE"):
            self.transport.write(GONE)
        elif (number := ID.search(body)) is None:
            self.transport.write(ACCEPTED)
        elif b'"tools/call"' in body:
            self.call(number[1], body)
        elif b'"initialize"' in body:
            session = SESSION % (os.getpid(), len(self.opened))
            self.opened.add(session)
            self.transport.write(answer(number[1], OPENED, b"Mcp-Session-Id: %b\r\n" % session))
        else:
            self.transport.write(answer(number[1], TOOLS))

    def call(self, number: bytes, body: bytes) -> None:
        """Answer a call."""
        assert self.transport is not None
        named = TOOL.search(body)
        tool = named[1] if named else b"small"
        if tool == b"stream":
            self.task = asyncio.get_running_loop().create_task(self.stream(number))
            return
        if tool == b"release":
            while Connection.waiting:
                Connection.waiting.pop()()
        if tool == b"slow":
            later = asyncio.get_running_loop().call_later
            later(SLOW_SECONDS, self.transport.write, answer(number, RESULTS[tool]))
            return
        self.transport.write(answer(number, RESULTS[tool]))

    async def stream(self, number: bytes) -> None:
        """Send the first event at once, the others when they are released, and the answer."""
        assert self.transport is not None
        released = asyncio.Event()
        Connection.waiting.append(released.set)
        self.transport.write(STREAM + chunk(event(0)))
        await released.wait()
        for first in range(1, EVENTS, EVENTS_A_WRITE):
            await self.writable.wait()
            last = min(first + EVENTS_A_WRITE, EVENTS)
            self.transport.write(chunk(b"".join(map(event, range(first, last)))))
        whole = b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (number, RESULTS[b"stream"])
        self.transport.write(chunk(b"event: message\ndata: " + whole + b"\n\n") + b"0\r\n\r\n")


async def serve(port: int) -> None:
    """Serve on loopback."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", port, backlog=2048)
    taken = server.sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{taken}/mcp", flush=True)
    await server.serve_forever()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="server.py", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--sessions", action="store_true")
    options = parser.parse_args()
    Connection.is_strict = options.sessions
    asyncio.run(serve(options.port))


if __name__ == "__main__":
    main()
