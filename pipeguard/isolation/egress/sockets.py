"""The sockets that a sandbox speaks to: made inside its network namespace, accepted on outside.

A socket belongs to the namespace of the process that made it, whoever holds it later. So a launcher
calls `open_sockets` inside, where nothing else listens yet, and sends what it gets to PipeGuard.
"""

from __future__ import annotations

import array
import os
import socket
import sys
from itertools import islice

from pipeguard.isolation.egress.refused_socket import open_refused

TYPE_CHECKING = False  # as typing.TYPE_CHECKING: a sandbox imports this at its start
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PROXY_PORT = 3128  # of 127.0.0.1 in the namespace; nobody else is there
DNS_ADDRESS = ("127.0.0.53", 53)
TAKEN_PORTS = frozenset({PROXY_PORT, DNS_ADDRESS[1]})
BACKLOG = 1024
_PARTS = 5  # kinds of descriptors, each with its count
MAX_SOCKETS = 250  # one message between processes has at most 253 (SCM_MAX_FD, Linux)


class EgressSockets:
    """Sockets that are bound, and listen where they are of TCP.

    Attributes:
        proxy: TCP; HTTP proxy requests and SOCKS5.
        direct: TCP, on all addresses; one for each port that a rule names.
        dns: UDP, TCP or both.
        refused: hears of direct connections that nobody listens for; none where it cannot be made.
        namespace: descriptors of the user and the network namespace that they are in, to make more
            of them later; none where they cannot be had.
    """

    __slots__ = ("direct", "dns", "namespace", "proxy", "refused")

    def __init__(
        self,
        proxy: tuple[socket.socket, ...] = (),
        direct: tuple[socket.socket, ...] = (),
        dns: tuple[socket.socket, ...] = (),
        refused: tuple[socket.socket, ...] = (),
        namespace: tuple[int, ...] = (),
    ) -> None:
        self.proxy = proxy
        self.direct = direct
        self.dns = dns
        self.refused = refused
        self.namespace = namespace

    def __iter__(self) -> Iterator[socket.socket]:
        return iter((*self.proxy, *self.direct, *self.dns, *self.refused))

    def close(self) -> None:
        """Close them all."""
        for sock in self:
            sock.close()
        for descriptor in self.namespace:
            os.close(descriptor)
        self.namespace = ()


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
    direct = [_listener_at_all(port) for port in sorted(set(ports) - TAKEN_PORTS)]
    names: list[socket.socket] = []
    if dns:
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind(DNS_ADDRESS)
        names = [datagrams, _listener(*DNS_ADDRESS)]
    return EgressSockets((proxy,), tuple(direct), tuple(names), open_refused(), _namespaces())


def _namespaces() -> tuple[int, ...]:
    """Descriptors of the user and the network namespace of this process."""
    if sys.platform != "linux":
        return ()
    opened: list[int] = []
    try:
        for path in ("/proc/self/ns/user", "/proc/self/ns/net"):
            opened += [os.open(path, os.O_RDONLY | os.O_CLOEXEC)]
    except OSError:
        for descriptor in opened:
            os.close(descriptor)
        return ()
    return tuple(opened)


def _listener_at_all(port: int) -> socket.socket:
    """At all addresses, those of IPv6 too where there is any."""
    try:
        return _listener("::", port, socket.AF_INET6)
    except OSError:
        return _listener("0.0.0.0", port)  # noqa: S104  a namespace without interfaces


def _listener(address: str, port: int, family: int = socket.AF_INET) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((address, port))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def send_sockets(channel: socket.socket, sockets: EgressSockets) -> None:
    """Send sockets over a Unix socket to the process that will accept on them.

    Raises:
        ValueError: there are more than one message has room for.
        OSError: the other process is gone.
    """
    parts = (sockets.proxy, sockets.direct, sockets.dns, sockets.refused, sockets.namespace)
    counts = bytes(map(len, parts))
    descriptors = array.array("i", [*(sock.fileno() for sock in sockets), *sockets.namespace])
    if len(descriptors) > MAX_SOCKETS:
        raise ValueError(f"{len(descriptors)} sockets: at most {MAX_SOCKETS}")
    channel.sendmsg([counts], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])


def receive_sockets(channel: socket.socket) -> EgressSockets:
    """Receive what `send_sockets` sent.

    Raises:
        OSError: the other process ended first, or sent something else.
    """
    counts, descriptors, _, _ = socket.recv_fds(channel, _PARTS, MAX_SOCKETS)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)  # noqa: FBT003  a positional parameter
    if len(counts) != _PARTS or sum(counts) != len(descriptors):
        for descriptor in descriptors:
            os.close(descriptor)
        raise OSError("the sandbox sent no sockets")
    last = len(descriptors) - counts[-1]
    received = iter([socket.socket(fileno=descriptor) for descriptor in descriptors[:last]])
    proxy, direct, dns, refused = (tuple(islice(received, count)) for count in counts[:-1])
    return EgressSockets(proxy, direct, dns, refused, tuple(descriptors[last:]))
