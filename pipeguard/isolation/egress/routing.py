"""A connection to a target that the rules allow: to an address of it, or through a proxy."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache, partial
from ipaddress import IPv4Address
from itertools import chain, zip_longest
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from pipeguard.isolation.egress.addresses import (
    all_addresses,
    is_metadata,
    is_usable,
    usable_addresses,
)
from pipeguard.isolation.egress.hosts import HostAndPort
from pipeguard.isolation.egress.judge import EgressReason
from pipeguard.isolation.egress.outer_proxy import HTTPS, OuterProxyError
from pipeguard.isolation.egress.outer_tunnel import (
    OuterTunnelEnd,
    OuterTunnelError,
    connect_request,
)
from pipeguard.isolation.egress.tunnel import TunnelEnd

if TYPE_CHECKING:
    import ssl

    from pipeguard.isolation.egress.hosts import Address, HostRules
    from pipeguard.isolation.egress.outer_proxy import OuterProxies, OuterProxy
    from pipeguard.isolation.egress.state import ReadBuffer


DELAY_SECONDS = 0.25  # RFC 8305, 5

End = TypeVar("End", bound=TunnelEnd)
Dial = Callable[["Address"], Awaitable[End]]


async def connect_first(addresses: Sequence[Address], dial: Dial[End]) -> tuple[Address, End]:
    """Connect to one of some addresses, the next being tried when one takes long or fails.

    Args:
        addresses: at least one; they take turns by family.
        dial: connects to one.

    Raises:
        OSError: none can be connected to; the last one's error.
    """
    tasks: dict[asyncio.Future[End], Address] = {}
    try:
        return await _first_connected(_by_turns(addresses), dial, tasks)
    finally:
        for task in tasks:
            task.add_done_callback(_drop)
            task.cancel()


async def _first_connected(
    waiting: list[Address], dial: Dial[End], tasks: dict[asyncio.Future[End], Address]
) -> tuple[Address, End]:
    """The first that connected; those under way are in `tasks`."""
    error: BaseException = OSError()
    pending: set[asyncio.Future[End]] = set()
    while waiting or pending:
        if waiting:
            begun = asyncio.ensure_future(dial(waiting[0]))
            tasks[begun] = waiting.pop(0)
            pending.add(begun)
        seconds = DELAY_SECONDS if waiting else None
        done, pending = await asyncio.wait(
            pending, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        for task in done:
            if (failure := task.exception()) is None:
                return tasks.pop(task), task.result()
            error = failure
    raise error


def _drop(task: asyncio.Future[End]) -> None:
    """Close a connection that came too late."""
    if not task.cancelled() and task.exception() is None:
        task.result().abort()


def _by_turns(addresses: Sequence[Address]) -> list[Address]:
    """The addresses by turns of their families, beginning with that of the first."""
    is_v4 = isinstance(addresses[0], IPv4Address)
    first = [address for address in addresses if isinstance(address, IPv4Address) is is_v4]
    other = [address for address in addresses if isinstance(address, IPv4Address) is not is_v4]
    turns = chain.from_iterable(zip_longest(first, other))
    return [address for address in turns if address is not None]


_LOGIN = "your network's proxy demands a login: write it as http://USER:PASSWORD@HOST:PORT"
_TLS = (
    "Your proxy does not speak TLS, or its certificate is not trusted. Set SSL_CERT_FILE to a file"
    " with its CA"
)
_ADVICE = {
    "PROXY_407": _LOGIN,
    "PROXY_TLS": _TLS,
    "PROXY_4": "your network's proxy refuses this host or port",
    "PROXY_5": "your network's proxy cannot reach it",
    "PROXY_MALFORMED": "the answer of your network's proxy cannot be read",
    "": "your network's proxy cannot be reached",
}


class RouteOwner(Protocol):
    """The inputs for finding a route."""

    loop: asyncio.AbstractEventLoop
    buffer: ReadBuffer
    proxies: OuterProxies

    @property
    def rules(self) -> HostRules:
        """The rules as they are now."""

    async def resolve(self, target: HostAndPort) -> list[str]:
        """All addresses of a target; raises OSError."""

    async def resolve_if_known(self, target: HostAndPort) -> list[str]:
        """The route as before, or None where its name is not known here."""


class RouteRefusedError(Exception):
    """A target that the rules allow leads to an address that they do not.

    Attributes:
        address: it; empty where only a name is known.
    """

    def __init__(self, address: str) -> None:
        super().__init__(EgressReason.ADDRESS.value)
        self.address = address


class HostRoute(NamedTuple):
    """A connection to a target.

    Attributes:
        host: its end here.
        address: that was connected to; empty if a proxy chose it.
        proxy: the host and port of the proxy; empty without one.
    """

    host: TunnelEnd
    address: str
    proxy: str = ""


def advise(error: str, proxies: OuterProxies) -> str:
    """Advice about a proxy that a target could not be reached through; may be empty."""
    if error == "PROXY_UNSUPPORTED":
        return proxies.wrong
    if not error.startswith("PROXY_"):
        return ""
    return _ADVICE.get(error) or _ADVICE.get(error[: len("PROXY_4")]) or _ADVICE[""]


async def open_route(owner: RouteOwner, target: HostAndPort) -> HostRoute:
    """Connect to a target.

    Raises:
        RouteRefusedError: its addresses are not to be connected to.
        OSError: it cannot be reached.
    """
    try:
        proxy = owner.proxies.of(target)
    except OuterProxyError:
        raise OuterTunnelError("PROXY_UNSUPPORTED") from None
    if proxy is not None:
        return await _through(owner, target, proxy)
    addresses = await _usable(owner, target)

    async def dial(address: Address) -> TunnelEnd:
        make = partial(TunnelEnd, owner.buffer)
        return (await owner.loop.create_connection(make, str(address), target.port))[1]

    address, host = await connect_first(addresses, dial)
    return HostRoute(host, str(address))


async def _usable(owner: RouteOwner, target: HostAndPort) -> list[Address]:
    """The addresses of a target that may be connected to.

    Raises:
        RouteRefusedError: there are others alone.
        OSError: it has none.
    """
    resolved = await owner.resolve(target)
    addresses = usable_addresses(resolved, target.port, owner.rules, target.host)
    if not addresses:
        raise RouteRefusedError(next(map(str, all_addresses(resolved)), ""))
    return addresses


async def _through(owner: RouteOwner, target: HostAndPort, proxy: OuterProxy) -> HostRoute:
    """Connect through a proxy, which is given the name and resolves it."""
    await _screen_addresses(owner, target)
    tls, name = (
        (_trusted_authorities(), str(proxy.at.host)) if proxy.kind == HTTPS else (None, None)
    )
    try:
        addresses = list(all_addresses(await owner.resolve(proxy.at)))

        async def dial(address: Address) -> OuterTunnelEnd:
            request = connect_request(target, proxy)
            make = partial(OuterTunnelEnd, owner.buffer, owner.loop, request)
            connecting = owner.loop.create_connection(
                make, str(address), proxy.at.port, ssl=tls, server_hostname=name
            )
            return (await connecting)[1]

        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        _, host = await connect_first(addresses, dial)
        await host.open()
    except OuterTunnelError:
        raise
    except OSError as error:
        raise OuterTunnelError(f"PROXY_{error_name(error)}") from None
    return HostRoute(host, "", str(proxy.at))


@cache
def _trusted_authorities() -> ssl.SSLContext:
    """Whom a proxy's certificate may be of: the authorities of this system."""
    import ssl

    return ssl.create_default_context()


async def _screen_addresses(owner: RouteOwner, target: HostAndPort) -> None:
    """Check the addresses that a target has here, if its name is known here.

    Raises:
        RouteRefusedError: one of them, or the name, is not to be connected to.
        OSError: too much is being resolved.
    """
    host = target.host
    if isinstance(host, str) and is_metadata(host):
        raise RouteRefusedError("")
    for address in all_addresses(await owner.resolve_if_known(target)):
        if not is_usable(address, target.port, owner.rules, host):
            raise RouteRefusedError(str(address))


# --- lookups ----------------------------------------------------------------------------
# Names resolved by the system's resolver, in threads that nothing waits for at the end.

Resolve = Callable[[str], Iterable[str]]  # may wait; raises OSError

KNOWN_SECONDS = 1.0  # for a name to be known here, where a proxy resolves it anyway
UNKNOWN_SECONDS = 30.0  # until it is asked for again
CACHE_SECONDS = 5.0  # for many connections to one host, each address is judged again
MAX_CACHED = 256
MAX_THREADS = 32  # at once; a name beyond them fails
_EAI_NAMES = {getattr(socket, name): name for name in dir(socket) if name.startswith("EAI_")}


def resolve_by_system(name: str) -> list[str]:
    """The addresses of a name, in the system's order.

    Raises:
        OSError: there are none.
    """
    answers = socket.getaddrinfo(name.encode("ascii"), None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in answers))


def error_name(error: OSError) -> str:
    """The name of an error's number, as `ECONNREFUSED` or `EAI_NONAME`; of a proxy's its own."""
    if isinstance(error, OuterTunnelError):
        return error.name
    if isinstance(error, socket.gaierror):
        return _EAI_NAMES.get(error.errno, "EAI_FAIL")
    if type(error).__module__ == "ssl":  # which need not have been imported
        return "TLS"
    if isinstance(error, TimeoutError) and error.errno is None:
        return "ETIMEDOUT"
    return errno.errorcode.get(error.errno or 0, "EIO")


class NameLookups:
    """Addresses by name, each asked for once at a time and remembered for seconds.

    Args:
        loop: where the answers are needed.
        resolve: gives the addresses of a name.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, resolve: Resolve) -> None:
        self._loop = loop
        self._resolve = resolve
        self._cached: dict[str, tuple[float, list[str]]] = {}
        self._pending: dict[str, asyncio.Future[list[str]]] = {}
        self._unknown: dict[str, float] = {}  # until when

    async def addresses_if_known(self, name: str) -> list[str]:
        """The addresses of a name; none where it has none here, or they do not come soon.

        Raises:
            OSError: too many names are being resolved.
        """
        if name not in self._cached and self._unknown.get(name, 0.0) > self._loop.time():
            return []
        try:
            return await asyncio.wait_for(self.resolve_name(name), KNOWN_SECONDS)
        except (TimeoutError, socket.gaierror):
            if len(self._unknown) >= MAX_CACHED:
                self._unknown.clear()
            self._unknown[name] = self._loop.time() + UNKNOWN_SECONDS
            return []

    async def resolve_name(self, name: str) -> list[str]:
        """The addresses of a name.

        Raises:
            OSError: it has none, or too many names are being resolved.
        """
        until, addresses = self._cached.get(name, (0.0, []))
        if until > self._loop.time():
            return addresses
        pending = self._pending.get(name)
        if pending is None:
            if len(self._pending) >= MAX_THREADS:
                raise OSError(errno.EAGAIN, "too many names are being resolved")
            pending = self._pending[name] = self._loop.create_future()
            Thread(target=self._ask, args=(name,), name="egress-resolve", daemon=True).start()
        return await asyncio.shield(pending)

    def _ask(self, name: str) -> None:
        """Resolve in a thread, and hand the answer to the loop."""
        answer: list[str] | OSError
        try:
            answer = list(self._resolve(name))
        except OSError as error:
            answer = error
        except UnicodeError:  # of a resolver that encodes names by another standard
            answer = socket.gaierror(socket.EAI_NONAME, "not a name")
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._take, name, answer)

    def _take(self, name: str, answer: list[str] | OSError) -> None:
        pending = self._pending.pop(name)
        if isinstance(answer, OSError):
            pending.set_exception(answer)
            pending.exception()  # whoever asked may be gone
            return
        if len(self._cached) >= MAX_CACHED:
            self._cached.clear()
        self._cached[name] = self._loop.time() + CACHE_SECONDS, answer
        pending.set_result(answer)
