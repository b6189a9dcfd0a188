"""SOCKS5 as bytes: a greeting and a request, each read whole or not at all (RFC 1928)."""

from __future__ import annotations

from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address

from pipeguard.isolation.egress.hosts import HostAndPort, HostError, parse_host

VERSION = 5
_NO_LOGIN, _NO_METHOD = 0, 0xFF
_CONNECT = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
_ADDRESS_BYTES = {_IPV4: 4, _IPV6: 16}


class SocksCode(IntEnum):
    """What a reply says (RFC 1928, 6)."""

    SUCCEEDED = 0
    FAILED = 1
    NOT_ALLOWED = 2
    NETWORK_UNREACHABLE = 3
    HOST_UNREACHABLE = 4
    CONNECTION_REFUSED = 5
    UNKNOWN_COMMAND = 7
    UNKNOWN_ADDRESS = 8


class SocksError(Exception):
    """A client to refuse.

    Attributes:
        response: what to send before closing; may be empty.
        is_unsupported: it is well-formed, and asks for what we do not offer.
    """

    def __init__(self, response: bytes, *, is_unsupported: bool = False) -> None:
        super().__init__("refused")
        self.response = response
        self.is_unsupported = is_unsupported


def reply(code: SocksCode) -> bytes:
    """A reply to a request; the bound address, which says nothing to a client, is zero."""
    return bytes((VERSION, code, 0, _IPV4, 0, 0, 0, 0, 0, 0))


GREETING_REPLY = bytes((VERSION, _NO_LOGIN))


def greeting_length(data: bytes) -> int | None:
    """The length of the greeting that data begins with; None while it is incomplete.

    Raises:
        SocksError: it has no method without a login, or is no greeting.
    """
    if data[:1] != bytes((VERSION,)):
        raise SocksError(b"")
    if len(data) < 2 or len(data) < 2 + data[1]:
        return None
    if _NO_LOGIN not in data[2 : 2 + data[1]]:
        raise SocksError(bytes((VERSION, _NO_METHOD)), is_unsupported=True)
    return 2 + data[1]


def parse_request(data: bytes) -> tuple[HostAndPort, int] | None:
    """The target of the request that data begins with, and its length; None if incomplete.

    Raises:
        SocksError: it is no CONNECT, or has no host and port.
    """
    if len(data) < 5:
        return None
    version, command, reserved, kind, first = data[:5]
    if version != VERSION or reserved:
        raise SocksError(reply(SocksCode.FAILED))
    if command != _CONNECT:
        raise SocksError(reply(SocksCode.UNKNOWN_COMMAND), is_unsupported=True)
    if kind not in {_IPV4, _NAME, _IPV6}:
        raise SocksError(reply(SocksCode.UNKNOWN_ADDRESS), is_unsupported=True)
    start = 5 if kind == _NAME else 4
    end = start + (first if kind == _NAME else _ADDRESS_BYTES[kind])
    if len(data) < end + 2:
        return None
    port = int.from_bytes(data[end : end + 2], "big")
    return _target(kind, data[start:end], port), end + 2


def _target(kind: int, host: bytes, port: int) -> HostAndPort:
    if not port:
        raise SocksError(reply(SocksCode.FAILED))
    if kind == _IPV4:
        return HostAndPort(IPv4Address(host), port)
    if kind == _IPV6:
        address = IPv6Address(host)
        return HostAndPort(address.ipv4_mapped or address, port)
    try:
        return HostAndPort(parse_host(host.decode()), port)
    except (HostError, UnicodeDecodeError):
        raise SocksError(reply(SocksCode.FAILED)) from None
