"""The sockets that a sandbox speaks to: made inside its network namespace, accepted on outside.

A socket belongs to the namespace of the process that made it, whoever holds it later. So a launcher
calls `open_sockets` inside, where nothing else listens yet, and sends what it gets to PipeGuard.
"""

from __future__ import annotations

import array
import os
import socket

TYPE_CHECKING = False  # as typing.TYPE_CHECKING: a sandbox imports this at its start
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PROXY_PORT = 3128  # of 127.0.0.1 in the namespace; nobody else is there
DNS_ADDRESS = ("127.0.0.53", 53)
TAKEN_PORTS = frozenset({PROXY_PORT, DNS_ADDRESS[1]})
BACKLOG = 1024
MAX_SOCKETS = 250  # one message between processes has at most 253 (SCM_MAX_FD, Linux)


class EgressSockets:
    """Sockets that are bound, and listen where they are of TCP.

    Attributes:
        proxy: TCP; HTTP proxy requests and SOCKS5.
        direct: TCP, on all addresses; one for each port that a rule names.
        dns: UDP, TCP or both.
    """

    __slots__ = ("direct", "dns", "proxy")

    def __init__(
        self,
        proxy: tuple[socket.socket, ...] = (),
        direct: tuple[socket.socket, ...] = (),
        dns: tuple[socket.socket, ...] = (),
    ) -> None:
        self.proxy = proxy
        self.direct = direct
        self.dns = dns

    def __iter__(self) -> Iterator[socket.socket]:
        return iter((*self.proxy, *self.direct, *self.dns))

    def close(self) -> None:
        """Close them all."""
        for sock in self:
            sock.close()


def open_sockets(ports: Iterable[int], *, dns: bool = True) -> EgressSockets:
    """Make all sockets in the namespace of the caller; needs its loopback interface up.

    Args:
        ports: for direct connections; `HostRules.ports`. Those of the proxy and of names are taken:
            a host with such a port is reached through the proxy.
        dns: whether to answer questions for names.

    Raises:
        OSError: one cannot be bound; ports below 1024 need a right in the namespace
            (`CAP_NET_BIND_SERVICE`, or `net.ipv4.ip_unprivileged_port_start`).
    """
    proxy = _listener("127.0.0.1", PROXY_PORT)
    direct = [_listener("0.0.0.0", port) for port in sorted(set(ports) - TAKEN_PORTS)]  # noqa: S104  a namespace without interfaces
    names: list[socket.socket] = []
    if dns:
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind(DNS_ADDRESS)
        names = [datagrams, _listener(*DNS_ADDRESS)]
    return EgressSockets((proxy,), tuple(direct), tuple(names))


def _listener(address: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    sock.listen(BACKLOG)
    return sock


def send_sockets(channel: socket.socket, sockets: EgressSockets) -> None:
    """Send sockets over a Unix socket to the process that will accept on them.

    Raises:
        ValueError: there are more than one message has room for.
        OSError: the other process is gone.
    """
    counts = bytes((len(sockets.proxy), len(sockets.direct), len(sockets.dns)))
    descriptors = array.array("i", [sock.fileno() for sock in sockets])
    if len(descriptors) > MAX_SOCKETS:
        raise ValueError(f"{len(descriptors)} sockets: at most {MAX_SOCKETS}")
    channel.sendmsg([counts], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])


def receive_sockets(channel: socket.socket) -> EgressSockets:
    """Receive what `send_sockets` sent.

    Raises:
        OSError: the other process ended first, or sent something else.
    """
    counts, descriptors, _, _ = socket.recv_fds(channel, 3, MAX_SOCKETS)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)  # noqa: FBT003  a positional parameter
    if len(counts) != 3 or sum(counts) != len(descriptors):
        for descriptor in descriptors:
            os.close(descriptor)
        raise OSError("the sandbox sent no sockets")
    received = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    first, second = counts[0], counts[0] + counts[1]
    return EgressSockets(
        tuple(received[:first]), tuple(received[first:second]), tuple(received[second:])
    )
