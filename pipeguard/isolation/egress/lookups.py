"""Names resolved by the system's resolver, in threads that nothing waits for at the end."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from threading import Thread

from pipeguard.isolation.egress.outer_tunnel import OuterTunnelError

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
