"""The open connections of a listener, and which one is closed when there are too many.

A connection on which no request was admitted costs its peer nothing, so only few of these may be
open: of too many, the oldest of the address with the most is closed, so that whoever opens
thousands closes its own. Next are admitted connections that are idle; a connection with a request
in progress is never closed. With TLS a connection counts from the moment it is accepted: a
handshake that is never finished costs its peer nothing, either.

A client must mask its WebSocket frames (RFC 6455, section 5.1), which the library does not check,
and may not flood us with small ones: a megabyte of frames without a payload takes seconds to read.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import cast

from aiohttp import web

from pipeguard.transports.bounded import Backlog
from pipeguard.transports.http.server.admission import HEADER_SECONDS, RefusalReason, Refusals
from pipeguard.transports.http.server.callers import Caller

MAX_CONNECTIONS = 4096
MAX_STRANGERS = 512  # connections on which no request was admitted yet
FLUSH_SECONDS = 5.0  # for a peer to read its answers before its connection is closed
CLOSE_UNMASKED = b"\x88\x02\x03\xea"  # a close frame with 1002, protocol error (section 7.4.1)
_MASKED, _LENGTH = 0x80, 0x7F
_SHORT, _LONG = 126, 127  # two or eight bytes of length follow (section 5.2)
_KEY_BYTES = 4
_WHOLE = frozenset({0x81, 0x82})  # a message in one frame: FIN, and text or binary
MESSAGE_BYTES = 24  # a shorter text is not a JSON-RPC message
PART_BYTES = 1024  # a shorter part of a message is small; so is every ping and pong
MOST_SMALL, SMALL_A_SECOND = 1024, 64.0  # in a burst, and sustained


class _FrameMasks:
    """Follows the frame headers of one client."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._payload_bytes = 0  # of the current frame, still to come
        self._small = 0.0  # small frames, less an allowance for the time passed
        self._checked_at = 0.0

    def allow(self, data: bytes, now: float) -> bool:
        """Check the next bytes; False on an unmasked frame, or on too many small ones.

        Args:
            data: as received.
            now: seconds on a clock that only goes forward.
        """
        self._small = max(0.0, self._small - SMALL_A_SECOND * (now - self._checked_at))
        self._checked_at = now
        at = 0
        while at < len(data):
            if self._payload_bytes:
                step = min(self._payload_bytes, len(data) - at)
                self._payload_bytes -= step
                at += step
                continue
            self._head.append(data[at])
            at += 1
            if len(self._head) == 2 and not self._head[1] & _MASKED:
                return False
            self._end_head()
            if self._small > MOST_SMALL:
                return False
        return True

    def _end_head(self) -> None:
        if len(self._head) < 2:
            return
        short = self._head[1] & _LENGTH
        more = {_SHORT: 2, _LONG: 8}.get(short, 0)
        if len(self._head) < 2 + more + _KEY_BYTES:
            return
        self._payload_bytes = int.from_bytes(self._head[2 : 2 + more], "big") if more else short
        least = MESSAGE_BYTES if self._head[0] in _WHOLE else PART_BYTES
        self._small += self._payload_bytes < least
        self._head.clear()


class Connections:
    """All connections of one listener.

    Args:
        refusals: counts the closed ones, by reason.
        backlog: counts bytes that clients do not read.
    """

    def __init__(self, refusals: Refusals, backlog: Backlog) -> None:
        self.backlog = backlog
        self.refusals = refusals
        self._most = min(MAX_CONNECTIONS, _descriptors() * 3 // 4)  # the rest is for servers
        self._open: dict[object, Connection] = {}  # by the protocol that a request names
        self._handshakes: set[_Handshake] = set()
        self._strangers: dict[Connection | _Handshake, None] = {}  # the oldest first
        self._idle: dict[Connection, None] = {}  # admitted, with no request in progress

    def of(self, request: web.BaseRequest) -> Connection | None:
        """The connection of a request; None if it is closed."""
        return self._open.get(request.protocol)

    def recheck(self, admit: Callable[[Caller], bool]) -> None:
        """Close the connections whose last caller may no longer come in.

        Args:
            admit: True for a caller whose token is still valid.
        """
        for connection in list(self._open.values()):
            if connection.caller is not None and not admit(connection.caller):
                connection.cut(RefusalReason.WRONG_TOKEN)

    async def secure(
        self, peer: socket.socket, handler: Callable[[], asyncio.Protocol], context: ssl.SSLContext
    ) -> None:
        """Finish the TLS handshake with a new peer, which may be turned away before that."""
        handshake = _Handshake(peer, self)
        self._handshakes.add(handshake)
        self._add_stranger(handshake)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                handler,
                peer,
                ssl=context,
                ssl_handshake_timeout=HEADER_SECONDS,
                ssl_shutdown_timeout=FLUSH_SECONDS,
            )
        except OSError:  # the peer left, took too long, or shares no version of TLS with us
            return
        finally:
            self.end_handshake(handshake)

    def add(self, connection: Connection) -> None:
        """Count a new connection; close one if there are too many."""
        self._open[connection.handler] = connection
        self._add_stranger(connection)

    def end_handshake(self, handshake: _Handshake) -> None:
        """Forget a handshake, which has become a connection or failed."""
        self._handshakes.discard(handshake)
        self._strangers.pop(handshake, None)

    def admit(self, connection: Connection, caller: Caller) -> None:
        """Note that a request was admitted on a connection, and is in progress."""
        connection.caller = caller
        self._strangers.pop(connection, None)
        self._idle.pop(connection, None)

    def end_request(self, connection: Connection) -> None:
        """Note that no request is in progress on a connection."""
        if connection.caller is not None and connection.handler in self._open:
            self._idle[connection] = None

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is closed, or about to be."""
        self._open.pop(connection.handler, None)
        self._strangers.pop(connection, None)
        self._idle.pop(connection, None)

    def _add_stranger(self, stranger: Connection | _Handshake) -> None:
        self._strangers[stranger] = None
        if len(self._strangers) > min(MAX_STRANGERS, max(self._most // 2, 1)):
            strangers = Counter(other.address for other in self._strangers)
            crowded, _ = strangers.most_common(1)[0]
            oldest = next(other for other in self._strangers if other.address == crowded)
            oldest.turn_away(RefusalReason.CONNECTIONS)
        elif len(self._open) + len(self._handshakes) > self._most:
            next(iter(self._idle), stranger).turn_away(RefusalReason.CONNECTIONS)


class _Handshake:
    """A connection whose TLS handshake is not finished: the library knows only its socket.

    Attributes:
        address: the peer's network address.
    """

    def __init__(self, peer: socket.socket, connections: Connections) -> None:
        self._socket = peer
        self._connections = connections
        self.address = ""
        with suppress(OSError):  # it is closed already
            self.address = _address(peer.getpeername())

    def turn_away(self, reason: RefusalReason) -> None:
        """Shut the socket down, which ends the handshake."""
        self._connections.refusals.add(reason, "", self.address)
        self._connections.end_handshake(self)
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


class Connection(asyncio.Protocol):
    """One connection, in front of the library's own handler.

    Attributes:
        handler: reads its requests.
        caller: the last admitted one, or None.
        address: the peer's network address.
    """

    _transport: asyncio.Transport

    def __init__(self, handler: asyncio.Protocol, connections: Connections) -> None:
        self.handler = handler
        self.caller: Caller | None = None
        self.address = ""
        self._connections = connections
        self._timer: asyncio.TimerHandle | None = None
        self._masks: _FrameMasks | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a request, for a limited time."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass
        self.address = _address(transport.get_extra_info("peername"))
        self.handler.connection_made(transport)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(HEADER_SECONDS, self.turn_away, RefusalReason.SILENT)
        self._connections.add(self)

    def begin_request(self) -> None:
        """Note that the head of a request has arrived."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def upgrade(self) -> None:
        """Check the frames of a WebSocket from now on."""
        self._masks = _FrameMasks()

    def turn_away(self, reason: RefusalReason) -> None:
        """Close it: a stranger's at once, any other once the peer has read its answers."""
        self._connections.refusals.add(reason, "", self.address)
        self._connections.remove(self)
        self._transport.close()
        if self.caller is None:
            self._transport.abort()  # otherwise it stays open until its peer reads
        else:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._transport.abort)

    def cut(self, reason: RefusalReason) -> None:
        """Close it at once, without flushing unread bytes to the peer."""
        self.turn_away(reason)
        self._transport.abort()

    def _give_up(self) -> None:
        """Close it to make room: it has held the backlog for the longest time."""
        self.cut(RefusalReason.UNTAKEN)

    def data_received(self, data: bytes) -> None:
        """Pass bytes on, unless they break the rules for WebSocket frames."""
        if self._masks is not None and not self._masks.allow(data, monotonic()):
            self._transport.write(CLOSE_UNMASKED)
            self._transport.close()
            self._connections.refusals.add(RefusalReason.HTTP, "", self.address)
            return
        self.handler.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass on that the peer has finished sending."""
        return self.handler.eof_received()

    def pause_writing(self) -> None:
        """Count the bytes that the peer does not read."""
        self.handler.pause_writing()
        self._connections.backlog.note(self, self._transport.get_write_buffer_size(), self._give_up)

    def resume_writing(self) -> None:
        """Stop counting: the peer reads again."""
        self._connections.backlog.note(self, 0, self._give_up)
        self.handler.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the connection."""
        self._connections.backlog.note(self, 0, self._give_up)
        self.begin_request()  # stops the timer
        self._connections.remove(self)
        self.handler.connection_lost(error)


def _address(peer: object) -> str:
    """The network address in a socket's name of its peer."""
    return str(peer[0]) if isinstance(peer, tuple) and peer else ""


def _descriptors() -> int:
    """The number of files that this process may have open."""
    if sys.platform == "win32":
        return 2 * MAX_CONNECTIONS
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2 * MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else soft
