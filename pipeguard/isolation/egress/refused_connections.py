"""Reports direct connections that were refused because no one listens at their port.

The kernel refuses these by itself, and the server may react before any thread of ours has run. So
callers that need the refusals so far read them in their own thread.
"""

import socket
from collections.abc import Sequence
from contextlib import suppress
from threading import Lock
from time import monotonic, time

from pipeguard.isolation.egress.hosts import Address, HostAndPort
from pipeguard.isolation.egress.judge import EgressRecord, EgressWay, find_refusal
from pipeguard.isolation.egress.sockets import DNS_ADDRESS, SEEN_BYTES, receive, refused_target
from pipeguard.isolation.egress.state import EgressState

MAX_AT_ONCE = 64  # different ones reported in a second
MAX_READ = 1024  # in a second; then it pauses, and drops packets
REST_SECONDS = 1.0
EPHEMERAL = 32768  # net.ipv4.ip_local_port_range: a program's own, before it listens or after


class RefusedConnections:
    """Reads the kernel's refusals in one sandbox's network, and reports them, in any thread.

    Args:
        sockets: of `EgressSockets.refused`; the caller closes them, after `close`.
        state: the current rules, and the receiver of reports.
    """

    def __init__(self, sockets: Sequence[socket.socket], state: EgressState) -> None:
        self._sockets = sockets
        self._state = state
        self._lock = Lock()
        self._count = 0
        self._since = 0.0
        self._rest_until = 0.0
        self._told: set[tuple[Address, int]] = set()  # in this second

    def close(self) -> None:
        """Stop reading."""
        with self._lock:
            self._sockets = ()

    def report(self) -> float:
        """Report all refusals so far before returning.

        Returns:
            The seconds for which reading pauses because there were too many; mostly 0.
        """
        with self._lock:
            now = monotonic()
            if now < self._rest_until:
                return self._rest_until - now
            if self._rest_until:
                self._drop()
            if now - self._since >= REST_SECONDS:
                self._count = 0
                self._since = now
                self._told.clear()
            return self._read()

    def _read(self) -> float:
        for sock in self._sockets:
            with suppress(OSError):
                while self._count < MAX_READ:
                    self._tell(*receive(sock))
                    self._count += 1
        if self._count < MAX_READ:
            return 0.0
        self._rest_until = monotonic() + REST_SECONDS
        return REST_SECONDS

    def _drop(self) -> None:
        self._rest_until = 0.0
        for sock in self._sockets:
            with suppress(OSError):  # until it is empty, and it is small
                while sock.recv(SEEN_BYTES):
                    pass

    def _tell(self, packet: bytes, since_1970: float | None) -> None:
        refused = refused_target(packet)
        if refused is None:
            return
        address, port = refused
        is_asking = (str(address), port) == DNS_ADDRESS  # over TCP, after UDP was answered
        if is_asking or (address.is_loopback and port >= EPHEMERAL):
            return
        if refused not in self._told and len(self._told) >= MAX_AT_ONCE:
            return
        self._told.add(refused)
        target = HostAndPort(self._state.names.find_host(address), port)
        reason = find_refusal(self._state.rules, target)
        if reason:
            at = monotonic() - (max(0.0, time() - since_1970) if since_1970 is not None else 0.0)
            host = str(target.host)
            way = EgressWay.DIRECT
            self._state.report(EgressRecord(way, host, port, reason=reason, at=at))
