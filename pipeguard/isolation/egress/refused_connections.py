"""Tells of direct connections that were refused because nobody listens at their port."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from pipeguard.isolation.egress.hosts import HostAndPort
from pipeguard.isolation.egress.judge import EgressOutcome, EgressRecord, EgressWay, refusal_of
from pipeguard.isolation.egress.refused_socket import SEEN_BYTES, refused_target

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable

    from pipeguard.isolation.egress.hosts import Address, Host
    from pipeguard.isolation.egress.state import EgressState

MAX_AT_ONCE = 64  # then it rests, and what comes meanwhile is dropped
REST_SECONDS = 1.0
EPHEMERAL = 32768  # net.ipv4.ip_local_port_range: a program's own, before it listens or after


class RefusedConnections:
    """Reads what the kernel refused in one sandbox's network, and reports it.

    Args:
        loop: runs it.
        state: the rules as they are now, and who is told.
        host_of: the name that an address stands for, or that address.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        state: EgressState,
        host_of: Callable[[Address], Host],
    ) -> None:
        self._loop = loop
        self._state = state
        self._host_of = host_of
        self._heard: list[socket.socket] = []
        self._rest: asyncio.TimerHandle | None = None

    def attach(self, sock: socket.socket) -> None:
        """Read a socket of `refused_socket.open_refused`."""
        self._heard.append(sock)
        self._loop.add_reader(sock, self._read, sock)

    def close(self) -> None:
        """Read nothing any more."""
        if self._rest is not None:
            self._rest.cancel()
        for sock in self._heard:
            self._loop.remove_reader(sock)

    def _read(self, sock: socket.socket) -> None:
        with suppress(OSError):
            for _ in range(MAX_AT_ONCE):
                self._tell(sock.recv(SEEN_BYTES))
            self._loop.remove_reader(sock)
            self._rest = self._loop.call_later(REST_SECONDS, self._read_again, sock)

    def _read_again(self, sock: socket.socket) -> None:
        with suppress(OSError):  # until it is empty, and it is small
            while sock.recv(SEEN_BYTES):
                pass
        self._loop.add_reader(sock, self._read, sock)

    def _tell(self, packet: bytes) -> None:
        refused = refused_target(packet)
        if refused is None:
            return
        address, port = refused
        if address.is_loopback and port >= EPHEMERAL:
            return
        target = HostAndPort(self._host_of(address), port)
        reason = refusal_of(self._state.rules, target)
        if reason is not None:
            host, way, outcome = str(target.host), EgressWay.DIRECT, EgressOutcome.REFUSED
            self._state.report(EgressRecord(way, outcome, host, port, reason=reason))
