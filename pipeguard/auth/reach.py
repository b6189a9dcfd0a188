"""Where a name leads: which addresses a server may have us ask, judged once they are resolved.

A URL tells little: `127.1`, `0x7f.1` and a name of anybody's lead to this machine as well. So what
is judged is the address that is connected to, and what is connected to is what was judged.
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

MAX_ADDRESSES = 4  # of one name, that are tried
_PORTS = {"http": 80, "https": 443}
_NEAR = {Reach.PRIVATE, Reach.SHARED}
_NEVER = {Reach.METADATA, Reach.RESERVED}


class Nearby:
    """What one server may have us ask: what is public, and else what is as near as itself.

    Args:
        server: its canonical URI.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._may: frozenset[Reach] | None = None

    async def addresses(self, url: str) -> list[str]:
        """The addresses behind a URL; none where a proxy is asked for it.

        Raises:
            AuthError: it leads to where this server must not send us.
            OSError: its name is not known.
        """
        proxy = proxy_of(url)
        if proxy and not _is_plain(url):
            return []  # the proxy resolves its name
        found = await _resolved(url)
        if self._may is None and _place(url) == _place(self._server):
            # What it is asked at counts: its name may stand for something else in a moment.
            self._may = _as_near_as(map(reach_of, found))
        may = await self._reaches()
        for address in found:
            reach = reach_of(address)
            if reach not in may:
                raise AuthError(
                    f"{self._server} sends us to {shown(url, SHOWN_CHARS)!r}, which is not asked:\n"
                    f"  it leads to {address} ({reach.value}), where a server on the public"
                    " network has no business."
                )
        return [] if proxy else found[:MAX_ADDRESSES]

    async def _reaches(self) -> frozenset[Reach]:
        if self._may is None:
            try:
                is_unknown = proxy_of(self._server) and not _is_plain(self._server)
                own = [] if is_unknown else await _resolved(self._server)
            except OSError:
                own = []
            self._may = _as_near_as({reach_of(address) for address in own})
        return self._may


def _as_near_as(own: Iterable[Reach]) -> frozenset[Reach]:
    """Of a server with an address on the public network, that network only."""
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
        found = await loop.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except UnicodeError:  # a label that is empty or too long (RFC 1035, 2.3.4)
        raise OSError(f"{shown(parts.hostname or '', SHOWN_CHARS)} is no name") from None
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def proxy_of(url: str) -> str:
    """The proxy that this user's environment names for a URL, or ""."""
    parts = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all") or ""
    if not proxy or proxy_bypass(parts.hostname or ""):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_plain(url: str) -> bool:
    """True where a host needs no resolver: an address in any spelling, or this machine's name."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, 6.3
        return True
    try:
        socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return False
    return True


def _place(url: str) -> tuple[str | None, int | None]:
    parts = urlsplit(url)
    return parts.hostname, parts.port or _PORTS.get(parts.scheme)
