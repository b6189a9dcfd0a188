"""One transport of MCP over a network: how it opens channels to servers, and answers clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import aiohttp

from pipeguard.transports.channel import RemoteChannel
from pipeguard.transports.http.client.upstream import Remote
from pipeguard.transports.http.server.backend import Backend
from pipeguard.transports.http.server.routes import Endpoint


class TransportBinding(NamedTuple):
    """One transport over HTTP; each module of `transports.http.bindings` has its own.

    Attributes:
        help: one line for people.
        schemes: of the addresses of servers that speak it.
        open_channel: opens a channel to a server; nothing is sent before its first frame.
        make_endpoint: makes what answers clients that speak it; None where there are none.
    """

    help: str
    schemes: tuple[str, ...]
    open_channel: Callable[[Remote, aiohttp.ClientSession], RemoteChannel]
    make_endpoint: Callable[[Backend], Endpoint] | None = None
