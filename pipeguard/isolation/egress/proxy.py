"""The way out of one sandbox, in a thread of its own that waits for a first connection.

Until then it is one thread in one system call: the event loop, and all that reads and connects, is
imported when the sandbox first asks for something.
"""

from __future__ import annotations

import selectors
import socket
from contextlib import suppress
from threading import Lock, Thread
from typing import TYPE_CHECKING

from pipeguard.isolation.egress.refused_connections import RefusedConnections
from pipeguard.isolation.egress.state import EgressLimits, EgressState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipeguard.isolation.egress.hosts import HostRules
    from pipeguard.isolation.egress.judge import Report
    from pipeguard.isolation.egress.outer_proxy import OuterProxies
    from pipeguard.isolation.egress.sockets import EgressSockets

CLOSE_SECONDS = 5.0


class Egress:
    """The way out of one sandbox. All methods may be called from any thread.

    Args:
        sockets: made inside the sandbox's namespace; closed with this.
        rules: the hosts that may be reached.
        report: called for each connection that ended or was refused, in the thread of the
            connections or in one of `report_refused`, which waits for it; it must not raise.
        limits: what the sandbox may use.
        resolve: gives the addresses of a name, in a thread of its own; the system's resolver if
            None.
        proxies: gives those of the user's own network, at the first connection; none if None.
    """

    def __init__(
        self,
        sockets: EgressSockets,
        rules: HostRules,
        report: Report,
        *,
        limits: EgressLimits | None = None,
        resolve: Callable[[str], Iterable[str]] | None = None,
        proxies: Callable[[], OuterProxies] | None = None,
    ) -> None:
        self._sockets = sockets
        self._state = EgressState(rules, report, resolve, limits or EgressLimits(), proxies)
        self._refused = RefusedConnections(sockets.refused, self._state)
        self._wake, self._waker = socket.socketpair()
        self._lock = Lock()
        self._thread = Thread(target=self._run, name="egress", daemon=True)

    def start(self) -> None:
        """Begin to accept."""
        for sock in (*self._sockets, self._wake, self._waker):
            sock.setblocking(False)  # noqa: FBT003  a positional parameter
        self._thread.start()

    def update(self, rules: HostRules) -> None:
        """Judge new connections by other rules from now on."""
        self._state.rules = rules

    def report_refused(self) -> None:
        """Report what the kernel has refused, which whoever connected knows."""
        self._refused.report()

    def close(self) -> None:
        """End all connections, and wait until they are reported; to be called once started."""
        self._state.is_closed = True
        with self._lock, suppress(OSError):  # it has ended
            self._waker.send(b"\0")
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        try:
            self._wait()
            if not self._state.is_closed:
                from pipeguard.isolation.egress.server import serve

                serve(self._sockets, self._refused, self._state, self._wake)
        finally:
            self._refused.close()
            with self._lock:
                self._sockets.close()
                self._wake.close()
                self._waker.close()

    def _wait(self) -> None:
        """Wait for the sandbox's first connection or question, or for the end."""
        with selectors.DefaultSelector() as selector:
            for sock in (*self._sockets, self._wake):
                selector.register(sock, selectors.EVENT_READ)
            heard = {self._wake, *self._sockets.refused}  # for which no event loop is needed
            while not self._state.is_closed:
                ready = {key.fileobj for key, _ in selector.select()}
                if ready - heard or self._refused.report():
                    return
