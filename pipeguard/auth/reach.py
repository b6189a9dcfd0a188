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
from pipeguard.core.addresses import Reach, reach_of
from pipeguard.core.visible import shown
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
        """The addresses behind a URL; none where a proxy resolves its name.

        Raises:
            AuthError: it leads to where this server must not send us.
            OSError: its name is not known.
        """
        if _has_proxy(url):
            return []
        found = await _resolved(url)
        may = await self._reaches()
        for address in found:
            reach = reach_of(address)
            if reach not in may:
                raise AuthError(
                    f"{self._server} sends us to {shown(url, SHOWN_CHARS)!r}, which is not asked:\n"
                    f"  it leads to {address} ({reach.value}), where a server on the public"
                    " network has no business."
                )
        return found[:MAX_ADDRESSES]

    async def _reaches(self) -> frozenset[Reach]:
        if self._may is None:
            try:
                own = [] if _has_proxy(self._server) else await _resolved(self._server)
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


def _has_proxy(url: str) -> bool:
    parts = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return bool(proxy) and not proxy_bypass(parts.hostname or "")
