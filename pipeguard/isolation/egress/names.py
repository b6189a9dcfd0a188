"""An address of its own for each name, by which a direct connection says which host it is for."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import TYPE_CHECKING

from pipeguard.isolation.egress.hosts import LOCALHOST, LOOPBACK

if TYPE_CHECKING:
    from pipeguard.isolation.egress.hosts import Address, Host

# All addresses are local in the sandbox's network. These look public, since a careful program
# refuses to fetch from a private or loopback address; they are given out to no public service (11/8
# is of the US Department of Defense, IANA IPv4 address space registry).
NETWORK = IPv4Network("11.128.0.0/9")
MAX_NAMES = 4096  # a wildcard has as many names as a sandbox asks for


class NameAddresses:
    """Addresses of `NETWORK` by name, given out at the first question and the same from then on."""

    def __init__(self, limit: int = MAX_NAMES) -> None:
        self._limit = limit
        self._numbers: dict[str, int] = {}
        self._names: list[str] = []

    def address_of(self, name: str) -> IPv4Address | None:
        """The address of a name; None where all are given out."""
        number = self._numbers.get(name)
        if number is None:
            number = len(self._names)
            if number >= self._limit:
                return None
            self._numbers[name] = number
            self._names.append(name)
        return NETWORK[number + 1]

    def name_of(self, address: IPv4Address) -> str | None:
        """The name that has an address; None where no name has it."""
        number = int(address) - int(NETWORK.network_address) - 1
        return self._names[number] if 0 <= number < len(self._names) else None

    def host_of(self, address: Address) -> Host:
        """The host that an address of the sandbox's network stands for; in any thread."""
        if isinstance(address, IPv6Address):
            if address == LOOPBACK[1]:
                return LOCALHOST  # which programs try first under this address, then under another
            return IPv6Address(int(address))  # without a zone
        return (self.name_of(address) if address in NETWORK else None) or address
