"""The way out of one running sandbox: takes its sockets when they come, and answers on them."""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from pipeguard.isolation.egress.proxy import Egress
from pipeguard.isolation.egress.sockets import receive_sockets

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeguard.isolation.egress.hosts import HostRules
    from pipeguard.isolation.egress.judge import Report
    from pipeguard.isolation.egress.outer_proxy import OuterProxies

    ProxiesSource = Callable[[], OuterProxies]

SOCKETS_SECONDS = 2.0  # for the sockets of a sandbox whose server answers: they were sent before


class SandboxExit:
    """Connects one sandbox to the hosts that it may reach.

    Args:
        channel: that the sandbox sends its sockets through; closed with this.
        rules: the hosts.
        report: called for each connection that ended or was refused, in a thread of its own.
        proxies: gives those of the user's own network, at the first connection; none if None.
    """

    def __init__(
        self,
        channel: socket.socket,
        rules: HostRules,
        report: Report,
        proxies: ProxiesSource | None = None,
    ) -> None:
        self._channel = channel
        self._rules = rules
        self._report = report
        self._proxies = proxies
        self._lock = Lock()
        self._egress: Egress | None = None
        self._came = Event()  # the sockets, or the end of the wait for them
        self._is_closed = False
        self._thread = Thread(target=self._take, name="way-out", daemon=True)

    def start(self) -> None:
        """Begin to wait for the sockets; returns at once."""
        self._thread.start()

    def update(self, rules: HostRules) -> None:
        """Judge by other rules from now on."""
        with self._lock:
            self._rules = rules
            if self._egress is not None:
                self._egress.update(rules)

    def report_refused(self) -> None:
        """Report what the kernel has refused to a server that has begun to run."""
        if not self._came.wait(SOCKETS_SECONDS):
            self._came.set()  # waited for once
        with self._lock:
            egress = self._egress
        if egress is not None:
            egress.report_refused()

    def close(self) -> None:
        """End all connections, and wait until they are reported."""
        with self._lock:
            self._is_closed = True
            egress = self._egress
        with suppress(OSError):  # the sandbox ended before it sent anything
            self._channel.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        if egress is not None:
            egress.close()
        self._channel.close()

    def _take(self) -> None:
        try:
            self._open()
        finally:
            self._came.set()

    def _open(self) -> None:
        try:
            sockets = receive_sockets(self._channel)
        except OSError:
            return  # the sandbox ended before it sent them, and says itself why
        with self._lock:
            if self._is_closed:
                sockets.close()
                return
            self._egress = Egress(sockets, self._rules, self._report, proxies=self._proxies)
            self._egress.start()
