"""The addresses that a server may send us to, checked after their names are resolved.

A URL alone says little: `127.1`, `0x7f.1` and anybody's domain can lead to this machine. So the
resolved address is checked, and the connection goes to exactly that address.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from pipeguard.auth.server import SHOWN_CHARS
from pipeguard.core.checks.addresses import Reach, reach_of
from pipeguard.core.unicode.display import shown
from pipeguard.errors import AuthError

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_ADDRESSES = 4  # tried of one name
_PORTS = {"http": 80, "https": 443}
_NEAR = {Reach.PRIVATE, Reach.SHARED}
_NEVER = {Reach.METADATA, Reach.RESERVED}


class AllowedAddresses:
    """The addresses that one server may send us to: public ones, and those as near as its own.

    Args:
        server: the server's canonical URI.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._allowed: frozenset[Reach] | None = None

    async def resolve(self, url: str) -> list[str]:
        """The addresses of a URL's host; empty where a proxy is used for it.

        Raises:
            AuthError: it leads to a network that this server must not send us to.
            OSError: the name cannot be resolved.
        """
        proxy = proxy_of(url)
        if proxy and not _is_plain(url):
            return []  # the proxy resolves its name
        addresses = await _resolved(url)
        if self._allowed is None and _host_and_port(url) == _host_and_port(self._server):
            # The address in use counts: its name may resolve to another one in a moment.
            self._allowed = _as_near_as(map(reach_of, addresses))
        allowed = await self._allowed_reaches()
        for address in addresses:
            reach = reach_of(address)
            if reach not in allowed:
                raise AuthError(
                    f"{self._server} sends us to {shown(url, SHOWN_CHARS)!r}, which is not allowed:"
                    f"\n  it leads to {address} ({reach.value}), where a server on the public"
                    " network has no business."
                )
        return [] if proxy else addresses[:MAX_ADDRESSES]

    async def _allowed_reaches(self) -> frozenset[Reach]:
        if self._allowed is None:
            try:
                is_unknown = proxy_of(self._server) and not _is_plain(self._server)
                own = [] if is_unknown else await _resolved(self._server)
            except OSError:
                own = []
            self._allowed = _as_near_as({reach_of(address) for address in own})
        return self._allowed


def _as_near_as(own: Iterable[Reach]) -> frozenset[Reach]:
    """The networks allowed to a server on these; a public server gets the public one only."""
    reaches = frozenset(own)
    if not reaches or Reach.PUBLIC in reaches:
        return frozenset({Reach.PUBLIC})
    near = _NEAR if reaches & {*_NEAR, Reach.LOOPBACK} else set()
    return (frozenset({Reach.PUBLIC}) | near | reaches) - _NEVER


async def _resolved(url: str) -> list[str]:
    parts = urlsplit(url)
    port = parts.port or _PORTS.get(parts.scheme, 0)
    loop = asyncio.get_running_loop()
    try:
        answers = await loop.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except UnicodeError:  # a label that is empty or too long (RFC 1035, 2.3.4)
        raise OSError(f"{shown(parts.hostname or '', SHOWN_CHARS)} is not a host name") from None
    return list(dict.fromkeys(str(address[0]) for *_, address in answers))


def proxy_of(url: str) -> str:
    """The proxy that the user's environment names for a URL, or ""."""
    parts = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all") or ""
    if not proxy or proxy_bypass(parts.hostname or ""):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_plain(url: str) -> bool:
    """True for a host that needs no resolver: an address in any notation, or localhost."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, 6.3
        return True
    try:
        socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return False
    return True


def _host_and_port(url: str) -> tuple[str | None, int | None]:
    parts = urlsplit(url)
    return parts.hostname, parts.port or _PORTS.get(parts.scheme)
