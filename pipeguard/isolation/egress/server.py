"""The connections of one sandbox: accepted, kept within its limits, judged, joined and reported.

Imported at the first connection: a server that never connects pays nothing for it.
"""

from __future__ import annotations

import asyncio
import resource
import socket
from contextlib import suppress
from enum import Enum, auto
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import cast

import uvloop

from pipeguard.isolation.egress import dns, handshake, refused_connections, routing, tunnel
from pipeguard.isolation.egress.handshake import ProxyHandshake
from pipeguard.isolation.egress.hosts import HostAndPort, HostError, is_localhost, parse_host
from pipeguard.isolation.egress.http_head import BodyError, EgressRequest, EgressRequestError
from pipeguard.isolation.egress.judge import EgressReason, EgressRecord, EgressWay, find_refusal
from pipeguard.isolation.egress.sockets import BACKLOG, EgressSockets
from pipeguard.isolation.egress.state import EgressState, ReadBuffer

LINGER_SECONDS = 2.0  # for a client to read why it was refused
MORE_SECONDS = 10.0  # without a byte, for a client that sent a second request
CHECK_SECONDS = 1.0
CLOSE_STEPS = 1000
STEP_SECONDS = 0.001
_LOCALHOST = IPv4Address("127.0.0.1")  # RFC 6761, 6.3


class _State(Enum):
    READING = auto()
    CONNECTING = auto()
    JOINED = auto()
    ENDING = auto()


class _EgressSession(tunnel.TunnelEnd):
    """A connection from the sandbox: reads its request, judges it, and connects to its target.

    Args:
        server: the rules, limits and open sessions.
        is_direct: True if the address that the client connected to names the target.
    """

    _request: EgressRequest
    _route: routing.HostRoute

    def __init__(self, server: _EgressServer, *, is_direct: bool) -> None:
        super().__init__(server.buffer)
        self._server = server
        self._state = _State.READING
        self._handshake = None if is_direct else ProxyHandshake()
        self._task: asyncio.Task[None] | None = None
        self._now = server.loop.time
        self._started = self._now()
        self._deadline = self._started + server.limits.head_seconds
        self._moved_bytes = 0
        self._moved_at = self._started
        self._has_more = False  # behind the request, which is not passed on
        self._end_reason: EgressReason | None = None

    @property
    def way(self) -> EgressWay:
        """The protocol of the client, as far as it is known."""
        return EgressWay.DIRECT if self._handshake is None else self._handshake.way

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, if there is room."""
        super().connection_made(transport)
        if not self._server.admit(self):
            self._state = _State.ENDING
            self.abort()
        elif self._handshake is None:
            self._begin(self._server.request_by_address(transport.get_extra_info("sockname")))

    def buffer_updated(self, nbytes: int) -> None:
        """Read the request; leave later bytes in the buffer and in the kernel."""
        if self._handshake is None:
            if self._state is not _State.ENDING:
                super().buffer_updated(nbytes)
            return
        try:
            response, request = self._handshake.feed(self._buffer.contents(nbytes))
        except EgressRequestError as error:
            self._end_unread(error.reason, error.response)
            return
        if response:
            self.transport.write(response)
        if request:
            self._begin(request)

    def take(self, data: bytes) -> None:
        """Send the request's bytes to the host; in a tunnel, all bytes."""
        body = self._request.body
        if body:
            try:
                length = body.take(data)
            except BodyError:
                self._end_reason = EgressReason.MALFORMED
                self._end_joined()
                return
            if length < len(data):
                self._has_more = True
                self.transport.pause_reading()
                data = data[:length]
        if data:
            super().take(data)

    def eof_received(self) -> bool:
        """Keep the connection half open if the client may still wait for an answer."""
        is_asking = self._state in {_State.CONNECTING, _State.JOINED}
        return is_asking and super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the session when the client is gone, usually with its host."""
        if self._state is _State.JOINED:
            super().connection_lost(exc)
            return
        if self._task:
            self._task.cancel()
        self._server.forget(self)
        if self._state is _State.CONNECTING:
            self._state = _State.ENDING
            self._report(error="ECONNABORTED")

    def _begin(self, request: EgressRequest) -> None:
        self._handshake = None
        self._request = request
        self._early = request.early
        reason = find_refusal(self._server.state.rules, request.target)
        if reason:
            self._refuse(reason)
            return
        self._state = _State.CONNECTING
        self._deadline = self._now() + self._server.limits.connect_seconds
        self._task = self._server.loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            route = await self._server.router.open_route(self._request.target)
        except routing.RouteRefusedError as error:
            self._refuse(EgressReason.ADDRESS, error.address)
        except OSError as error:
            self._fail(routing.describe_error(error))
        else:
            if route.host.transport.is_closing():
                self._fail("ECONNRESET")
            else:
                self._join(route)

    def _join(self, route: routing.HostRoute) -> None:
        request = self._request
        host = route.host
        self._task = None
        if self.transport.is_closing():
            host.abort()
            return
        self._route = route
        self._state = _State.JOINED
        self._moved_at = self._now()
        self.join(host, self._finish)
        host.join(self, self._finish)
        if request.to_client:
            self.transport.write(request.to_client)
        if request.to_host:
            self.received += len(request.to_host)
            host.transport.write(request.to_host)
        self.begin()
        host.begin()

    def _finish(self) -> None:
        """Report the session, once both connections are closed."""
        self._server.forget(self)
        self._report(self._end_reason)

    def _end_joined(self) -> None:
        self.abort()
        self._route.host.abort()

    def _refuse(self, reason: EgressReason, address: str = "") -> None:
        self._report(reason, address=address)
        self._say_and_close(handshake.refusal_reply(self._request, reason))

    def _fail(self, error: str) -> None:
        self._report(error=error)
        self._say_and_close(handshake.failure_reply(self._request, error))

    def _end_unread(self, reason: EgressReason, response: bytes = b"") -> None:
        """End a client whose request is unreadable or late."""
        self._server.report(EgressRecord(self.way, "", 0, reason=reason))
        self._handshake = None
        self._say_and_close(response)

    def _say_and_close(self, response: bytes) -> None:
        """Close; after a response the client has some time to read it and to close itself."""
        self._state = _State.ENDING
        if not response:
            self.abort()
        elif not self.transport.is_closing():
            self._deadline = self._now() + LINGER_SECONDS
            self.transport.write(response)
            self.transport.write_eof()
            self.transport.resume_reading()

    def _report(
        self, reason: EgressReason | None = None, *, error: str = "", address: str = ""
    ) -> None:
        way = self._request.way
        (host, port) = self._request.target
        record = EgressRecord(way, str(host), port, address, reason, error)
        record = record._replace(seconds=self._now() - self._started)
        if self._state is _State.JOINED:
            record = record._replace(
                address=self._route.address,
                proxy=self._route.proxy,
                bytes_sent=self.received,
                bytes_received=self._route.host.received,
            )
        self._server.report(record)

    def check(self, now: float) -> None:
        """End a session that took too long; called about once a second."""
        if self._state is _State.JOINED:
            self._check_idle(now)
        elif now < self._deadline:
            return
        elif self._state is _State.ENDING:
            self.transport.abort()
        elif self._state is _State.CONNECTING and self._task:
            self._task.cancel()
            self._fail("ETIMEDOUT")
        elif self._handshake:
            if self._handshake.has_begun:
                self._end_unread(EgressReason.SLOW)
            else:
                self._handshake = None
                self._say_and_close(b"")

    def _check_idle(self, now: float) -> None:
        moved_bytes = self.received + self._route.host.received
        if moved_bytes != self._moved_bytes:
            self._moved_bytes = moved_bytes
            self._moved_at = now
            return
        # After a whole request no bytes are forwarded, and not every host closes on request.
        seconds = MORE_SECONDS if self._has_more else self._server.limits.idle_seconds
        if now - self._moved_at >= seconds:
            self._end_joined()

    def close(self) -> None:
        """End at once, in any state."""
        if self._state is _State.JOINED:
            self._end_joined()
        else:
            self.transport.abort()


class _DnsResponder(asyncio.DatagramProtocol):
    """Answers a sandbox's questions for names; nothing of them goes any further.

    Args:
        state: the current rules, the names' addresses, and the receiver of reports on names without
            a rule.
    """

    _transport: asyncio.DatagramTransport

    def __init__(self, state: EgressState) -> None:
        self._state = state

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Provide a way to answer."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one message."""
        response = self._respond(data)
        if response:
            self._transport.sendto(response, addr)

    def close(self) -> None:
        """Stop answering."""
        self._transport.close()

    def _respond(self, message: bytes) -> bytes | None:
        try:
            question = dns.parse_question(message)
        except dns.DnsError as error:
            return error.response
        name = ""
        with suppress(HostError):
            host = parse_host(question.name)
            name = host if isinstance(host, str) else ""
        if not name or not (is_localhost(name) or self._state.rules.allowed_ports(name)):
            return self._refuse(question, name or question.name, EgressReason.HOST)
        if question.kind != dns.TYPE_A:
            return dns.answer(question, None)
        address = _LOCALHOST if is_localhost(name) else self._state.names.give_address(name)
        if address is None:
            return self._refuse(question, name, EgressReason.TOO_MANY)
        return dns.answer(question, address)

    def _refuse(self, question: dns.DnsQuestion, name: str, reason: EgressReason) -> bytes:
        host = name[: dns.MAX_NAME_BYTES].lower()
        self._state.report(EgressRecord(EgressWay.DNS, host, 0, reason=reason))
        return dns.answer(question, None, dns.ResponseCode.NO_SUCH_NAME)


class _EgressServer:
    """All connections of one sandbox.

    Args:
        loop: runs them.
        sockets: the sandbox's sockets.
        refused: reads the sockets that report the kernel's refusals.
        state: the current rules, the limits, and the receiver of reports.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sockets: EgressSockets,
        refused: refused_connections.RefusedConnections,
        state: EgressState,
    ) -> None:
        self.loop = loop
        self.limits = state.limits
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY:  # at most half of them: each connection has two
            most = max(1, min(state.limits.connections, soft // 4))
            self.limits = state.limits._replace(connections=most)
        self.report = state.report
        self.buffer = ReadBuffer()
        self.router = routing.HostRouter(loop, state, self.buffer)
        self._sockets = sockets
        self._refused = refused
        self.state = state
        self._sessions: set[_EgressSession] = set()
        self._accepting: list[asyncio.AbstractServer | asyncio.BaseTransport] = []
        self._timer: asyncio.TimerHandle | None = None
        self._rest: asyncio.TimerHandle | None = None  # of reading the kernel's refusals

    async def open(self) -> None:
        """Accept on all sockets, and report the kernel's refusals."""
        self._watch_refused()
        sockets = self._sockets
        for kind, is_direct in ((sockets.proxy, False), (sockets.direct, True)):
            make = partial(_EgressSession, self, is_direct=is_direct)
            for sock in kind:
                server = await self.loop.create_server(make, sock=sock, backlog=BACKLOG)
                self._accepting.append(server)
        for sock in sockets.dns:
            answering = partial(_DnsResponder, self.state)
            transport, _ = await self.loop.create_datagram_endpoint(answering, sock=sock)
            self._accepting.append(transport)

    def _watch_refused(self) -> None:
        for sock in self._sockets.refused:
            self.loop.add_reader(sock, self._report_refused)

    def _report_refused(self) -> None:
        seconds = self._refused.report()
        if seconds:
            self._ignore_refused()
            self._rest = self.loop.call_later(seconds, self._watch_refused)

    def _ignore_refused(self) -> None:
        for sock in self._sockets.refused:
            self.loop.remove_reader(sock)

    def admit(self, session: _EgressSession) -> bool:
        """Accept a new connection, if there is room."""
        if len(self._sessions) >= self.limits.connections:
            self.report(EgressRecord(session.way, "", 0, reason=EgressReason.TOO_MANY))
            return False
        self._sessions.add(session)
        self.buffer.share(len(self._sessions))
        if self._timer is None:
            self._timer = self.loop.call_later(CHECK_SECONDS, self._check)
        return True

    def forget(self, session: _EgressSession) -> None:
        """Note that a connection is closed."""
        self._sessions.discard(session)
        self.buffer.share(len(self._sessions))

    def _check(self) -> None:
        now = self.loop.time()
        for session in tuple(self._sessions):
            session.check(now)
        again = bool(self._sessions)
        self._timer = self.loop.call_later(CHECK_SECONDS, self._check) if again else None

    def request_by_address(self, sockname: tuple[str, int]) -> EgressRequest:
        """The target of a direct connection: the name to which its address was assigned."""
        address = ip_address(sockname[0])
        if isinstance(address, IPv6Address):  # of a socket of both families
            address = address.ipv4_mapped or address
        host = self.state.names.find_host(address)
        return EgressRequest(EgressWay.DIRECT, HostAndPort(host, sockname[1]))

    async def close(self) -> None:
        """End everything, and wait until all of it is reported."""
        self._ignore_refused()
        for each in self._accepting:
            each.close()
        for timer in filter(None, (self._timer, self._rest)):
            timer.cancel()
        for session in tuple(self._sessions):
            session.close()
        for _ in range(CLOSE_STEPS):
            if not self._sessions:
                break
            await asyncio.sleep(STEP_SECONDS)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        if tasks:  # connections that were given up while they were made
            await asyncio.wait(tasks, timeout=CLOSE_STEPS * STEP_SECONDS)
        await asyncio.sleep(STEP_SECONDS)  # for the handles of closed connections


def serve(
    sockets: EgressSockets,
    refused: refused_connections.RefusedConnections,
    state: EgressState,
    wake: socket.socket,
) -> None:
    """Accept until the state is closed.

    Args:
        sockets: the sandbox's sockets.
        refused: reads the sockets that report the kernel's refusals.
        state: shared with the threads that change it.
        wake: readable once the state is closed.
    """
    loop = uvloop.new_event_loop()
    loop.set_exception_handler(_report_error)
    try:
        server = _EgressServer(loop, sockets, refused, state)
        loop.run_until_complete(server.open())
        loop.add_reader(wake, partial(_stop, loop, wake))
        if not state.is_closed:
            loop.run_forever()
        loop.remove_reader(wake)
        loop.run_until_complete(server.close())
    finally:
        loop.close()


def _report_error(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """Report our own errors, but not a peer's disconnection."""
    if not isinstance(context.get("exception"), OSError):
        loop.default_exception_handler(context)


def _stop(loop: asyncio.AbstractEventLoop, wake: socket.socket) -> None:
    wake.recv(4096)  # once: a second signal would stop the loop again while it closes
    loop.stop()
