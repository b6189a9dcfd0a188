"""Hears of direct connections at ports where nobody listens in a sandbox's network.

The kernel refuses these by itself: it answers with a reset. A packet socket on the loopback is
given these answers alone (packet(7), with a filter of bpf(4)), and each says where the connection
was to go. It only hears: nothing depends on it, and where it cannot be made nothing is told.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
from contextlib import suppress

TYPE_CHECKING = False  # as typing.TYPE_CHECKING: a sandbox imports this at its start
if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    Address = IPv4Address | IPv6Address

ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD  # linux/if_ether.h
SO_ATTACH_FILTER, SO_TIMESTAMPNS = 26, 35  # asm-generic/socket.h
_TIME = struct.Struct("@ll")  # timespec(3type)
V4_BYTES, V6_BYTES = 20, 40  # of a header without options
SEEN_BYTES = 80  # the longest header of IPv4, and what is needed of TCP's
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


def open_refused() -> tuple[socket.socket, ...]:
    """One for IPv4 and one for IPv6, in the network of the caller, where they are allowed."""
    if sys.platform != "linux":
        return ()
    made = (_opened(ETH_P_IP, _FILTER_V4), _opened(ETH_P_IPV6, _FILTER_V6))
    return tuple(sock for sock in made if sock is not None)


def _opened(protocol: int, instructions: tuple[tuple[int, ...], ...]) -> socket.socket | None:
    program = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
    content = ctypes.create_string_buffer(program, len(program))
    attached = struct.pack("@HP", len(instructions), ctypes.addressof(content))
    try:
        # With protocol 0 it hears nothing until it is bound, with its filter.
        made = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    except OSError:
        return None
    try:
        made.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, attached)
        made.bind(("lo", protocol))
    except OSError:
        made.close()
        return None
    with suppress(OSError):  # without it, they are told with the time when they are read
        made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    return made


def received(sock: socket.socket) -> tuple[bytes, float | None]:
    """The next packet of such a socket, and when it came, in seconds since 1970 if that is known.

    Raises:
        OSError: there is none now.
    """
    packet, notes, _, _ = sock.recvmsg(SEEN_BYTES, socket.CMSG_SPACE(_TIME.size))
    for level, kind, data in notes:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS) and len(data) == _TIME.size:
            seconds, nanoseconds = _TIME.unpack(data)
            return packet, seconds + nanoseconds / 1e9
    return packet, None


def refused_target(packet: bytes) -> tuple[Address, int] | None:
    """Where the connection was to go that a packet refuses; None for anything else."""
    from ipaddress import IPv4Address, IPv6Address

    version = packet[0] >> 4 if packet else 0
    length = (packet[0] & 0xF) * 4 if version == 4 else V6_BYTES
    if version not in {4, 6} or length < V4_BYTES or len(packet) < length + 14:
        return None
    port = int.from_bytes(packet[length : length + 2], "big")
    if not port:
        return None
    return (IPv4Address(packet[12:16]) if version == 4 else IPv6Address(packet[8:24])), port
