"""Memory of a real `pipeguard wrap --listen` after 100,000 hostile requests.

Names, headers, ids, bodies and streams are as large as they may be; requests are refused, given up,
never finished, or get answers that are never read. Run it by hand, on a machine with /proc; it
takes a quarter of an hour on two processors:

    python -m tests.soak.hostile 100000
"""

import asyncio
import json
import sys
import tempfile
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tests.listening import Listening
from tests.wrap.wrapped import PYTHON, SERVER

LATEST = "2026-07-28"
META = {"io.modelcontextprotocol/protocolVersion": LATEST}
OPEN = 40  # connections that wait, or that are not read
AT_ONCE = 8
RARE = 100  # of so many requests one is large, and takes long to be judged
LARGE_BYTES = 2**21
QUIET_SECONDS = 1.0  # for what goes on beside requests, before memory is looked at
READ_BYTES = 2**16


class Grown(NamedTuple):
    """Resident memory, in MiB: before, at its height, and once all clients are gone."""

    before: float
    height: float
    after: float
    answered: int


class Attack:
    """Sends one hostile request after another.

    Attributes:
        answered: honest requests among them that were answered.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: deque[asyncio.StreamWriter] = deque()
        self.answered = 0
        self._kinds: list[Callable[[int], Awaitable[None]]] = [
            *[self._names, self._headers, self._ids] * 30,
            self._unread_stream,
            self._unanswered,
        ]
        self._rare = [self._large_names, self._unread, self._unfinished, self._opening]

    async def run(self, count: int) -> None:
        numbers = iter(range(count))

        async def worker() -> None:
            for number in numbers:
                with suppress(ConnectionError, asyncio.IncompleteReadError):
                    await self._kind(number)(number)

        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))

    def _kind(self, number: int) -> Callable[[int], Awaitable[None]]:
        if number % RARE:
            return self._kinds[number % len(self._kinds)]
        return self._rare[number // RARE % len(self._rare)]

    async def greet(self) -> None:
        """One honest call."""
        answer = await self._asked(call(0, "echo", text="hello"), mirrored("echo"))
        assert b'"hello"' in answer

    async def close(self) -> None:
        while self._open:
            self._open.popleft().transport.abort()

    # --- kinds of requests --------------------------------------------------------------

    async def _names(self, number: int) -> None:
        """A name of its own each time, which the header does not repeat."""
        await self._asked(call(number, f"{number}" + "n" * 60_000), mirrored("other"))

    async def _large_names(self, number: int) -> None:
        await self._asked(call(number, f"{number}" + "n" * LARGE_BYTES), mirrored("other"))

    async def _headers(self, number: int) -> None:
        """Send the most headers allowed, for an unknown session."""
        more = "".join(f"X-{n}-{number}: {'h' * 600}\r\n" for n in range(80))
        await self._sent(f"Mcp-Session-Id: {number:0>1024}\r\n{more}", b"", method="GET")

    async def _ids(self, number: int) -> None:
        """An honest call but for the size of its id: it is answered."""
        answer = await self._asked(call(f"{number:0>1000}", "echo", text="hello"), mirrored("echo"))
        self.answered += b'"hello"' in answer

    async def _unread(self, number: int) -> None:
        """A large answer that the client does not read."""
        body = {**call(number, "echo", number=LARGE_BYTES), "method": "do/large"}
        body["params"] = {"number": LARGE_BYTES, "_meta": META}
        await self._left(body, "Mcp-Method: do/large\r\n")

    async def _unread_stream(self, number: int) -> None:
        body = {"jsonrpc": "2.0", "id": number, "method": "do/flood"}
        body["params"] = {"number": 200, "text": "word " * 2000, "_meta": META}
        await self._left(body, "Mcp-Method: do/flood\r\n")

    async def _unanswered(self, number: int) -> None:
        """A request of some size that the server never answers."""
        body = {"jsonrpc": "2.0", "id": number, "method": "do/nothing"}
        body["params"] = {"text": f"{number} " * 40_000, "_meta": META}
        await self._left(body, "Mcp-Method: do/nothing\r\n")

    async def _unfinished(self, number: int) -> None:
        """Half of a large body."""
        body = json.dumps(call(number, "echo", text="t" * LARGE_BYTES)).encode()
        writer = await self._begun(mirrored("echo"), body[: len(body) // 2], len(body))
        self._keep(writer)

    async def _opening(self, number: int) -> None:
        """A session whose client has a long name; it is never ended."""
        info = {"name": f"{number}" + "c" * 200_000, "version": "1"}
        capabilities = {"experimental": {str(n): {"x": "y" * 1000} for n in range(100)}}
        params = {"protocolVersion": "2025-06-18", "capabilities": capabilities, "clientInfo": info}
        opening = {"jsonrpc": "2.0", "id": number, "method": "initialize", "params": params}
        await self._asked(opening, "")

    # --- how they are sent --------------------------------------------------------------

    async def _asked(self, message: dict[str, object], headers: str) -> bytes:
        return await self._sent(headers, json.dumps(message).encode())

    async def _sent(self, headers: str, body: bytes, method: str = "POST") -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            self._write(writer, headers, body, len(body), method)
            await writer.drain()
            return await reader.read()
        finally:
            writer.transport.abort()

    async def _left(self, message: dict[str, object], headers: str) -> None:
        body = json.dumps(message).encode()
        headers = f"MCP-Protocol-Version: {LATEST}\r\n{headers}"
        self._keep(await self._begun(headers, body, len(body)))

    async def _begun(self, headers: str, body: bytes, length: int) -> asyncio.StreamWriter:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1)
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is a transport of both
        self._write(writer, headers, body, length, "POST")
        await writer.drain()
        del reader
        return writer

    def _write(
        self, writer: asyncio.StreamWriter, headers: str, body: bytes, length: int, method: str
    ) -> None:
        head = f"{method} /mcp HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nConnection: close\r\n"
        head += "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
        if method == "POST":
            head += f"Content-Length: {length}\r\n"
        writer.write(f"{head}{headers}\r\n".encode() + body)

    def _keep(self, writer: asyncio.StreamWriter) -> None:
        self._open.append(writer)
        if len(self._open) > OPEN:
            self._open.popleft().transport.abort()


def call(id_: object, name: str, **arguments: object) -> dict[str, object]:
    params = {"name": name, "arguments": arguments, "_meta": META}
    return {"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": params}


def mirrored(name: str) -> str:
    return f"MCP-Protocol-Version: {LATEST}\r\nMcp-Method: tools/call\r\nMcp-Name: {name}\r\n"


def resident_mib(process: int, field: str = "VmRSS") -> float:
    """Return the resident memory of a process (proc(5))."""
    text = Path(f"/proc/{process}/status").read_text()
    return int(text.split(f"{field}:")[1].split()[0]) / 1024


def forget_height(process: int) -> None:
    """Reset a process's peak memory (proc(5), clear_refs)."""
    Path(f"/proc/{process}/clear_refs").write_text("5")


async def attacked(at: Listening, count: int) -> Grown:
    """Return a listener's memory before, during and after an attack.

    It has been asked once before, and has read nothing large.
    """
    at.port  # noqa: B018  it listens
    process, attack = at.process.pid, Attack(at.port)
    await attack.greet()
    before = resident_mib(process)
    forget_height(process)
    await attack.run(count)
    height = resident_mib(process, "VmHWM")
    await attack.close()
    await asyncio.sleep(QUIET_SECONDS)
    return Grown(before, height, resident_mib(process), attack.answered)


def listening(folder: Path) -> Listening:
    """A listener with one server for all, which does as it is asked."""
    return Listening(folder, "--shared", "--max-sessions", "20", "--", *PYTHON, str(SERVER))


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder, listening(Path(folder)) as at:
        told = asyncio.run(attacked(at, count))
    print(f"{count} requests, MiB resident: {told}")


if __name__ == "__main__":
    main()
