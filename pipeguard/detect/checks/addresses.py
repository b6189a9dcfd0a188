"""The reach of an IP address: the public network, a private one, this machine, its credentials.

Knows addresses and no names but `localhost`. Sources: RFC 6052 (IPv4 in IPv6), RFC 6890 (special
addresses), inet_aton(3).
"""

import re
from enum import Enum
from functools import cache, lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from pipeguard.detect.words import hosts


class Reach(Enum):
    """The reach of an address."""

    PUBLIC = "public"
    LOOPBACK = "loopback"
    ANY = "any"  # 0.0.0.0: this machine, by another name
    PRIVATE = "private"
    LINK = "link"
    SHARED = "shared"  # of a carrier, or of an overlay network
    RESERVED = "reserved"
    METADATA = "metadata"  # gives out the machine's own credentials


def find_reach(address: str) -> Reach:
    """Find the reach of a resolved address, such as `192.0.2.1` or `fe80::1%eth0`.

    Raises:
        ValueError: it is not an address.
    """
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv4Address) or ip.is_loopback or ip.is_unspecified:
        return classify_ip(ip)
    return classify_ip(inner_address(ip) or ip)


@lru_cache(256)
def is_loopback(host: str) -> bool:
    """True for the host of a URL that names this machine only to itself."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def parse_inet_aton(name: str) -> IPv4Address | None:
    """An address as C libraries read it: one to four parts, decimal, octal or hexadecimal."""
    parts = name.split(".")
    if not 1 <= len(parts) <= 4:
        return None
    numbers = [_number(part) for part in parts]
    if any(number is None for number in numbers):
        return None
    if len(parts) == 1 and re.fullmatch(r"[1-9][0-9]{0,6}", name):
        return None  # hardly an address
    *first, last = [number or 0 for number in numbers]
    if any(number > 0xFF for number in first):
        if not re.fullmatch(r"(?:[1-9]\d{2}\.){3}[1-9]\d{2}", name):
            return None
        first = [number & 0xFF for number in first]  # some keep the last bits
        last &= 0xFF
    limit = 1 << 8 * (5 - len(parts))
    value = last % limit if len(parts) == 1 else last  # some keep the part that fits into 32 bits
    if value >= limit:
        return None
    for at, number in enumerate(first):
        value |= number << 8 * (3 - at)
    return IPv4Address(value)


def _number(part: str) -> int | None:
    for pattern, base in (("0x([0-9a-f]*)", 16), ("0([0-7]+)", 8), ("([0-9]+)", 10)):
        if len(part) <= 24 and (match := re.fullmatch(pattern, part)):
            return int(match[1] or "0", base)
    return None


def inner_address(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address inside an IPv6 one; None without one."""
    if inner := address.ipv4_mapped or address.sixtofour:
        return inner
    value = int(address)
    if any(address in network for network in _CARRIERS):
        return IPv4Address(value & 0xFFFFFFFF)
    if address.teredo is not None:
        return address.teredo[1]
    if 0xFFFF < value <= 0xFFFFFFFF:  # IPv4-compatible, RFC 4291 section 2.5.5.1
        return IPv4Address(value)
    return None


_CARRIERS = (
    IPv6Network("64:ff9b::/96"),
    IPv6Network("64:ff9b:1::/48"),
    IPv6Network("::ffff:0:0:0/96"),  # translated, RFC 2765
)


@cache
def _networks() -> list[tuple[IPv4Network | IPv6Network, Reach]]:
    rows = hosts.pairs("REACHES").items()
    return [(ip_network(network), Reach(reach)) for network, reach in rows]


def classify_ip(address: IPv4Address | IPv6Address) -> Reach:
    """Find the reach of an address that has no IPv4 address inside it."""
    for network, reach in _networks():
        if address in network:
            return reach
    return Reach.PRIVATE if address.version == 4 and address.is_private else Reach.PUBLIC
