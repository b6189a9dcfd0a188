"""A tunnel through a SOCKS5 proxy of the user's own network (RFC 1928, RFC 1929). No I/O."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from pipeguard.isolation.egress.outer_tunnel import OuterTunnelError
from pipeguard.isolation.egress.socks import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeguard.isolation.egress.hosts import Host, HostAndPort
    from pipeguard.isolation.egress.outer_proxy import OuterProxy

_CONNECT = 1
_NO_LOGIN, _LOGIN, _NO_METHOD = 0, 2, 0xFF
_LOGIN_VERSION = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
_LENGTHS = {_IPV4: 4, _IPV6: 16}
_HEAD_BYTES, _PORT_BYTES = 4, 2
# What a reply says, as the status of an HTTP proxy that says the same.
_ERRORS = {1: "PROXY_502", 2: "PROXY_403", 3: "PROXY_502", 4: "PROXY_502", 5: "PROXY_502"}


class SocksTunnel:
    """Asks one proxy for a tunnel to one target.

    Args:
        target: by its name, which the proxy resolves, or by an address.
        proxy: with its login.
    """

    def __init__(self, target: HostAndPort, proxy: OuterProxy) -> None:
        self._request = bytes((VERSION, _CONNECT, 0)) + _encoded(target.host)
        self._request += target.port.to_bytes(_PORT_BYTES, "big")
        self._login = proxy.login
        self._data = b""
        self._take: Callable[[], tuple[bytes, bytes | None] | None] = self._take_method

    @property
    def first(self) -> bytes:
        """What the proxy is sent first."""
        methods = (_NO_LOGIN, _LOGIN) if self._login else (_NO_LOGIN,)
        return bytes((VERSION, len(methods), *methods))

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """What to send next, and what came behind the last answer once the tunnel is there.

        Raises:
            OuterTunnelError: it does not open it, or cannot be read.
        """
        self._data += data
        sent = b""
        while (taken := self._take()) is not None:
            more, rest = taken
            sent += more
            if rest is not None:
                return sent, rest
        return sent, None

    def _take_method(self) -> tuple[bytes, None] | None:
        if len(self._data) < 2:
            return None
        version, method = self._data[:2]
        self._data = self._data[2:]
        if version != VERSION or method not in {_NO_LOGIN, _LOGIN, _NO_METHOD}:
            raise OuterTunnelError("PROXY_MALFORMED")
        if method == _NO_LOGIN:
            self._take = self._take_reply
            return self._request, None
        if method == _NO_METHOD or not self._login:
            raise OuterTunnelError("PROXY_407")
        self._take = self._take_login
        user, password = self._login
        login = bytes((_LOGIN_VERSION, len(user))) + user + bytes((len(password),)) + password
        return login, None

    def _take_login(self) -> tuple[bytes, None] | None:
        if len(self._data) < 2:
            return None
        status = self._data[1]
        self._data = self._data[2:]
        if status:
            raise OuterTunnelError("PROXY_407")
        self._take = self._take_reply
        return self._request, None

    def _take_reply(self) -> tuple[bytes, bytes] | None:
        if len(self._data) <= _HEAD_BYTES:
            return None
        version, reply, _, kind, length = self._data[: _HEAD_BYTES + 1]
        if version != VERSION or kind not in {_IPV4, _NAME, _IPV6}:
            raise OuterTunnelError("PROXY_MALFORMED")
        if reply:
            raise OuterTunnelError(_ERRORS.get(reply, "PROXY_MALFORMED"))
        size = _HEAD_BYTES + _LENGTHS.get(kind, 1 + length) + _PORT_BYTES
        return (b"", self._data[size:]) if len(self._data) >= size else None


def _encoded(host: Host) -> bytes:
    """A host as a request has it (RFC 1928, 5)."""
    if isinstance(host, (IPv4Address, IPv6Address)):
        return bytes((_IPV4 if host.version == 4 else _IPV6,)) + host.packed
    name = host.encode("ascii")  # at most 253 bytes (`hosts`)
    return bytes((_NAME, len(name))) + name
