"""The name behind an address that a server connected to.

The names are those that it asked for; their addresses are looked up again, beside it. What it asked
for otherwise (through a socket of the system's resolver, or in `/etc/hosts`) is found in
`/etc/hosts` or stays an address.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING

from pipeguard.isolation.egress.addresses import is_private
from pipeguard.isolation.egress.hosts import HostError, parse_host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipeguard.isolation.learning.observed import Observed

HOSTS_FILE = Path("/etc/hosts")
MAX_NAMES = 1_000
FINISH_SECONDS = 2.0
_REVERSE = (".in-addr.arpa", ".ip6.arpa", ".local")


def _sent_addresses(name: str) -> Iterable[str]:
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class HostNames:
    """The names and addresses of one run, for the one thread that watches it.

    Args:
        resolve: gives the addresses of a name, in a thread of its own.
    """

    def __init__(self, resolve: Callable[[str], Iterable[str]] = _sent_addresses) -> None:
        self._resolve = resolve
        self._asked: set[str] = set()
        self._connected: set[tuple[str, int]] = set()
        self._addresses: dict[str, str] = {}
        self._queue: SimpleQueue[str | None] = SimpleQueue()
        self._thread: Thread | None = None

    def take_question(self, name: str) -> None:
        """The server asked for the addresses of a name."""
        try:
            host = parse_host(name)
        except HostError:
            return
        if not isinstance(host, str) or host.endswith(_REVERSE) or "." not in host:
            return
        if host in self._asked or len(self._asked) >= MAX_NAMES:
            return
        self._asked.add(host)
        if self._thread is None:
            self._thread = Thread(target=self._look_up, name="learn-names", daemon=True)
            self._thread.start()
        self._queue.put(host)

    def take_connection(self, address: str, port: int) -> None:
        """The server connected to an address."""
        if len(self._connected) < MAX_NAMES:
            self._connected.add((address, port))

    def settle(self, observed: Observed, *, is_end: bool) -> None:
        """Say where the server connected to.

        Args:
            observed: where to say it.
            is_end: whether nothing more comes; until then, what has no name yet may still get one.
        """
        if is_end and self._thread is not None:
            self._queue.put(None)
            self._thread.join(FINISH_SECONDS)
        observed.names |= self._asked
        known = _hosts_file() | dict(self._addresses)
        for address, port in self._connected:
            if is_end or address in known:
                name = known.get(address, address)
                observed.add_host(name, port)
                if name != address and is_private(ip_address(address)):
                    observed.private.add(name)

    def _look_up(self) -> None:
        while (name := self._queue.get()) is not None:
            with suppress(OSError, UnicodeError):
                for address in self._resolve(name):
                    self._addresses.setdefault(address, name)


def _hosts_file() -> dict[str, str]:
    """HostNames by address, as hosts(5) has them; of several the first."""
    try:
        lines = HOSTS_FILE.read_text("utf-8").splitlines()
    except (OSError, UnicodeError):
        return {}
    found: dict[str, str] = {}
    for line in lines:
        words = line.partition("#")[0].split()
        if len(words) > 1 and not words[0].startswith(("127.", "::1")):
            found.setdefault(words[0], words[1])
    return found
