"""The request of a proxy's client: bytes in, a target out; HTTP or SOCKS5 by the first byte.

No I/O: bytes may come in any pieces. Each connection makes one request.
"""

from enum import IntEnum
from ipaddress import ip_address

from pipeguard.isolation.egress.hosts import HostAndPort, HostError, is_this_machine, parse_host
from pipeguard.isolation.egress.http_head import (
    EgressRequest,
    EgressRequestError,
    make_response,
    read_request,
)
from pipeguard.isolation.egress.judge import EgressReason, EgressWay

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


def reply(code: _SocksCode) -> bytes:
    """A reply to a request; the bound address, which clients ignore, is zero."""
    return bytes((VERSION, code, 0, _IPV4, 0, 0, 0, 0, 0, 0))


GREETING_REPLY = bytes((VERSION, _NO_LOGIN))


def _greeting_length(data: bytes) -> int | None:
    """The length of the greeting at the start of data; None while it is incomplete.

    Raises:
        EgressRequestError: it has no method without a login.
    """
    if len(data) < 2 or len(data) < 2 + data[1]:
        return None
    if _NO_LOGIN not in data[2 : 2 + data[1]]:
        raise EgressRequestError(EgressReason.UNSUPPORTED, bytes((VERSION, _NO_METHOD)))
    return 2 + data[1]


def _read_socks_request(data: bytes) -> EgressRequest | None:
    """The request at the start of data; None while it is incomplete.

    Raises:
        EgressRequestError: it is not a CONNECT, or has no host and port.
    """
    if len(data) < 5:
        return None
    version, command, reserved, kind, first = data[:5]
    failed = EgressRequestError(EgressReason.MALFORMED, reply(_SocksCode.FAILED))
    if version != VERSION or reserved:
        raise failed
    if command != _CONNECT:
        raise EgressRequestError(EgressReason.UNSUPPORTED, reply(_SocksCode.UNKNOWN_COMMAND))
    if kind not in {_IPV4, _NAME, _IPV6}:
        raise EgressRequestError(EgressReason.UNSUPPORTED, reply(_SocksCode.UNKNOWN_ADDRESS))
    start = 5 if kind == _NAME else 4
    end = start + (first if kind == _NAME else _ADDRESS_BYTES[kind])
    if len(data) < end + 2:
        return None
    port = int.from_bytes(data[end : end + 2], "big")
    try:
        name = data[start:end]
        host = parse_host(name.decode() if kind == _NAME else str(ip_address(name)))
    except (HostError, UnicodeDecodeError):
        raise failed from None
    if not port:
        raise failed
    target = HostAndPort(host, port)
    opened = reply(_SocksCode.SUCCEEDED)
    return EgressRequest(EgressWay.SOCKS5, target, opened, early=data[end + 2 :])


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


def refusal_reply(request: EgressRequest, reason: EgressReason) -> bytes:
    """The answer to a client whose host is refused."""
    target = request.target
    why = _WHY.get(reason, "is refused")
    if reason in {EgressReason.HOST, EgressReason.PORT} and is_this_machine(str(target.host)):
        why = "is not a port of this machine that this server may reach"
    return _answer(request, _SocksCode.NOT_ALLOWED, "403 Forbidden", f"{target} {why}.")


def failure_reply(request: EgressRequest, error: str) -> bytes:
    """The answer to a client whose host is allowed but could not be reached."""
    code = _SocksCode.HOST_UNREACHABLE if error.startswith("EAI_") else _SocksCode.FAILED
    status = "504 Gateway Timeout" if "ETIMEDOUT" in error else "502 Bad Gateway"
    text = f"{request.target} is allowed, but could not be reached: {error}."
    return _answer(request, _SOCKS_FAILURES.get(error, code), status, text)


def _answer(request: EgressRequest, code: _SocksCode, status: str, text: str) -> bytes:
    """An answer in the client's protocol; empty for a direct connection."""
    if request.way is EgressWay.SOCKS5:
        return reply(code)
    return b"" if request.way is EgressWay.DIRECT else make_response(status, text)


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
        """The protocol, judged by the bytes so far."""
        if self._is_greeted or self._data[:1] == bytes((VERSION,)):
            return EgressWay.SOCKS5
        return EgressWay.CONNECT if self._data.startswith(b"CONNECT ") else EgressWay.HTTP

    def feed(self, data: bytes) -> tuple[bytes, EgressRequest | None]:
        """Take bytes; return the bytes to send back, and the request once it is complete.

        Raises:
            EgressRequestError: the client is to be refused.
        """
        self._data += data
        if self.way is not EgressWay.SOCKS5:
            return b"", read_request(self._data)
        response = b""
        if not self._is_greeted:
            length = _greeting_length(self._data)
            if length is None:
                return b"", None
            self._data = self._data[length:]
            self._is_greeted = True
            response = GREETING_REPLY
        try:
            return response, _read_socks_request(self._data)
        except EgressRequestError as error:
            raise EgressRequestError(error.reason, response + error.response) from None
