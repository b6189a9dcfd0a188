"""The open connections of a listener, and which one gives way when there are too many.

A connection that no request was let in on costs its peer nothing, so those are few, and of too
many the oldest of the address that holds the most is closed: whoever opens them by the thousand
crowds out its own. One that was let in and is idle gives way next; one with a request under way
never does. With TLS a connection is one of the first kind from the moment that it is accepted: a
handshake that is never finished costs its peer as little.
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

from pipeguard.transports.backlog import Backlog
from pipeguard.transports.http.server.admission import HEADER_SECONDS, Caller
from pipeguard.transports.http.server.masks import CLOSE_UNMASKED, Masks
from pipeguard.transports.http.server.refusals import Ground, Refusals

MAX_CONNECTIONS = 4096
MAX_STRANGERS = 512  # connections on which no request was let in yet
FLUSH_SECONDS = 5.0  # for a peer to read what was written to it before it was turned away


class Connections:
    """All connections of one listener.

    Args:
        refusals: takes which ones were closed, and why.
        backlog: counts what waits for clients that do not read.
    """

    def __init__(self, refusals: Refusals, backlog: Backlog) -> None:
        self.backlog = backlog
        self._refusals = refusals
        self._most = min(MAX_CONNECTIONS, _descriptors() * 3 // 4)  # the rest is for servers
        self._open: dict[object, Connection] = {}  # by the protocol that a request names
        self._handshakes: set[Handshake] = set()
        self._strangers: dict[Connection | Handshake, None] = {}  # in the order in which they came
        self._idle: dict[Connection, None] = {}  # let in, with no request under way

    def __len__(self) -> int:
        return len(self._open)

    def of(self, request: web.BaseRequest) -> Connection | None:
        """The connection that a request came on; None where it is closed."""
        return self._open.get(request.protocol)

    def watch(self, handler: asyncio.Protocol) -> asyncio.Protocol:
        """A connection, to be handed to `handler`."""
        return Connection(handler, self)

    def recheck(self, may: Callable[[Caller], bool]) -> None:
        """Close the connections whose last caller may not come in any more.

        Args:
            may: True for a caller whose token is still one of ours.
        """
        for connection in list(self._open.values()):
            if connection.caller is not None and not may(connection.caller):
                connection.cut(Ground.WRONG_TOKEN)

    async def secure(
        self, peer: socket.socket, handler: Callable[[], asyncio.Protocol], context: ssl.SSLContext
    ) -> None:
        """Agree with a new peer on TLS, and hand it on; it may be turned away meanwhile."""
        handshake = Handshake(peer, self)
        self._handshakes.add(handshake)
        self._begins(handshake)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                handler,
                peer,
                ssl=context,
                ssl_handshake_timeout=HEADER_SECONDS,
                ssl_shutdown_timeout=FLUSH_SECONDS,
            )
        except OSError:  # the peer left, took too long, or speaks no TLS that we do
            return
        finally:
            self.ended(handshake)

    # --- told by a connection -------------------------------------------------------------

    def opened(self, connection: Connection) -> None:
        """A connection was made; an older one, or this one, is closed if there are too many."""
        self._open[connection.handler] = connection
        self._begins(connection)

    def ended(self, handshake: Handshake) -> None:
        """It is a connection now, or nothing."""
        self._handshakes.discard(handshake)
        self._strangers.pop(handshake, None)

    def busy(self, connection: Connection) -> None:
        """A request was let in on it."""
        self._strangers.pop(connection, None)
        self._idle.pop(connection, None)

    def idle(self, connection: Connection) -> None:
        """Its request is answered."""
        if connection.caller is not None and connection.handler in self._open:
            self._idle[connection] = None

    def closed(self, connection: Connection) -> None:
        """It is gone, or about to be."""
        self._open.pop(connection.handler, None)
        self._strangers.pop(connection, None)
        self._idle.pop(connection, None)

    def refused(self, ground: Ground, address: str) -> None:
        """It was closed by us."""
        self._refusals.add(ground, "", address)

    def _begins(self, stranger: Connection | Handshake) -> None:
        self._strangers[stranger] = None
        if len(self._strangers) > min(MAX_STRANGERS, max(self._most // 2, 1)):
            self._crowding().turn_away(Ground.CONNECTIONS)
        elif len(self._open) + len(self._handshakes) > self._most:
            (self._oldest_idle() or stranger).turn_away(Ground.CONNECTIONS)

    def _crowding(self) -> Connection | Handshake:
        """Of the address with the most strangers, the oldest; the newcomer is one of them."""
        address, _ = Counter(one.address for one in self._strangers).most_common(1)[0]
        return next(one for one in self._strangers if one.address == address)

    def _oldest_idle(self) -> Connection | None:
        return next(iter(self._idle), None)


class Handshake:
    """A connection on which TLS is not agreed on yet: the library knows it by its socket alone.

    Attributes:
        address: the peer's network address.
    """

    def __init__(self, peer: socket.socket, connections: Connections) -> None:
        self._socket = peer
        self._connections = connections
        self.address = ""
        with suppress(OSError):  # it is gone already
            self.address = _address(peer.getpeername())

    def turn_away(self, ground: Ground) -> None:
        """End it: what waits for the peer's next word hears that there is none."""
        self._connections.refused(ground, self.address)
        self._connections.ended(self)
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


class Connection(asyncio.Protocol):
    """One connection, in front of the library's own handler.

    Attributes:
        handler: what reads its requests.
        caller: who was let in last, or None.
        address: the peer's network address.
    """

    def __init__(self, handler: asyncio.Protocol, connections: Connections) -> None:
        self.handler = handler
        self.caller: Caller | None = None
        self.address = ""
        self._connections = connections
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._masks: Masks | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It has some seconds to send a request."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by class
        self.address = _address(transport.get_extra_info("peername"))
        self.handler.connection_made(transport)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(HEADER_SECONDS, self.turn_away, Ground.SILENT)
        self._connections.opened(self)

    def speaks(self) -> None:
        """A request came, whole."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def lets_in(self, caller: Caller) -> None:
        """The request may come in, and is under way."""
        self.caller = caller
        self._connections.busy(self)

    def is_answered(self) -> None:
        """No request is under way any more."""
        self._connections.idle(self)

    def speaks_frames(self) -> None:
        """What comes now are frames of a WebSocket."""
        self._masks = Masks()

    def turn_away(self, ground: Ground) -> None:
        """Close it: a stranger at once, others once they have read what was written to them."""
        assert self._transport is not None  # noqa: S101  a connection was made
        self._connections.refused(ground, self.address)
        self._connections.closed(self)
        self._transport.close()
        if self.caller is None:
            self._transport.abort()  # else it stays open for as long as its peer reads nothing
        else:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._transport.abort)

    def cut(self, ground: Ground) -> None:
        """Close it at once: what its peer has not read yet is not for it any more."""
        assert self._transport is not None  # noqa: S101  a connection was made
        self.turn_away(ground)
        self._transport.abort()

    def _give_up(self) -> None:
        """What waits for this client is too much, and has waited for longest."""
        self.cut(Ground.UNTAKEN)

    def data_received(self, data: bytes) -> None:
        """Hand on what came, unless it is a frame of a WebSocket that must not come."""
        if self._masks is not None and not self._masks.hold(data, monotonic()):
            assert self._transport is not None  # noqa: S101  a connection was made
            self._transport.write(CLOSE_UNMASKED)
            self._transport.close()
            self._connections.refused(Ground.HTTP, self.address)
            return
        self.handler.data_received(data)

    def eof_received(self) -> bool | None:
        """The peer says no more."""
        return self.handler.eof_received()

    def pause_writing(self) -> None:
        """The peer reads too slowly."""
        assert self._transport is not None  # noqa: S101  a connection was made
        self.handler.pause_writing()
        self._connections.backlog.note(self, self._transport.get_write_buffer_size(), self._give_up)

    def resume_writing(self) -> None:
        """It reads again."""
        self._connections.backlog.note(self, 0, self._give_up)
        self.handler.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """It is gone."""
        self._connections.backlog.note(self, 0, self._give_up)
        self.speaks()
        self._connections.closed(self)
        self.handler.connection_lost(error)


def _address(peer: object) -> str:
    """The address in what a socket says of its peer."""
    return str(peer[0]) if isinstance(peer, tuple) and peer else ""


def _descriptors() -> int:
    """How many files this process may have open at once."""
    if sys.platform == "win32":
        return 2 * MAX_CONNECTIONS
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2 * MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else soft
