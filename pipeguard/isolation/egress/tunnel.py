"""Two joined connections: each forwards its bytes to the other; back-pressure and half-close."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import cast

from pipeguard.isolation.egress.state import ReadBuffer

_LINGER = struct.pack("ii", 1, 0)


class TunnelEnd(asyncio.BufferedProtocol):
    """One of the two connections, joined or to be joined.

    Args:
        buffer: the buffer for reading.

    Attributes:
        transport: its connection, once there is one.
        received: the number of bytes that it received.
        is_lost: True if its connection is closed.
        has_ended: True if its peer sends no more.
    """

    transport: asyncio.Transport
    _peer: TunnelEnd

    def __init__(self, buffer: ReadBuffer) -> None:
        self._buffer = buffer
        self.received = 0
        self.is_lost = self.has_ended = False
        self._early = b""
        self._write: Callable[[bytes], None]
        self._ended: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait to be joined."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass

    def join(self, peer: TunnelEnd, ended: Callable[[], None]) -> None:
        """Set the peer that received bytes are sent to; call `begin` once both sides have one.

        Args:
            peer: the other side.
            ended: called when both connections are closed.
        """
        self._peer = peer
        self._ended = ended
        self._write = peer.transport.write
        self.transport.set_write_buffer_limits(high=len(self._buffer.part))

    def begin(self) -> None:
        """Forward early bytes to the peer, and start forwarding later ones."""
        early = self._early
        self._early = b""
        if early:
            self.take(early)
        if self.has_ended:
            self._pass_end()
        elif not self.transport.is_closing():
            self.transport.resume_reading()

    def get_buffer(self, sizehint: int) -> memoryview:
        """The buffer for the next read."""
        del sizehint
        return self._buffer.part

    def buffer_updated(self, nbytes: int) -> None:
        """Forward the bytes that were read; stop reading if there is no peer yet."""
        data = self._buffer.contents(nbytes)
        if self._ended is None:
            self._early += data
            self.transport.pause_reading()
        else:
            self.take(data)

    def take(self, data: bytes) -> None:
        """Send to the peer."""
        self.received += len(data)
        self._write(data)

    def pause_writing(self) -> None:
        """Stop reading for a peer that reads too slowly."""
        if self._ended and not self._peer.transport.is_closing():
            self._peer.transport.pause_reading()

    def resume_writing(self) -> None:
        """Continue reading once the peer has read."""
        if self._ended and not self._peer.transport.is_closing():
            self._peer.transport.resume_reading()

    def eof_received(self) -> bool:
        """Forward the end of this side's data; the other may continue."""
        self.has_ended = True
        if self._ended is None:
            return True
        self._pass_end()
        return not self._peer.has_ended

    def _pass_end(self) -> None:
        """End the other direction too, if it was the first; else close, once all is sent."""
        if self._peer.has_ended:
            self._peer.transport.close()
            self.transport.close()
        elif not self._peer.transport.is_closing() and self._peer.transport.can_write_eof():
            self._peer.transport.write_eof()  # TLS to a proxy has none: it ends with the other way

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the other side too: after its pending writes, or at once if this side failed."""
        self.is_lost = True
        if self._ended is None:
            return
        if self._peer.is_lost:
            self._ended()
        elif exc is None:
            self._peer.transport.close()
        else:
            self._peer.abort()

    def abort(self) -> None:
        """Close at once with a reset, so that a truncated stream does not look complete."""
        sock: socket.socket | None = self.transport.get_extra_info("socket")
        if sock and not self.transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        self.transport.abort()
