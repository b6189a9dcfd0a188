"""Raw sockets on both sides: a client that sends any bytes, and a server that answers with any.

Both parse only as much HTTP as honest peers need; nothing here corrects a test's bytes.
"""

import json
import re
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import sleep
from typing import BinaryIO, Self

from tests.wrap.wrapped import Json, Object

PATIENCE_SECONDS = 60.0  # only a failure waits so long
ALONE_SECONDS = 0.02  # between two writes, so that they travel alone
READ_BYTES = 65536
LATEST, SESSIONS = "2026-07-28", "2025-06-18"  # the stateless revision, and one with sessions
HERE = "127.0.0.1:PORT"  # in a request, with the port that it goes to
JSON_TYPE, EVENT_TYPE = "application/json", "text/event-stream"
VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
SESSION = "the-session-of-the-server"
TOOL: Object = {"name": "say", "description": "Says it.", "inputSchema": {"type": "object"}}
BLANK = re.compile(rb"\r\n\r\n|\n\n|\r\r")


@dataclass(frozen=True)
class Answer:
    """A response as it came."""

    status: int
    headers: Sequence[tuple[str, str]]  # names in lower case
    body: bytes

    def header(self, name: str) -> str:
        return ", ".join(value for key, value in self.headers if key == name)

    @property
    def messages(self) -> list[Object]:
        """The JSON-RPC messages in the body, one or a stream of them."""
        if EVENT_TYPE in self.header("content-type"):
            return [json.loads(data) for data in events(self.body) if data]
        return [json.loads(self.body)] if self.body.strip() else []

    def to(self, id_: int) -> Object:
        """The message that answers this id."""
        found = [one for one in self.messages if one.get("id") == id_ and "method" not in one]
        assert len(found) == 1, self
        return found[0]

    def code(self, id_: int | None = None) -> Json:
        """The code of the error that answers an id, or that has none."""
        message = self.messages[0] if id_ is None else self.to(id_)
        error = message.get("error")
        assert isinstance(error, dict), message
        return error["code"]


def events(body: bytes) -> list[bytes]:
    """The data of each event, as the standard joins it."""
    found = []
    for block in BLANK.split(body):
        lines = [line for line in block.splitlines() if line.startswith(b"data:")]
        if lines:
            found.append(b"\n".join(line[5:].removeprefix(b" ") for line in lines))
    return found


class Talk:
    """One connection of a client."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)
        self.buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *parts: bytes) -> None:
        """Write; a peer that has hung up has already answered."""
        port = str(self.socket.getpeername()[1]).encode()
        with suppress(ConnectionError):
            for number, part in enumerate(parts):
                if number:
                    sleep(ALONE_SECONDS)
                self.socket.sendall(part.replace(b":PORT", b":" + port))

    def ask(self, *parts: bytes) -> Answer:
        """Write, and read one response."""
        self.send(*parts)
        return self.answer()

    def answer(self) -> Answer:
        """The next response that is final (RFC 9110, section 15.2)."""
        while True:
            status, headers = self.head()
            if status >= 200:
                break
        named = dict(headers)
        if status in {204, 304}:
            return Answer(status, headers, b"")
        if "chunked" in named.get("transfer-encoding", ""):
            return Answer(status, headers, b"".join(self.chunks()))
        if "content-length" in named:
            return Answer(status, headers, self.exactly(int(named["content-length"])))
        return Answer(status, headers, self.rest())

    def head(self) -> tuple[int, list[tuple[str, str]]]:
        first, *lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        assert re.match(r"HTTP/1\.[01] \d{3}( |$)", first), first
        pairs = [line.partition(":") for line in lines if line]
        return int(first.split()[1]), [(name.lower(), value.strip()) for name, _, value in pairs]

    def chunks(self) -> Iterable[bytes]:
        """The chunks of a body, as they come."""
        while size := int(self.until(b"\r\n").split(b";")[0], 16):
            yield self.exactly(size)
            self.exactly(2)
        self.until(b"\r\n")

    def until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            data = self.socket.recv(READ_BYTES)
            assert data, f"the connection ended after {self.buffer!r}"
            self.buffer += data
        found, _, self.buffer = self.buffer.partition(mark)
        return found

    def exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            data = self.socket.recv(READ_BYTES)
            assert data, f"the connection ended after {len(self.buffer)} of {size} bytes"
            self.buffer += data
        found, self.buffer = self.buffer[:size], self.buffer[size:]
        return found

    def rest(self) -> bytes:
        """Return everything until the peer hangs up."""
        with suppress(ConnectionResetError):
            while data := self.socket.recv(READ_BYTES):
                self.buffer += data
        found, self.buffer = self.buffer, b""
        return found

    def is_ended(self) -> bool:
        """True if the peer hangs up without another byte."""
        return self.rest() == b""


def request(line: str, headers: Sequence[str], body: bytes = b"") -> bytes:
    """Make a request from these lines; surrogates represent header bytes outside latin-1."""
    head = "\r\n".join([line, *headers, "", ""])
    return head.encode("utf-8", "surrogateescape") + body


def post(
    message: Object | bytes,
    *more: str,
    without: Sequence[str] = (),
    path: str = "/mcp",
    host: str = HERE,
) -> bytes:
    """A POST as an honest client makes it, with some headers more and some left out."""
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    usual = {
        "Host": host,
        "Accept": f"{JSON_TYPE}, {EVENT_TYPE}",
        "Content-Type": JSON_TYPE,
        "Content-Length": str(len(body)),
    }
    kept = [f"{name}: {value}" for name, value in usual.items() if name not in without]
    return request(f"POST {path} HTTP/1.1", [*kept, *more], body)


def ask(method: str, id_: int = 7, **params: Json) -> Object:
    """A request."""
    return {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}


def modern(method: str, id_: int = 7, **params: Json) -> Object:
    """A request of the revision without sessions."""
    meta: Object = {VERSION_KEY: LATEST, "io.modelcontextprotocol/clientCapabilities": {}}
    return ask(method, id_, **params, _meta=meta)


def modern_headers(method: str, name: str | None = None) -> list[str]:
    """The headers that such a request needs."""
    found = [f"MCP-Protocol-Version: {LATEST}", f"Mcp-Method: {method}"]
    return found if name is None else [*found, f"Mcp-Name: {name}"]


OPENING = ask(
    "initialize",
    1,
    protocolVersion=SESSIONS,
    capabilities={},
    clientInfo={"name": "raw", "version": "1"},
)
INITIALIZED: Object = {"jsonrpc": "2.0", "method": "notifications/initialized"}


# --- the server ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """A request as it reached the server."""

    line: str
    headers: Sequence[tuple[str, str]]  # names in lower case
    body: bytes

    def header(self, name: str) -> str | None:
        found = [value for key, value in self.headers if key == name]
        assert len(found) <= 1, self.headers
        return found[0] if found else None

    @property
    def message(self) -> Object:
        found: Object = json.loads(self.body) if self.body else {}
        return found

    @property
    def id(self) -> Json:
        return self.message.get("id")


CLOSE = b""  # in place of a part: hang up
Reply = Sequence[bytes]  # what is written, each part alone
Script = Callable[[Seen], Reply | None]


class Upstream:
    """A server that answers as an honest one, unless the script answers first.

    Attributes:
        seen: all requests, except for the stream that each session opens next to its first
            request: that of an earlier test may come late.
        script: answers first; None leaves it to the honest server.
    """

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.seen: list[Seen] = []
        self.script: Script = lambda _: None
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.listening.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listening.getsockname()[1]}/mcp"

    def calls(self, method: str) -> list[Seen]:
        """Return the requests of a method."""
        return [one for one in self.seen if one.message.get("method") == method]

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                connection, _ = self.listening.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, suppress(OSError, AssertionError):
            reader = connection.makefile("rb")
            while (seen := read_request(reader)) is not None:
                is_first_stream = seen.line.startswith("GET") and not seen.header("last-event-id")
                if not is_first_stream:
                    self.seen.append(seen)
                reply = self.script(seen)
                parts = honest(seen) if reply is None else reply
                for part in parts:
                    if part == CLOSE:
                        return
                    connection.sendall(part)
                    if len(parts) > 1:
                        sleep(ALONE_SECONDS)


def read_request(reader: BinaryIO) -> Seen | None:
    """The next request of a connection, or None at its end."""
    line = reader.readline().decode("latin-1").rstrip("\r\n")
    if not line:
        return None
    headers = []
    while field := reader.readline().decode("latin-1").rstrip("\r\n"):
        name, _, value = field.partition(":")
        headers.append((name.lower(), value.strip()))
    named = dict(headers)
    body = b""
    if "chunked" in named.get("transfer-encoding", ""):
        while size := int(reader.readline().split(b";")[0], 16):
            body += reader.read(size)
            reader.readline()
        reader.readline()
    elif "content-length" in named:
        body = reader.read(int(named["content-length"]))
    return Seen(line, headers, body)


def response(status: str, body: bytes = b"", *headers: str, kind: str = JSON_TYPE) -> bytes:
    """A response with a body of known length."""
    usual = [f"Content-Length: {len(body)}", *([f"Content-Type: {kind}"] if body else [])]
    return request(f"HTTP/1.1 {status}", [*usual, *headers], body)


def result(seen: Seen, value: Object | None = None, *headers: str) -> bytes:
    """A response with a result."""
    return response("200 OK", answered(seen, value), *headers)


def answered(seen: Seen, value: Object | None = None) -> bytes:
    """Make the message that answers a request."""
    whole: Object = value if value is not None else {"prompts": []}
    if is_modern(seen):
        whole = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private", **whole}
    return json.dumps({"jsonrpc": "2.0", "id": seen.id, "result": whole}).encode()


def stream(*parts: bytes, end: bool = True) -> list[bytes]:
    """A response that is a stream of events, each part a chunk of its own."""
    headers = [f"Content-Type: {EVENT_TYPE}", "Transfer-Encoding: chunked"]
    chunks = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts]
    return [request("HTTP/1.1 200 OK", headers), *chunks, b"0\r\n\r\n" if end else CLOSE]


def is_modern(seen: Seen) -> bool:
    params = seen.message.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    return isinstance(meta, dict) and meta.get(VERSION_KEY) == LATEST


def honest(seen: Seen) -> Reply:
    """Answer as a good server does, with one session that never ends."""
    if not seen.line.startswith("POST"):
        return [response("405 Method Not Allowed", b"", "Allow: POST")]
    match seen.message.get("method"):
        case "initialize":
            opened: Object = {
                "protocolVersion": SESSIONS,
                "capabilities": {"tools": {}, "prompts": {}},
                "serverInfo": {"name": "raw", "version": "1"},
            }
            return [result(seen, opened, f"Mcp-Session-Id: {SESSION}")]
        case "tools/list":
            return [result(seen, {"tools": [TOOL]})]
        case "tools/call":
            return [result(seen, {"content": [{"type": "text", "text": "called"}]})]
        case _ if seen.id is None:
            return [response("202 Accepted")]
        case _:
            return [result(seen)]
