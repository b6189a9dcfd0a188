"""A connection to a target that the rules allow: to one of its addresses, or through a proxy."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import cache, partial
from ipaddress import IPv4Address
from itertools import chain, zip_longest
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from pipeguard.isolation.egress.addresses import (
    all_addresses,
    is_metadata,
    is_usable,
    usable_addresses,
)
from pipeguard.isolation.egress.hosts import LOOPBACK, Address, Host, HostAndPort, is_localhost
from pipeguard.isolation.egress.judge import EgressReason
from pipeguard.isolation.egress.outer_proxy import HTTPS, OuterProxies, OuterProxy, OuterProxyError
from pipeguard.isolation.egress.outer_tunnel import (
    OuterTunnelEnd,
    OuterTunnelError,
    connect_request,
)
from pipeguard.isolation.egress.tunnel import TunnelEnd

if TYPE_CHECKING:
    import ssl

    from pipeguard.isolation.egress.state import EgressState, ReadBuffer


DELAY_SECONDS = 0.25  # RFC 8305, 5

End = TypeVar("End", bound=TunnelEnd)
Dial = Callable[["Address"], Awaitable[End]]


async def connect_first(addresses: Sequence[Address], dial: Dial[End]) -> tuple[Address, End]:
    """Connect to one of some addresses; try the next if one is slow or fails.

    Args:
        addresses: at least one; they take turns by family.
        dial: connects to one.

    Raises:
        OSError: no address can be connected to; the last one's error.
    """
    waiting = _by_turns(addresses)
    begun: dict[asyncio.Future[End], Address] = {}  # and not failed
    error: BaseException = OSError()
    try:
        while waiting or begun:
            if waiting:
                address = waiting.pop(0)
                begun[asyncio.ensure_future(dial(address))] = address
            seconds = DELAY_SECONDS if waiting else None
            done, _ = await asyncio.wait(
                begun, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            winner = next((task for task in done if task.exception() is None), None)
            if winner:
                return begun.pop(winner), winner.result()
            for task in done:
                del begun[task]
                error = task.exception() or error
        raise error
    finally:
        for task in begun:
            task.add_done_callback(_drop)
            task.cancel()


def _drop(task: asyncio.Future[End]) -> None:
    """Close a late connection."""
    if not task.cancelled() and task.exception() is None:
        task.result().abort()


def _by_turns(addresses: Sequence[Address]) -> list[Address]:
    """The addresses with alternating families, beginning with that of the first."""
    is_v4 = isinstance(addresses[0], IPv4Address)
    first = [address for address in addresses if isinstance(address, IPv4Address) is is_v4]
    other = [address for address in addresses if isinstance(address, IPv4Address) is not is_v4]
    turns = chain.from_iterable(zip_longest(first, other))
    return [address for address in turns if address]


class RouteRefusedError(Exception):
    """An allowed target leads to a forbidden address.

    Attributes:
        address: the forbidden one; empty if only a name is known.
    """

    def __init__(self, address: str) -> None:
        super().__init__(EgressReason.ADDRESS.value)
        self.address = address


class HostRoute(NamedTuple):
    """A connection to a target.

    Attributes:
        host: its end here.
        address: the connected one; empty if a proxy chose it.
        proxy: the host and port of the proxy; empty without one.
    """

    host: TunnelEnd
    address: str
    proxy: str = ""


class HostRouter:
    """Connects one sandbox to targets.

    Args:
        loop: runs the connections.
        state: the current rules, and the proxies.
        buffer: the connections' read buffer.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, state: EgressState, buffer: ReadBuffer
    ) -> None:
        self._loop = loop
        self._state = state
        self._buffer = buffer
        self._proxies = state.proxies or OuterProxies()
        self._lookups = NameLookups(loop, state)

    async def open_route(self, target: HostAndPort) -> HostRoute:
        """Connect to a target.

        Raises:
            RouteRefusedError: its addresses are not to be connected to.
            OSError: it cannot be reached.
        """
        try:
            proxy = self._proxies.of(target)
        except OuterProxyError as error:
            raise OuterTunnelError("UNSUPPORTED", str(error)) from None
        if proxy:
            return await self._tunnel(target, proxy)
        resolved = await self._lookups.resolve(target.host)
        rules = self._state.rules
        addresses = usable_addresses(resolved, target.port, rules, target.host)
        if not addresses:
            raise RouteRefusedError(next(map(str, all_addresses(resolved)), ""))

        async def dial(address: Address) -> TunnelEnd:
            make = partial(TunnelEnd, self._buffer)
            return (await self._loop.create_connection(make, str(address), target.port))[1]

        address, host = await connect_first(addresses, dial)
        return HostRoute(host, str(address))

    async def _tunnel(self, target: HostAndPort, proxy: OuterProxy) -> HostRoute:
        """Connect through a proxy, which gets the name and resolves it."""
        await self._screen_addresses(target)
        at = proxy.at
        is_secured = proxy.kind == HTTPS
        request = connect_request(target, proxy)

        async def dial(address: Address) -> OuterTunnelEnd:
            connecting = self._loop.create_connection(
                partial(OuterTunnelEnd, self._buffer, self._loop, request),
                str(address),
                at.port,
                ssl=_trusted_authorities() if is_secured else None,
                server_hostname=str(at.host) if is_secured else None,
            )
            return (await connecting)[1]

        try:
            addresses = all_addresses(await self._lookups.resolve(at.host))
            if not addresses:
                raise socket.gaierror(socket.EAI_NONAME, "no address")
            _, host = await connect_first(addresses, dial)
            await host.open()
        except OuterTunnelError:
            raise
        except OSError as error:
            raise OuterTunnelError(describe_error(error)) from None
        return HostRoute(host, "", str(at))

    async def _screen_addresses(self, target: HostAndPort) -> None:
        """Check the addresses of a target, if its name is known here.

        Raises:
            RouteRefusedError: one of them, or the name, is not to be connected to.
            OSError: too much is being resolved.
        """
        host = target.host
        if isinstance(host, str) and is_metadata(host):
            raise RouteRefusedError("")
        for address in all_addresses(await self._lookups.resolve_if_known(host)):
            if not is_usable(address, target.port, self._state.rules, host):
                raise RouteRefusedError(str(address))


@cache
def _trusted_authorities() -> ssl.SSLContext:
    """The authorities that may certify a proxy: those of this system."""
    import ssl

    return ssl.create_default_context()


# --- lookups ----------------------------------------------------------------------------
# Names resolved by the system's resolver, in threads that do not delay the end.

AddressTexts = list[str]
KNOWN_SECONDS = 1.0  # for a name to resolve here if a proxy resolves it anyway
UNKNOWN_SECONDS = 30.0  # until it is asked for again
CACHE_SECONDS = 5.0  # for many connections to one host, each address is judged again
MAX_CACHED = 256
MAX_THREADS = 32  # at once; a name beyond them fails
_EAI_NAMES = {getattr(socket, name): name for name in dir(socket) if name.startswith("EAI_")}


def _resolve_by_system(name: str) -> AddressTexts:
    """The addresses of a name, in the system's order.

    Raises:
        OSError: it has none.
    """
    answers = socket.getaddrinfo(name.encode("ascii"), None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in answers))


def describe_error(error: OSError) -> str:
    """The name of an error's number, as `ECONNREFUSED` or `EAI_NONAME`; for a proxy, the reason."""
    if isinstance(error, OuterTunnelError):
        return str(error)
    if isinstance(error, socket.gaierror):
        return _EAI_NAMES.get(error.errno, "EAI_FAIL")
    if type(error).__module__ == "ssl":  # which need not have been imported
        return "TLS"
    if isinstance(error, TimeoutError) and error.errno is None:
        return "ETIMEDOUT"
    return errno.errorcode.get(error.errno or 0, "EIO")


class NameLookups:
    """Addresses by name, each resolved once at a time and remembered for seconds.

    Args:
        loop: needs the answers.
        state: has the resolver.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, state: EgressState) -> None:
        self._loop = loop
        self._resolve = state.resolve or _resolve_by_system
        self._cached: dict[str, tuple[float, AddressTexts]] = {}
        self._pending: dict[str, asyncio.Future[AddressTexts]] = {}
        self._unknown: dict[str, float] = {}  # until when

    async def resolve_if_known(self, host: Host) -> AddressTexts:
        """The addresses of a host; empty if its name has none here, or resolving takes too long.

        Raises:
            OSError: too many names are being resolved.
        """
        name = str(host)
        if name not in self._cached and self._unknown.get(name, 0.0) > self._loop.time():
            return []
        try:
            return await asyncio.wait_for(self.resolve(host), KNOWN_SECONDS)
        except (TimeoutError, socket.gaierror):
            if len(self._unknown) >= MAX_CACHED:
                self._unknown.clear()
            self._unknown[name] = self._loop.time() + UNKNOWN_SECONDS
            return []

    async def resolve(self, host: Host) -> AddressTexts:
        """All addresses of a host, even forbidden ones.

        Raises:
            OSError: it has none, or too many names are being resolved.
        """
        if not isinstance(host, str):
            return [str(host)]
        if is_localhost(host):
            return [str(address) for address in LOOPBACK]
        until, addresses = self._cached.get(host, (0.0, []))
        if until > self._loop.time():
            return addresses
        pending = self._pending.get(host)
        if pending is None:
            if len(self._pending) >= MAX_THREADS:
                raise OSError(errno.EAGAIN, "too many names are being resolved")
            pending = self._pending[host] = self._loop.create_future()
            Thread(target=self._ask, args=(host,), name="egress-resolve", daemon=True).start()
        return await asyncio.shield(pending)

    def _ask(self, name: str) -> None:
        """Resolve in a thread, and pass the answer to the loop."""
        answer: AddressTexts | OSError
        try:
            answer = list(self._resolve(name))
        except OSError as error:
            answer = error
        except UnicodeError:  # of a resolver that encodes names by another standard
            answer = socket.gaierror(socket.EAI_NONAME, "not a name")
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._take, name, answer)

    def _take(self, name: str, answer: AddressTexts | OSError) -> None:
        pending = self._pending.pop(name)
        if isinstance(answer, OSError):
            pending.set_exception(answer)
            pending.exception()  # its requester may be gone
            return
        if len(self._cached) >= MAX_CACHED:
            self._cached.clear()
        self._cached[name] = self._loop.time() + CACHE_SECONDS, answer
        pending.set_result(answer)
