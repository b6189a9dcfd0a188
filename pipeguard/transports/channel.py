"""What every transport is to the pump: whole frames in, whole frames out, an end."""

from __future__ import annotations

from typing import Protocol


class ChannelClosed(Exception):  # noqa: N818  a peer that hangs up is no error
    """The peer is gone, or the channel was closed: the frame was not delivered."""


class Channel(Protocol):
    """One side of a conversation. Each method may be called from any thread."""

    def read(self) -> bytes | None:
        """The next whole frame without its framing; waits for it. None at the end, for good."""

    def write(self, frame: bytes) -> None:
        """Send one whole frame; waits while the peer does not read, which is back-pressure.

        Frames of several threads do not mix.

        Raises:
            ChannelClosed: the peer is gone, or this side was closed.
        """

    def close(self) -> None:
        """Hang up: the peer sees the end, a waiting `read` returns None. May be called again."""


class AsyncChannel(Protocol):
    """The same on an event loop, for what comes over a network. Called from its loop only.

    In place of an answer that will not come any more, `read` returns a
    `core.protocol.framing.Lost`.
    """

    async def read(self) -> bytes | None:
        """The next whole frame without its framing; None at the end, for good."""

    async def write(self, frame: bytes) -> None:
        """Send one whole frame.

        Raises:
            ChannelClosed: the peer is gone, or this side was closed.
        """

    async def close(self) -> None:
        """Hang up; a waiting `read` returns None. May be called again."""


class RemoteChannel(AsyncChannel, Protocol):
    """One to a server at an address, which goes on when we stop listening."""

    async def drain(self) -> None:
        """Wait until all that was asked is answered."""
