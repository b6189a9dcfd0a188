"""Where this machine finds the registries of packages, which may be at private addresses.

The system's resolver may take minutes for a name, and cannot be told to give up: it is asked in
threads that nobody waits for in the end.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING

from pipeguard.isolation.egress.addresses import all_addresses, is_public
from pipeguard.isolation.egress.hosts import HostAndPort

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

REGISTRY_PORT = 443
SECONDS = 5.0  # for all names together; a name that takes longer has no private address here


def addresses_of(name: str) -> tuple[str, ...]:
    """The addresses of a name, by the system's resolver.

    Raises:
        OSError: it has none.
    """
    found = socket.getaddrinfo(name, REGISTRY_PORT, type=socket.SOCK_STREAM)
    return tuple(str(address[0]) for *_, address in found)


def mirrors(
    names: Iterable[str],
    resolve: Callable[[str], Iterable[str]] = addresses_of,
    seconds: float = SECONDS,
) -> tuple[str, ...]:
    """The addresses of registries that are not public, as entries of `hosts`.

    None of a name that is not known soon.

    Args:
        names: of the registries.
        resolve: gives the addresses of a name; it may wait, and raise OSError.
        seconds: to wait for all of them.
    """
    wanted = tuple(names)
    found: dict[str, tuple[str, ...]] = {}

    def ask(name: str) -> None:
        with suppress(OSError):  # the installer says that it cannot be found
            found[name] = tuple(resolve(name))

    threads = [Thread(target=ask, args=(name,), name="mirror", daemon=True) for name in wanted]
    for thread in threads:
        thread.start()
    end = monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - monotonic()))
    texts = dict.fromkeys(text for name in wanted for text in found.get(name, ()))
    addresses = [address for address in all_addresses(texts) if not is_public(address)]
    return tuple(str(HostAndPort(address, REGISTRY_PORT)) for address in addresses)
