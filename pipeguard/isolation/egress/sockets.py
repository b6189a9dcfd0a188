"""The sockets that a sandbox speaks to: made inside its network namespace, accepted on outside.

A socket belongs to the namespace of the process that made it, whoever holds it later. So a launcher
calls `open_sockets` inside, where no one else listens yet, and sends the sockets to PipeGuard.
"""

import array
import ctypes
import os
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice

from pipeguard.isolation.egress.hosts import Address
from pipeguard.records import NamedTuple

PROXY_PORT = 3128  # of 127.0.0.1 in the namespace, which has no other listener
DNS_ADDRESS = ("127.0.0.53", 53)
BACKLOG = 1024
_PARTS = 4  # kinds of descriptors, each with its count
MAX_SOCKETS = 250  # one message between processes has at most 253 (SCM_MAX_FD, Linux)
ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD  # linux/if_ether.h
SO_ATTACH_FILTER, SO_TIMESTAMPNS = 26, 35  # asm-generic/socket.h
_TIME = struct.Struct("@ll")  # timespec(3type)
V4_BYTES, V6_BYTES = 20, 40  # of a header without options
SEEN_BYTES = 80  # the longest header of IPv4, and the needed part of TCP's
# linux/bpf_common.h
_BYTE, _HALF, _WORD, _WORD_X, _BYTE_X, _LENGTH_X = 0x30, 0x28, 0x20, 0x40, 0x50, 0xB1
_AND, _EQUAL, _ANY, _RETURN = 0x54, 0x15, 0x45, 0x06
_RESET_ACK = 0x14
# A reset for a SYN has the number 0 (RFC 9293, 3.10.7.1).
_FILTER_V4 = (
    (_BYTE, 0, 0, 9),  # the protocol
    (_EQUAL, 0, 8, socket.IPPROTO_TCP),
    (_HALF, 0, 0, 6),
    (_ANY, 6, 0, 0x1FFF),  # a later fragment
    (_LENGTH_X, 0, 0, 0),
    (_BYTE_X, 0, 0, 13),  # TCP's flags
    (_AND, 0, 0, _RESET_ACK),
    (_EQUAL, 0, 2, _RESET_ACK),
    (_WORD_X, 0, 0, 4),  # its sequence number
    (_EQUAL, 1, 0, 0),
    (_RETURN, 0, 0, 0),
    (_RETURN, 0, 0, SEEN_BYTES),
)
_FILTER_V6 = (
    (_BYTE, 0, 0, 6),  # the next header
    (_EQUAL, 0, 5, socket.IPPROTO_TCP),
    (_BYTE, 0, 0, V6_BYTES + 13),
    (_AND, 0, 0, _RESET_ACK),
    (_EQUAL, 0, 2, _RESET_ACK),
    (_WORD, 0, 0, V6_BYTES + 4),
    (_EQUAL, 1, 0, 0),
    (_RETURN, 0, 0, 0),
    (_RETURN, 0, 0, SEEN_BYTES),
)
Sockets = tuple[socket.socket, ...]


class EgressSockets(NamedTuple):
    """Bound sockets; those of TCP listen.

    Attributes:
        proxy: TCP; HTTP proxy requests and SOCKS5.
        direct: TCP, on all addresses; one for each port that a rule names.
        dns: UDP.
        refused: sees direct connections to ports without a listener; empty if it cannot be made.
    """

    proxy: Sockets = ()
    direct: Sockets = ()
    dns: Sockets = ()
    refused: Sockets = ()

    @property
    def all(self) -> Sockets:
        """The sockets of every kind."""
        return (*self.proxy, *self.direct, *self.dns, *self.refused)

    def close(self) -> None:
        """Close them all."""
        for sock in self.all:
            sock.close()


def open_sockets(ports: Iterable[int]) -> EgressSockets:
    """Make all sockets in the namespace of the caller; needs its loopback interface up.

    Args:
        ports: for direct connections; `HostRules.ports`. That of the proxy is taken: a host with
            this port is reached through the proxy.

    Raises:
        OSError: one cannot be bound; ports below 1024 need a right in the namespace
            (`CAP_NET_BIND_SERVICE`, or `net.ipv4.ip_unprivileged_port_start`).
    """
    proxy = _listener("127.0.0.1", PROXY_PORT)
    direct = [_listener_at_all(port) for port in sorted(set(ports) - {PROXY_PORT})]
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind(DNS_ADDRESS)
    refused = (_open_socket(ETH_P_IP, _FILTER_V4), _open_socket(ETH_P_IPV6, _FILTER_V6))
    return EgressSockets((proxy,), tuple(direct), (names,), tuple(filter(None, refused)))


def _listener_at_all(port: int) -> socket.socket:
    """Sockets that listen on all addresses, including those of IPv6 if there are any."""
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
    counts = bytes(map(len, sockets))
    descriptors = array.array("i", [sock.fileno() for sock in sockets.all])
    if len(descriptors) > MAX_SOCKETS:
        raise ValueError(f"{len(descriptors)} sockets: at most {MAX_SOCKETS}")
    channel.sendmsg([counts], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])


def receive_sockets(channel: socket.socket) -> EgressSockets:
    """Receive the sockets sent by `send_sockets`.

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
    made = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    for sock in made:
        sock.setblocking(False)  # noqa: FBT003  a positional parameter
    received = iter(made)
    return EgressSockets(*(tuple(islice(received, count)) for count in counts))


def _open_socket(protocol: int, instructions: tuple[tuple[int, ...], ...]) -> socket.socket | None:
    program = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
    content = ctypes.create_string_buffer(program, len(program))
    attached = struct.pack("@HP", len(instructions), ctypes.addressof(content))
    try:
        # With protocol 0 it receives nothing until it is bound, with its filter.
        made = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    except OSError:
        return None
    try:
        made.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, attached)
        made.bind(("lo", protocol))
    except OSError:
        made.close()
        return None
    with suppress(OSError):  # without it, they get the time of reading
        made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    return made


def receive(sock: socket.socket) -> tuple[bytes, float | None]:
    """The next packet of such a socket, and its arrival in seconds since 1970 if that is known.

    Raises:
        OSError: there is no packet now.
    """
    packet, notes, _, _ = sock.recvmsg(SEEN_BYTES, socket.CMSG_SPACE(_TIME.size))
    for level, kind, data in notes:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS) and len(data) == _TIME.size:
            seconds, nanoseconds = _TIME.unpack(data)
            return packet, seconds + nanoseconds / 1e9
    return packet, None


def refused_target(packet: bytes) -> tuple[Address, int] | None:
    """The target of the connection that a packet refuses; None for anything else."""
    from ipaddress import IPv4Address, IPv6Address

    version = packet[0] >> 4 if packet else 0
    length = (packet[0] & 0xF) * 4 if version == 4 else V6_BYTES
    if version not in {4, 6} or length < V4_BYTES or len(packet) < length + 14:
        return None
    port = int.from_bytes(packet[length : length + 2], "big")
    if not port:
        return None
    return (IPv4Address(packet[12:16]) if version == 4 else IPv6Address(packet[8:24])), port
