"""A channel: whole frames in, whole frames out, an end. Every transport is one."""

from typing import Protocol, Self, runtime_checkable

from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.framing import Lost
from pipeguard.records import NamedTuple


class ChannelClosed(Exception):  # noqa: N818  a peer that hangs up is no error
    """The frame was not delivered: the peer has hung up, or the channel is closed."""


class Channel(Protocol):
    """One side of a conversation. Each method may be called from any thread."""

    def read(self) -> bytes | None:
        """Wait for the next whole frame, without its framing; None once the channel has ended."""

    def write(self, frame: bytes) -> None:
        """Send one whole frame; waits while the peer does not read, which is back-pressure.

        Frames that several threads write do not mix.

        Raises:
            ChannelClosed: the peer is gone, or this side was closed.
        """

    def close(self) -> None:
        """Hang up: the peer sees the end, a waiting `read` returns None. May be called again."""


class AsyncChannel(Protocol):
    """A channel on an event loop, for transports over a network. Called on its loop only.

    If an answer will never come, `read` returns a `firewall.protocol.framing.Lost` instead of it.
    """

    async def read(self) -> bytes | None:
        """Wait for the next whole frame, without its framing; None once the channel has ended."""

    async def write(self, frame: bytes) -> None:
        """Send one whole frame.

        Raises:
            ChannelClosed: the peer is gone, or this side was closed.
        """

    async def close(self) -> None:
        """Hang up; a waiting `read` returns None. May be called again."""


@runtime_checkable
class WaitingChannel(AsyncChannel, Protocol):
    """A channel behind which requests wait for a person before a server has them."""

    def leave(self, id_token: str) -> None:
        """Forget a request that no server has yet: its client left."""


def leave(channel: AsyncChannel, id_token: str) -> None:
    """Forget a request that no server has yet, if the channel has requests wait."""
    if isinstance(channel, WaitingChannel):
        channel.leave(id_token)


class RemoteChannel(AsyncChannel, Protocol):
    """A channel to a server at an address, which lives on after we hang up."""

    async def drain(self) -> None:
        """Wait until every request is answered."""


class Dialler(Protocol):
    """Opens channels to one server."""

    async def dial(self) -> AsyncChannel:
        """Open a channel for one conversation.

        Raises:
            ChannelClosed: the server cannot be started.
        """

    async def close(self) -> None:
        """Close the open channels, and open no new ones."""


CONNECTION_LOST = "the connection to the server was lost before the answer came"


class Failure(NamedTuple):
    """Why an answer will not come, as the client is told.

    Attributes:
        why: in words for the client.
        code: of the JSON-RPC error, from firewall.protocol.codes.
        sent: False if the request certainly never reached the server.
    """

    why: str
    code: int = codes.PEER_GONE
    sent: bool = True

    @classmethod
    def of(cls, frame: bytes) -> Self:
        """The failure that a frame tells, or that it cannot be read."""
        if isinstance(frame, Lost):
            return cls(frame.why, frame.code)
        return cls("the answer cannot be read", codes.UNSCANNABLE)

    def to_frame(self, id_token: str) -> Lost:
        """A frame that replaces the answer to one request."""
        return Lost.of(id_token, self.why, self.code, sent=self.sent)
