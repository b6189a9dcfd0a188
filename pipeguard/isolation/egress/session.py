"""One connection from a sandbox: read what it asks for, judge, connect, join, report."""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol, cast

from pipeguard.isolation.egress import handshake
from pipeguard.isolation.egress.handshake import EgressRequest, HandshakeError, ProxyHandshake
from pipeguard.isolation.egress.judge import (
    EgressOutcome,
    EgressReason,
    EgressRecord,
    EgressWay,
    find_refusal,
)
from pipeguard.isolation.egress.routing import (
    HostRoute,
    RouteOwner,
    RouteRefusedError,
    advise,
    error_name,
    open_route,
)
from pipeguard.isolation.egress.tunnel import RequestEnd, TunnelEnd, reset

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeguard.isolation.egress.judge import Report
    from pipeguard.isolation.egress.state import EgressLimits

LINGER_SECONDS = 2.0  # for a client to read why it was refused
MORE_SECONDS = 10.0  # without a byte, for a client that sent a second request


class _State(Enum):
    READING = auto()
    CONNECTING = auto()
    JOINED = auto()
    ENDING = auto()


class _SessionOwner(RouteOwner, Protocol):
    """The part of a sandbox that a session knows."""

    limits: EgressLimits
    now: Callable[[], float]
    report: Report

    def admit(self, session: EgressSession) -> bool:
        """True if there is room for a session."""

    def forget(self, session: EgressSession) -> None:
        """Know that a session has ended."""

    def request_by_address(self, sockname: tuple[str, int]) -> EgressRequest:
        """The target of a direct connection, by the address that it was made to."""


class EgressSession(asyncio.BufferedProtocol):
    """A connection that was accepted, until it is joined to one to the host, and its end.

    Args:
        server: the rules, limits and the open sessions.
        is_direct: whether the address that the client connected to says what it asks for.
    """

    _transport: asyncio.Transport
    _request: EgressRequest
    _client: TunnelEnd
    _host: TunnelEnd
    _route: HostRoute

    def __init__(self, server: _SessionOwner, *, is_direct: bool) -> None:
        self._server = server
        self._state = _State.READING
        self._handshake = None if is_direct else ProxyHandshake()
        self._task: asyncio.Task[None] | None = None
        self._started = server.now()
        self._deadline = self._started + server.limits.head_seconds
        self._early, self._has_ended = b"", False
        self._moved_bytes, self._moved_at = 0, self._started
        self._end: tuple[EgressOutcome, EgressReason | None, str] | None = None

    @property
    def way(self) -> EgressWay:
        """The protocol of the client, as far as that is known."""
        return EgressWay.DIRECT if self._handshake is None else self._handshake.way

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, if there is room."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by class
        if not self._server.admit(self):
            self._state = _State.ENDING
            reset(self._transport)
        elif self._handshake is None:
            request = self._server.request_by_address(transport.get_extra_info("sockname"))
            self._begin(request)

    def get_buffer(self, sizehint: int) -> memoryview:
        """The buffer to read into."""
        del sizehint
        return self._server.buffer.part

    def buffer_updated(self, nbytes: int) -> None:
        """Read what is asked for; what comes behind it waits, and what follows in the kernel."""
        data = self._server.buffer.contents(nbytes)
        if self._handshake is None:
            if self._state is _State.CONNECTING:
                self._early += data
                self._transport.pause_reading()
            return
        try:
            response, request = self._handshake.feed(data)
        except HandshakeError as error:
            self._handshake = None
            self._server.report(
                EgressRecord(error.way, EgressOutcome.REFUSED, "", 0, reason=error.reason)
            )
            self._say_and_close(error.response)
            return
        if response:
            self._transport.write(response)
        if request is not None:
            self._begin(request)

    def eof_received(self) -> bool:
        """A client that sends no more may still wait for an answer, once it has asked."""
        self._has_ended = True
        return self._state is _State.CONNECTING

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone before it was joined."""
        del exc
        if self._task is not None:
            self._task.cancel()
        self._server.forget(self)
        if self._state is _State.CONNECTING:
            self._state = _State.ENDING
            self._report(EgressOutcome.FAILED, None, "ECONNABORTED")

    def _begin(self, request: EgressRequest) -> None:
        self._handshake = None
        self._request, self._early = request, request.early
        reason = find_refusal(self._server.rules, request.target)
        if reason is not None:
            self._refuse(reason)
            return
        self._state = _State.CONNECTING
        self._deadline = self._server.now() + self._server.limits.connect_seconds
        self._task = self._server.loop.create_task(self._connect())

    async def _connect(self) -> None:
        server, target = self._server, self._request.target
        try:
            route = await open_route(server, target)
        except RouteRefusedError as error:
            self._refuse(EgressReason.ADDRESS, error.address)
        except OSError as error:
            self._fail(error_name(error))
        else:
            if route.host.transport.is_closing():
                self._fail("ECONNRESET")
            else:
                self._join(route)

    def _join(self, route: HostRoute) -> None:
        request, self._task = self._request, None
        host = route.host
        if self._transport.is_closing():
            host.abort()
            return
        self._route, self._host = route, host
        buffer, body = self._server.buffer, request.body
        client = TunnelEnd(buffer) if body is None else RequestEnd(buffer, body, self._break)
        self._client = client
        self._state = _State.JOINED
        self._moved_at = self._server.now()
        client.adopt(self._transport, self._early, has_ended=self._has_ended)
        client.join(host, self._finish)
        host.join(client, self._finish)
        if request.to_client:
            self._transport.write(request.to_client)
        if request.to_host:
            client.received += len(request.to_host)
            host.transport.write(request.to_host)
        client.begin()
        host.begin()

    def _break(self) -> None:
        self._end_joined(EgressOutcome.REFUSED, EgressReason.MALFORMED)

    def _finish(self) -> None:
        """Both connections are closed."""
        outcome, reason, error = self._end or (EgressOutcome.ALLOWED, None, "")
        self._server.forget(self)
        self._report(outcome, reason, error)

    def _end_joined(self, outcome: EgressOutcome, reason: EgressReason | None) -> None:
        if self._end is None:
            self._end = outcome, reason, ""
            self._client.abort()
            self._host.abort()

    def _refuse(self, reason: EgressReason, address: str = "") -> None:
        request = self._request
        self._report(EgressOutcome.REFUSED, reason, address=address)
        self._say_and_close(handshake.refusal_reply(request.way, request.target, reason))

    def _fail(self, error: str) -> None:
        request = self._request
        advice = advise(error, self._server.proxies)
        self._report(EgressOutcome.FAILED, None, error, advice=advice)
        self._say_and_close(handshake.failure_reply(request.way, request.target, error, advice))

    def _say_and_close(self, response: bytes) -> None:
        """Close; after a response the client has some time to read it and to close itself."""
        self._state = _State.ENDING
        if not response:
            reset(self._transport)
        elif not self._transport.is_closing():
            self._deadline = self._server.now() + LINGER_SECONDS
            self._transport.write(response)
            self._transport.write_eof()
            self._transport.resume_reading()

    def _report(
        self,
        outcome: EgressOutcome,
        reason: EgressReason | None,
        error: str = "",
        address: str = "",
        advice: str = "",
    ) -> None:
        request, is_joined = self._request, self._state is _State.JOINED
        record = EgressRecord(
            request.way,
            outcome,
            str(request.target.host),
            request.target.port,
            address=self._route.address if is_joined else address,
            reason=reason,
            error=error,
            advice=advice,
            proxy=self._route.proxy if is_joined else "",
            bytes_sent=self._client.received if is_joined else 0,
            bytes_received=self._host.received if is_joined else 0,
            seconds=self._server.now() - self._started,
        )
        self._server.report(record)

    def check(self, now: float) -> None:
        """End what took too long; called about once a second."""
        if self._state is _State.JOINED:
            self._check_idle(now)
        elif now < self._deadline:
            return
        elif self._state is _State.ENDING:
            self._transport.abort()
        elif self._state is _State.CONNECTING and self._task is not None:
            self._task.cancel()
            self._fail("ETIMEDOUT")
        elif self._handshake is not None:
            self._give_up(self._handshake)

    def _give_up(self, handshake: ProxyHandshake) -> None:
        """The request did not come in time."""
        self._handshake = None
        if handshake.has_begun:
            outcome, reason = EgressOutcome.REFUSED, EgressReason.SLOW
            self._server.report(EgressRecord(handshake.way, outcome, "", 0, reason=reason))
        self._say_and_close(b"")

    def _check_idle(self, now: float) -> None:
        moved_bytes = self._client.received + self._host.received
        if moved_bytes != self._moved_bytes:
            self._moved_bytes, self._moved_at = moved_bytes, now
            return
        # Behind a whole request nothing is passed on, and not every host closes as it was asked to.
        has_more = isinstance(self._client, RequestEnd) and self._client.has_more
        if now - self._moved_at >= (MORE_SECONDS if has_more else self._server.limits.idle_seconds):
            self._end_joined(EgressOutcome.ALLOWED, None)

    def close(self) -> None:
        """End at once, whatever it is at."""
        if self._state is _State.JOINED:
            self._end_joined(EgressOutcome.ALLOWED, None)
        else:
            self._transport.abort()
