"""The request of a proxy's client: bytes in, a target out; HTTP or SOCKS5 by the first byte.

No I/O: bytes may come in any pieces. One connection asks for one thing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from pipeguard.isolation.egress.hosts import HostAndPort, HostError, is_own_port, parse_host
from pipeguard.isolation.egress.http_head import (
    END_OF_HEAD,
    MAX_HEAD_BYTES,
    HeadError,
    RequestBody,
    parse_head,
)
from pipeguard.isolation.egress.judge import EgressReason, EgressWay

if TYPE_CHECKING:
    pass

VERSION = 5
_NO_LOGIN, _NO_METHOD = 0, 0xFF
_CONNECT = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
_ADDRESS_BYTES = {_IPV4: 4, _IPV6: 16}


class _SocksCode(IntEnum):
    """The status of a reply (RFC 1928, 6)."""

    SUCCEEDED = 0
    FAILED = 1
    NOT_ALLOWED = 2
    NETWORK_UNREACHABLE = 3
    HOST_UNREACHABLE = 4
    CONNECTION_REFUSED = 5
    UNKNOWN_COMMAND = 7
    UNKNOWN_ADDRESS = 8


class _SocksError(Exception):
    """A client to refuse.

    Attributes:
        response: what to send before closing; may be empty.
        is_unsupported: it is well-formed, and asks for what we do not offer.
    """

    def __init__(self, response: bytes, *, is_unsupported: bool = False) -> None:
        super().__init__("refused")
        self.response = response
        self.is_unsupported = is_unsupported


def reply(code: _SocksCode) -> bytes:
    """A reply to a request; the bound address, which says nothing to a client, is zero."""
    return bytes((VERSION, code, 0, _IPV4, 0, 0, 0, 0, 0, 0))


GREETING_REPLY = bytes((VERSION, _NO_LOGIN))


def greeting_length(data: bytes) -> int | None:
    """The length of the greeting that data begins with; None while it is incomplete.

    Raises:
        _SocksError: it has no method without a login, or is no greeting.
    """
    if data[:1] != bytes((VERSION,)):
        raise _SocksError(b"")
    if len(data) < 2 or len(data) < 2 + data[1]:
        return None
    if _NO_LOGIN not in data[2 : 2 + data[1]]:
        raise _SocksError(bytes((VERSION, _NO_METHOD)), is_unsupported=True)
    return 2 + data[1]


def parse_request(data: bytes) -> tuple[HostAndPort, int] | None:
    """The target of the request that data begins with, and its length; None if incomplete.

    Raises:
        _SocksError: it is no CONNECT, or has no host and port.
    """
    if len(data) < 5:
        return None
    version, command, reserved, kind, first = data[:5]
    if version != VERSION or reserved:
        raise _SocksError(reply(_SocksCode.FAILED))
    if command != _CONNECT:
        raise _SocksError(reply(_SocksCode.UNKNOWN_COMMAND), is_unsupported=True)
    if kind not in {_IPV4, _NAME, _IPV6}:
        raise _SocksError(reply(_SocksCode.UNKNOWN_ADDRESS), is_unsupported=True)
    start = 5 if kind == _NAME else 4
    end = start + (first if kind == _NAME else _ADDRESS_BYTES[kind])
    if len(data) < end + 2:
        return None
    port = int.from_bytes(data[end : end + 2], "big")
    return _target(kind, data[start:end], port), end + 2


def _target(kind: int, host: bytes, port: int) -> HostAndPort:
    if not port:
        raise _SocksError(reply(_SocksCode.FAILED))
    if kind == _IPV4:
        return HostAndPort(IPv4Address(host), port)
    if kind == _IPV6:
        address = IPv6Address(host)
        return HostAndPort(address.ipv4_mapped or address, port)
    try:
        return HostAndPort(parse_host(host.decode()), port)
    except (HostError, UnicodeDecodeError):
        raise _SocksError(reply(_SocksCode.FAILED)) from None


CONNECTED = b"HTTP/1.1 200 Connection established\r\n\r\n"
_WHY = {
    EgressReason.HOST: "is not a host that this server may reach",
    EgressReason.PORT: "is not a port at which this server may reach that host",
    EgressReason.ADDRESS: "leads to a private or local address, which no rule names",
    EgressReason.TOO_MANY: "cannot be reached: too many connections are open",
}
_SOCKS_FAILURES = {
    "ECONNREFUSED": _SocksCode.CONNECTION_REFUSED,
    "ENETUNREACH": _SocksCode.NETWORK_UNREACHABLE,
    "EHOSTUNREACH": _SocksCode.HOST_UNREACHABLE,
}


def _response(status: str, text: str) -> bytes:
    body = f"PipeGuard: {text}\n".encode("ascii", "backslashreplace")
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + body


HEAD_TOO_LARGE = _response("431 Request Header Fields Too Large", "the head is over 16 KiB.")


def bad_request(why: str) -> bytes:
    """The answer to a request that is not passed on by its form."""
    return _response("400 Bad Request", f"{why}.")


def refusal_reply(way: EgressWay, target: HostAndPort, reason: EgressReason) -> bytes:
    """The answer to a client whose host is refused."""
    if way is EgressWay.SOCKS5:
        return reply(_SocksCode.NOT_ALLOWED)
    if way is EgressWay.DIRECT:
        return b""
    why = _WHY.get(reason, "is refused")
    if reason in {EgressReason.HOST, EgressReason.PORT} and is_own_port(str(target.host)):
        why = "is not a port of this machine that this server may reach"
    return _response("403 Forbidden", f"{target} {why}.")


def failure_reply(way: EgressWay, target: HostAndPort, error: str, advice: str = "") -> bytes:
    """The answer to a client whose host is allowed and could not be reached."""
    if way is EgressWay.SOCKS5:
        code = _SocksCode.HOST_UNREACHABLE if error.startswith("EAI_") else _SocksCode.FAILED
        return reply(_SOCKS_FAILURES.get(error, code))
    if way is EgressWay.DIRECT:
        return b""
    status = "504 Gateway Timeout" if error.endswith("ETIMEDOUT") else "502 Bad Gateway"
    more = f" ({advice})" if advice else ""
    return _response(status, f"{target} is allowed, but could not be reached: {error}{more}.")


class HandshakeError(Exception):
    """A client to refuse before anything is judged.

    Attributes:
        way: by what its first byte says that it speaks.
        reason: `MALFORMED` or `UNSUPPORTED`.
        response: what to send before closing; may be empty.
    """

    def __init__(self, way: EgressWay, reason: EgressReason, response: bytes = b"") -> None:
        super().__init__(reason.value)
        self.way = way
        self.reason = reason
        self.response = response


@dataclass(frozen=True, slots=True)
class EgressRequest:
    """The target that one connection asks for.

    Attributes:
        way: how.
        target: the host and port.
        to_client: sent to the client when the host is connected.
        to_host: sent to the host first: the head of a request.
        early: what came of the client behind its request.
        body: where the request ends; None for a tunnel.
    """

    way: EgressWay
    target: HostAndPort
    to_client: bytes = b""
    to_host: bytes = b""
    early: bytes = b""
    body: RequestBody | None = None


class ProxyHandshake:
    """The beginning of one connection to the proxy."""

    def __init__(self) -> None:
        self._data = b""
        self._is_greeted = False

    @property
    def has_begun(self) -> bool:
        """True if the client sent anything."""
        return bool(self._data) or self._is_greeted

    @property
    def way(self) -> EgressWay:
        """By what came so far."""
        if self._is_greeted or self._data[:1] == bytes((VERSION,)):
            return EgressWay.SOCKS5
        return EgressWay.CONNECT if self._data.startswith(b"CONNECT ") else EgressWay.HTTP

    def feed(self, data: bytes) -> tuple[bytes, EgressRequest | None]:
        """Take bytes; returns what to send back, and what is asked for if that is complete.

        Raises:
            HandshakeError: the client is to be refused.
        """
        self._data += data
        if self.way is EgressWay.SOCKS5:
            return self._feed_socks()
        return b"", self._feed_http()

    def _feed_socks(self) -> tuple[bytes, EgressRequest | None]:
        response = b""
        try:
            if not self._is_greeted:
                length = greeting_length(self._data)
                if length is None:
                    return b"", None
                self._data = self._data[length:]
                self._is_greeted = True
                response = GREETING_REPLY
            request = parse_request(self._data)
        except _SocksError as error:
            raise HandshakeError(
                EgressWay.SOCKS5, _reason(error), response + error.response
            ) from None
        if request is None:
            return response, None
        target, length = request
        opened = reply(_SocksCode.SUCCEEDED)
        return response, EgressRequest(EgressWay.SOCKS5, target, opened, early=self._data[length:])

    def _feed_http(self) -> EgressRequest | None:
        end = self._data.find(END_OF_HEAD)
        if end + len(END_OF_HEAD) > MAX_HEAD_BYTES or (end < 0 and self._is_too_long()):
            raise HandshakeError(self.way, EgressReason.MALFORMED, HEAD_TOO_LARGE)
        if end < 0:
            if not self._data[:1].isalpha():
                raise HandshakeError(self.way, EgressReason.MALFORMED)
            return None
        end += len(END_OF_HEAD)
        try:
            request = parse_head(self._data[:end])
        except HeadError as error:
            response = bad_request(str(error))
            raise HandshakeError(self.way, _reason(error), response) from None
        early = self._data[end:]
        if request.head is None:
            return EgressRequest(EgressWay.CONNECT, request.target, CONNECTED, early=early)
        body = RequestBody(request.length)
        return EgressRequest(EgressWay.HTTP, request.target, b"", request.head, early, body)

    def _is_too_long(self) -> bool:
        return len(self._data) >= MAX_HEAD_BYTES


def _reason(error: HeadError | _SocksError) -> EgressReason:
    return EgressReason.UNSUPPORTED if error.is_unsupported else EgressReason.MALFORMED
