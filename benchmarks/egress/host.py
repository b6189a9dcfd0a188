"""A host to reach: one port that echoes, and one that sends what it is asked for, in bytes."""

import asyncio
import socket
import sys
from typing import cast

import uvloop

PIECE = bytes(2**18)


class Echo(asyncio.Protocol):
    """Sends back what it gets."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve with a way to answer."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Echo."""
        self.transport.write(data)


class Stream(Echo):
    """Sends as many bytes as the first message says, as fast as they are read."""

    left = 0
    is_paused = False

    def data_received(self, data: bytes) -> None:
        """Begin."""
        self.left = int(data)
        self.send()

    def send(self) -> None:
        """Send until the buffer is full."""
        while self.left and not self.is_paused:
            piece = PIECE[: self.left]
            self.left -= len(piece)
            self.transport.write(piece)
        if not self.left:
            self.transport.close()

    def pause_writing(self) -> None:
        """Wait."""
        self.is_paused = True

    def resume_writing(self) -> None:
        """Go on."""
        self.is_paused = False
        self.send()


async def main() -> None:
    """Print both ports, and serve until stdin ends."""
    loop = asyncio.get_running_loop()
    ports = []
    for protocol in (Echo, Stream):
        sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
        ports.append(sock.getsockname()[1])
        await loop.create_server(protocol, sock=sock, backlog=1024)
    print(*ports, flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main())
