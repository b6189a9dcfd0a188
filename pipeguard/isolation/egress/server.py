"""The event loop of one sandbox's way out: accepts, keeps within its limits, and ends what is old.

Imported at the first connection: a server that never connects pays nothing for it.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from functools import partial
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from pipeguard.isolation.egress.dns_server import DnsDatagrams, DnsResponder, DnsStream
from pipeguard.isolation.egress.handshake import EgressRequest
from pipeguard.isolation.egress.hosts import LOOPBACK, HostAndPort, is_localhost
from pipeguard.isolation.egress.judge import EgressOutcome, EgressReason, EgressRecord, EgressWay
from pipeguard.isolation.egress.outer_proxy import OuterProxies
from pipeguard.isolation.egress.refused_connections import RefusedReader
from pipeguard.isolation.egress.routing import NameLookups, resolve_by_system
from pipeguard.isolation.egress.session import EgressSession
from pipeguard.isolation.egress.sockets import BACKLOG
from pipeguard.isolation.egress.state import OncePerMinute, ReadBuffer

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeguard.isolation.egress.hosts import Host, HostRules
    from pipeguard.isolation.egress.refused_connections import RefusedConnections
    from pipeguard.isolation.egress.sockets import EgressSockets
    from pipeguard.isolation.egress.state import EgressState

CHECK_SECONDS = 1.0
CLOSE_STEPS, STEP_SECONDS = 1000, 0.001


class _EgressServer:
    """All connections of one sandbox.

    Args:
        loop: runs them.
        state: the rules as they are now, the limits, and who is told.
    """

    _refused: RefusedReader

    def __init__(self, loop: asyncio.AbstractEventLoop, state: EgressState) -> None:
        self.loop = loop
        self.now: Callable[[], float] = loop.time
        most = _most_connections(state.limits.connections)
        self.limits = state.limits._replace(connections=most)
        self.report = state.report
        self.buffer = ReadBuffer()
        self.proxies = state.proxies() if state.proxies is not None else OuterProxies()
        self._state = state
        self._lookups = NameLookups(loop, state.resolve or resolve_by_system)
        self._sessions: set[EgressSession] = set()
        self._servers: list[asyncio.AbstractServer] = []
        self._responder = DnsResponder(state, state.names, self.now)
        self._full = OncePerMinute()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def rules(self) -> HostRules:
        """The rules as they are now."""
        return self._state.rules

    async def open(self, sockets: EgressSockets, refused: RefusedConnections) -> None:
        """Accept on all sockets, and report what the kernel refuses."""
        responder = self._responder
        self._refused = RefusedReader(self.loop, sockets.refused, refused)
        self._refused.begin()
        for sock in sockets.proxy:
            await self._accept(partial(EgressSession, self, is_direct=False), sock)
        for sock in sockets.direct:
            await self._accept(partial(EgressSession, self, is_direct=True), sock)
        for sock in sockets.dns:
            if sock.type == socket.SOCK_DGRAM:
                datagrams = partial(DnsDatagrams, responder)
                await self.loop.create_datagram_endpoint(datagrams, sock=sock)
            else:
                await self._accept(partial(DnsStream, responder, self.loop), sock)

    async def _accept(
        self, protocol: Callable[[], asyncio.BaseProtocol], sock: socket.socket
    ) -> None:
        server = await self.loop.create_server(protocol, sock=sock, backlog=BACKLOG)
        self._servers.append(server)

    def admit(self, session: EgressSession) -> bool:
        """Take a new connection, if there is room; one that finds none is told of once a minute."""
        if len(self._sessions) >= self.limits.connections:
            if self._full.is_due("", self.now()):
                outcome, reason = EgressOutcome.REFUSED, EgressReason.TOO_MANY
                self.report(EgressRecord(session.way, outcome, "", 0, reason=reason))
            return False
        self._sessions.add(session)
        self.buffer.share(len(self._sessions))
        if self._timer is None:
            self._timer = self.loop.call_later(CHECK_SECONDS, self._check)
        return True

    def forget(self, session: EgressSession) -> None:
        """Note that a connection is closed."""
        self._sessions.discard(session)
        self.buffer.share(len(self._sessions))

    def _check(self) -> None:
        now = self.now()
        for session in tuple(self._sessions):
            session.check(now)
        again = bool(self._sessions)
        self._timer = self.loop.call_later(CHECK_SECONDS, self._check) if again else None

    def request_by_address(self, sockname: tuple[str, int]) -> EgressRequest:
        """The target of a direct connection: the name that its address was given out for."""
        address = ip_address(sockname[0])
        if isinstance(address, IPv6Address):  # of a socket of both families
            address = address.ipv4_mapped or address
        host = self._state.names.find_host(address)
        return EgressRequest(EgressWay.DIRECT, HostAndPort(host, sockname[1]))

    async def resolve(self, target: HostAndPort) -> list[str]:
        """All addresses of a target, whether they may be connected to or not.

        Raises:
            OSError: its name cannot be resolved.
        """
        host = target.host
        return _literal(host) or await self._lookups.resolve_name(str(host))

    async def resolve_if_known(self, target: HostAndPort) -> list[str]:
        """The target, or None where its name is not known here, or not soon.

        Raises:
            OSError: too many names are being resolved.
        """
        host = target.host
        return _literal(host) or await self._lookups.addresses_if_known(str(host))

    async def close(self) -> None:
        """End everything, and wait until all of it is told."""
        for server in self._servers:
            server.close()
        if self._timer is not None:
            self._timer.cancel()
        for session in tuple(self._sessions):
            session.close()
        self._responder.close()
        self._refused.close()
        for _ in range(CLOSE_STEPS):
            if not (self._sessions or self._responder.is_open):
                break
            await asyncio.sleep(STEP_SECONDS)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        if tasks:  # connections that were given up while they were made
            await asyncio.wait(tasks, timeout=CLOSE_STEPS * STEP_SECONDS)
        await asyncio.sleep(STEP_SECONDS)  # for the handles of what is closed


def _literal(host: Host) -> list[str]:
    """The addresses of what needs no resolver."""
    if not isinstance(host, str):
        return [str(host)]
    return [str(address) for address in LOOPBACK] if is_localhost(host) else []


def _most_connections(wanted: int) -> int:
    """The number that was wanted, or that half the descriptors of this process suffice for."""
    if sys.platform == "win32":
        return wanted
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, soft // 4))  # two for each


def serve(
    sockets: EgressSockets, refused: RefusedConnections, state: EgressState, wake: socket.socket
) -> None:
    """Accept until the state says that it is closed.

    Args:
        sockets: of the sandbox.
        refused: reads those of them that hear of what the kernel refused.
        state: shared with the threads that change it.
        wake: readable when it is closed.
    """
    loop = _new_loop()
    loop.set_exception_handler(_report_error)
    try:
        server = _EgressServer(loop, state)
        loop.run_until_complete(server.open(sockets, refused))
        loop.add_reader(wake, partial(_end, loop, wake))
        if not state.is_closed:
            loop.run_forever()
        loop.remove_reader(wake)
        loop.run_until_complete(server.close())
    finally:
        loop.close()


def _report_error(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """Show what is a mistake of ours; that a peer is gone is not."""
    if not isinstance(context.get("exception"), OSError):
        loop.default_exception_handler(context)


def _end(loop: asyncio.AbstractEventLoop, wake: socket.socket) -> None:
    wake.recv(4096)  # once: a loop that is told twice would stop again while it closes
    loop.stop()


def _new_loop() -> asyncio.AbstractEventLoop:
    if sys.platform == "win32":
        return asyncio.SelectorEventLoop()  # add_reader
    import uvloop

    return uvloop.new_event_loop()
