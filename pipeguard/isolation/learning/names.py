"""Which name stands behind an address that a server connected to.

The names are those that it asked for; their addresses are looked up again, beside it. What it asked
for otherwise (through a socket of the system's resolver, or in `/etc/hosts`) is found in
`/etc/hosts` or stays an address.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING

from pipeguard.isolation.egress.hosts import HostError, parse_host

if TYPE_CHECKING:
    from pipeguard.isolation.learning.observed import Observed

HOSTS_FILE = Path("/etc/hosts")
MAX_NAMES = 1_000
FINISH_SECONDS = 2.0
_REVERSE = (".in-addr.arpa", ".ip6.arpa", ".local")


class Names:
    """The names and addresses of one run. `asked` and `connected` are called in one thread."""

    def __init__(self) -> None:
        self._asked: set[str] = set()
        self._connected: set[tuple[str, int]] = set()
        self._addresses: dict[str, str] = {}
        self._queue: SimpleQueue[str | None] = SimpleQueue()
        self._thread: Thread | None = None

    def asked(self, name: str) -> None:
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

    def connected(self, address: str, port: int) -> None:
        """The server connected to an address."""
        if len(self._connected) < MAX_NAMES:
            self._connected.add((address, port))

    def finish(self, observed: Observed) -> None:
        """Say where the server connected to, by name where one is known."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(FINISH_SECONDS)
        known = _hosts_file() | dict(self._addresses)
        for address, port in self._connected:
            observed.add_host(known.get(address, address), port)

    def _look_up(self) -> None:
        while (name := self._queue.get()) is not None:
            with suppress(OSError, UnicodeError):
                for *_, address in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM):
                    self._addresses.setdefault(str(address[0]), name)


def _hosts_file() -> dict[str, str]:
    """Names by address, as hosts(5) has them; of several the first."""
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
