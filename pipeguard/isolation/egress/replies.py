"""What a client of the proxy is told, in its own protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeguard.isolation.egress.hosts import is_own_port
from pipeguard.isolation.egress.judge import EgressReason, EgressWay
from pipeguard.isolation.egress.socks import SocksCode, reply

if TYPE_CHECKING:
    from pipeguard.isolation.egress.hosts import HostAndPort

CONNECTED = b"HTTP/1.1 200 Connection established\r\n\r\n"
_WHY = {
    EgressReason.HOST: "is not a host that this server may reach",
    EgressReason.PORT: "is not a port at which this server may reach that host",
    EgressReason.ADDRESS: "leads to a private or local address, which no rule names",
    EgressReason.TOO_MANY: "cannot be reached: too many connections are open",
}
_SOCKS_FAILURES = {
    "ECONNREFUSED": SocksCode.CONNECTION_REFUSED,
    "ENETUNREACH": SocksCode.NETWORK_UNREACHABLE,
    "EHOSTUNREACH": SocksCode.HOST_UNREACHABLE,
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


def refused(way: EgressWay, target: HostAndPort, reason: EgressReason) -> bytes:
    """What a client is told whose host is refused."""
    if way is EgressWay.SOCKS5:
        return reply(SocksCode.NOT_ALLOWED)
    if way is EgressWay.DIRECT:
        return b""
    why = _WHY.get(reason, "is refused")
    if reason in {EgressReason.HOST, EgressReason.PORT} and is_own_port(str(target.host)):
        why = "is not a port of this machine that this server may reach"
    return _response("403 Forbidden", f"{target} {why}.")


def failed(way: EgressWay, target: HostAndPort, error: str, advice: str = "") -> bytes:
    """What a client is told whose host is allowed and could not be reached."""
    if way is EgressWay.SOCKS5:
        code = SocksCode.HOST_UNREACHABLE if error.startswith("EAI_") else SocksCode.FAILED
        return reply(_SOCKS_FAILURES.get(error, code))
    if way is EgressWay.DIRECT:
        return b""
    status = "504 Gateway Timeout" if error.endswith("ETIMEDOUT") else "502 Bad Gateway"
    more = f" ({advice})" if advice else ""
    return _response(status, f"{target} is allowed, and could not be reached: {error}{more}.")
