"""What endpoints answer from: the guarded server, and what the transports of a listener share.

A transport of MCP over a network is a `Binding`: how it opens channels to servers, and answers
clients.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import aiohttp

from pipeguard.transports.backlog import Backlog
from pipeguard.transports.channel import AsyncChannel, RemoteChannel
from pipeguard.transports.http.client.upstream import Remote
from pipeguard.transports.http.server.conversations import Conversations
from pipeguard.transports.http.server.routes import Endpoint
from pipeguard.transports.http.server.sessions import Sessions
from pipeguard.transports.judging import Judge

Dial = Callable[[str], Awaitable[AsyncChannel]]  # given the name of the client's token


class Service(NamedTuple):
    """What every endpoint of a listener uses.

    Attributes:
        sessions: of the guarded server.
        judge: judges each message, and records the verdict.
        backlog: counts the bytes that peers make us keep.
    """

    sessions: Sessions
    judge: Judge
    backlog: Backlog


class Upstream(NamedTuple):
    """A guarded server at an address.

    Attributes:
        remote: the server.
        http: connections to it.
        transport: the name of the transport that it speaks.
    """

    remote: Remote
    http: aiohttp.ClientSession
    transport: str


class Backend(NamedTuple):
    """The guarded server behind a listener.

    Attributes:
        service: what every endpoint uses.
        dial: opens a channel to the server for the name of a token; raises ChannelClosed where
            that fails.
        conversations: over one connection each.
        most: sessions at once.
        idle_seconds: after which a session is ended.
        waits: False if all sessions share one process of the server, which then waits for nobody.
        upstream: where the server is; None where it is started here.
    """

    service: Service
    dial: Dial
    conversations: Conversations
    most: int
    idle_seconds: float
    waits: bool = True
    upstream: Upstream | None = None


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
