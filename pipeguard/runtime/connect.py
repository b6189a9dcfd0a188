"""Opens channels to a server, wherever it is: started here, or at an address."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp

from pipeguard.errors import PipeGuardError
from pipeguard.launch.child import Child, Command, start
from pipeguard.runtime.run import thread
from pipeguard.transports.bridge import AsyncAdapter
from pipeguard.transports.channel import AsyncChannel, ChannelClosed, RemoteChannel
from pipeguard.transports.http.client.reconnecting import Link, LinkLost, ReconnectingChannel
from pipeguard.transports.http.client.sse import SseLink
from pipeguard.transports.http.client.streamable import StreamableChannel
from pipeguard.transports.http.client.upstream import Remote, connect
from pipeguard.transports.http.client.websocket import WebSocketLink
from pipeguard.transports.stderr import StderrCopy
from pipeguard.transports.stdio import LineChannel

STDERR = 2
PROBE_SECONDS = 1.0
STDERR_SECONDS = 1.0  # for a dead server's last words


class RemoteDialler:
    """Opens channels to a server at an address.

    Args:
        remote: the server.
        transport: as `pipeguard.runtime.endpoints.transport_of` tells.
        http: connections to it.
    """

    def __init__(self, remote: Remote, transport: str, http: aiohttp.ClientSession) -> None:
        self._remote = remote
        self._transport = transport
        self._http = http

    async def dial(self) -> RemoteChannel:
        """A channel; nothing is sent before its first frame."""
        if self._transport == "sse":
            return ReconnectingChannel(self._events)
        if self._transport == "websocket":
            return ReconnectingChannel(self._socket)
        older = self._older if self._transport == "auto" else None
        return StreamableChannel(self._remote, self._http, older)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def is_older(self) -> bool:
        """True where the server speaks HTTP+SSE: it names an address for messages at once."""
        try:
            link = await SseLink.open(self._remote, self._http, PROBE_SECONDS)
        except LinkLost:
            return False
        await link.close()
        return True

    async def _older(self) -> RemoteChannel | None:
        channel = ReconnectingChannel(self._events)
        try:
            await channel.open()
        except LinkLost:
            return None
        return channel

    async def _events(self) -> Link:
        return await SseLink.open(self._remote, self._http)

    async def _socket(self) -> Link:
        return await WebSocketLink.open(self._remote, self._http)


async def dialler(remote: Remote, transport: str) -> RemoteDialler:
    """Opens channels to a server at an address; to be called on the loop where they live."""
    return RemoteDialler(remote, transport, connect(remote))


class LocalDialler:
    """Starts the server anew for each conversation.

    Args:
        command: how it is started.
        limit_bytes: of one message.
        grace_seconds: that it has for its end.
        mask: of what it writes to its standard error.
    """

    def __init__(
        self,
        command: Command,
        limit_bytes: int,
        grace_seconds: float,
        mask: Callable[[bytes], bytes],
    ) -> None:
        self._command = command
        self._limit = limit_bytes
        self._grace_seconds = grace_seconds
        self._mask = mask
        self._open: set[_ChildChannel] = set()

    async def dial(self) -> AsyncChannel:
        """A server of its own.

        Raises:
            ChannelClosed: it could not be started.
        """
        try:
            child = start(self._command)
            await asyncio.to_thread(child.wait_started)
        except PipeGuardError as error:
            raise ChannelClosed(str(error)) from None
        stderr = StderrCopy(child.stderr_fd, STDERR, self._mask)
        thread("stderr", stderr.run)
        lines = LineChannel(child.stdout_fd, child.stdin_fd, self._limit)
        channel = _ChildChannel(child, lines, stderr, self._grace_seconds, self._open.discard)
        self._open.add(channel)
        return channel

    async def close(self) -> None:
        """End all that still run."""
        await asyncio.gather(*(channel.close() for channel in list(self._open)))


class _ChildChannel(AsyncAdapter):
    """A server that was started here, until it is ended."""

    def __init__(
        self,
        child: Child,
        lines: LineChannel,
        stderr: StderrCopy,
        grace_seconds: float,
        closed: Callable[[_ChildChannel], None],
    ) -> None:
        super().__init__(lines, thread)
        self._child = child
        self._stderr = stderr
        self._grace_seconds = grace_seconds
        self._on_closed = closed
        self._ending: asyncio.Future[object] | None = None

    async def close(self) -> None:
        """End the server, with the grace that it has, and free what it held."""
        if self._ending is None:
            self._ending = asyncio.get_running_loop().run_in_executor(None, self._end)
            self._on_closed(self)
        await asyncio.shield(self._ending)
        await super().close()

    def _end(self) -> None:
        self._child.end(self._grace_seconds)
        self.join()
        self._stderr.finish(STDERR_SECONDS)
        self._child.close()
