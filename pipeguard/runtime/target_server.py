"""The guarded server as its guard sees it: its channel, its standard error, its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from pipeguard.launch.child import Child, Exit
from pipeguard.runtime.run import Run
from pipeguard.transports.channel import Channel
from pipeguard.transports.stderr import StderrCopy
from pipeguard.transports.stdio import LineChannel

if TYPE_CHECKING:
    from pipeguard.isolation import ServerStarter

STDERR = 2


class TargetServer(Protocol):
    """The guarded server, wherever it runs."""

    def channel(self, limit_bytes: int) -> Channel:
        """Open the channel of its frames."""

    def stderr(self, mask: Callable[[bytes], bytes]) -> StderrCopy | None:
        """A copy of its standard error to ours; None if it has none."""
        return None

    def attach(self, run: Run) -> None:
        """Record events other than frames in this run."""
        return

    def hang_up(self) -> None:
        """Record the last of these events, once the server has ended."""
        return

    def end(self, grace_seconds: float) -> Exit:
        """End it within a grace, which a second call can only shorten."""

    def wait(self, timeout_seconds: float) -> Exit | None:
        """Wait for its own end; None if it still runs after that, or PipeGuard cannot tell."""
        return None

    def close(self) -> None:
        """Free its descriptors once they are unused."""


class LocalServer:
    """A server that was started here."""

    def __init__(self, child: Child, starter: ServerStarter | None) -> None:
        """Take over a server that was started, by a starter if it may be isolated."""
        self._child, self._starter = child, starter
        self.end, self.wait, self.close = child.end, child.wait, child.close

    def attach(self, run: Run) -> None:
        """Record the connections of an isolated server."""
        if self._starter is not None:
            self._starter.attach(run)

    def hang_up(self) -> None:
        """End those connections."""
        if self._starter is not None:
            self._starter.hang_up()

    def channel(self, limit_bytes: int) -> Channel:
        """A channel over its standard input and output."""
        lines = LineChannel(self._child.stdout_fd, self._child.stdin_fd, limit_bytes)
        return lines if self._starter is None else self._starter.with_roots(lines)

    def stderr(self, mask: Callable[[bytes], bytes]) -> StderrCopy | None:
        """A copy of its standard error to ours."""
        return StderrCopy(self._child.stderr_fd, STDERR, mask)
