"""The way out of one sandbox, in a thread of its own that waits for a first connection.

The thread takes the sandbox's sockets when they come. Until a first connection it waits in one
system call: the event loop and the other modules are imported then.
"""

import selectors
import socket
from contextlib import suppress
from threading import Event, Lock, Thread

from pipeguard.isolation.egress.hosts import HostRules
from pipeguard.isolation.egress.refused_connections import RefusedConnections
from pipeguard.isolation.egress.sockets import EgressSockets, receive_sockets
from pipeguard.isolation.egress.state import EgressState

CLOSE_SECONDS = 5.0
SOCKETS_SECONDS = 2.0  # for the sockets of a sandbox whose server answers: they were sent before


class Egress:
    """Connects one sandbox to the hosts that it may reach. Any thread may call its methods.

    Args:
        channel: carries the sandbox's sockets (`sockets.send_sockets`); closed with this.
        state: the rights of the sandbox.
    """

    def __init__(self, channel: socket.socket, state: EgressState) -> None:
        self._channel = channel
        self._state = state
        self._refused: RefusedConnections | None = None
        self._came = Event()  # the sockets, or the end of the wait for them
        self._wake, self._waker = socket.socketpair()
        self._lock = Lock()
        self._thread = Thread(target=self._run, name="egress", daemon=True)

    def start(self) -> None:
        """Begin to wait for the sockets; return at once."""
        self._wake.setblocking(False)  # noqa: FBT003  a positional parameter
        self._thread.start()

    def update(self, rules: HostRules) -> None:
        """Judge new connections by these rules from now on."""
        self._state.rules = rules

    def report_refused(self) -> None:
        """Report the kernel's refusals to a server that has begun to run."""
        if not self._came.wait(SOCKETS_SECONDS):
            self._came.set()  # waited for once
        if self._refused:
            self._refused.report()

    def close(self) -> None:
        """End all connections, and wait until they are reported; to be called once started."""
        self._state.is_closed = True
        with suppress(OSError):  # the sandbox ended before it sent anything
            self._channel.shutdown(socket.SHUT_RDWR)
        with self._lock, suppress(OSError):  # it has ended
            self._waker.send(b"\0")
        self._thread.join(CLOSE_SECONDS)
        self._channel.close()

    def _run(self) -> None:
        try:
            sockets = receive_sockets(self._channel)
        except OSError:
            return  # the sandbox ended before it sent them, and says itself why
        else:
            self._serve(sockets)
        finally:
            self._came.set()
            with self._lock:
                self._wake.close()
                self._waker.close()

    def _serve(self, sockets: EgressSockets) -> None:
        refused = RefusedConnections(sockets.refused, self._state)
        self._refused = refused
        self._came.set()
        try:
            if self._is_asked(sockets, refused):
                from pipeguard.isolation.egress.server import serve

                serve(sockets, refused, self._state, self._wake)
        finally:
            refused.close()
            sockets.close()

    def _is_asked(self, sockets: EgressSockets, refused: RefusedConnections) -> bool:
        """Wait for the sandbox's first connection or question; False at the end."""
        with selectors.DefaultSelector() as selector:
            for sock in (*sockets.all, self._wake):
                selector.register(sock, selectors.EVENT_READ)
            heard = {self._wake, *sockets.refused}  # for which no event loop is needed
            while not self._state.is_closed:
                ready = {key.fileobj for key, _ in selector.select()}
                if ready - heard or refused.report():
                    return not self._state.is_closed
        return False
