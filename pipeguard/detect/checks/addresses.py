"""The reach of an IP address: the public network, a private one, this machine, its credentials.

Knows addresses and no names but `localhost`. Sources: RFC 6052 (IPv4 in IPv6), RFC 6890 (special
addresses), inet_aton(3).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

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
    """Find the reach of an address that a name was resolved to, as `192.0.2.1` or `fe80::1%eth0`.

    Raises:
        ValueError: it is no address.
    """
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv4Address):
        return reach_v4(ip)
    inner = None if ip.is_loopback or ip.is_unspecified else inner_address(ip)
    return reach_v6(ip) if inner is None else reach_v4(inner)


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
        first, last = [number & 0xFF for number in first], last & 0xFF  # some keep the last bits
    limit = 1 << 8 * (5 - len(parts))
    value = last % limit if len(parts) == 1 else last  # some keep what fits into 32 bits
    if value >= limit:
        return None
    for at, number in enumerate(first):
        value |= number << 8 * (3 - at)
    return IPv4Address(value)


def _number(part: str) -> int | None:
    if len(part) > 24:
        return None
    if re.fullmatch(r"0x[0-9a-f]*", part):
        return int(part[2:] or "0", 16)
    if re.fullmatch(r"0[0-7]+", part):
        return int(part, 8)
    if re.fullmatch(r"[0-9]+", part) and part.isascii():
        return int(part)
    return None


def inner_address(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address inside an IPv6 one; None where there is none."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
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
_METADATA_V4 = frozenset(map(IPv4Address, hosts.METADATA_ADDRESSES))
_METADATA_V6 = frozenset(map(IPv6Address, hosts.METADATA_ADDRESSES_V6))
_SHARED = IPv4Network("100.64.0.0/10")  # RFC 6598
_DOCUMENTATION = (  # RFC 5737
    *(IPv4Network("192.0.2.0/24"), IPv4Network("198.51.100.0/24")),
    IPv4Network("203.0.113.0/24"),
)
# The first that fits says what an address is.
_REACH_V4: tuple[tuple[Callable[[IPv4Address], bool], Reach], ...] = (
    (lambda address: address in _METADATA_V4, Reach.METADATA),
    (lambda address: address.is_loopback, Reach.LOOPBACK),
    (lambda address: int(address) >> 24 == 0, Reach.ANY),
    (lambda address: address.is_link_local, Reach.LINK),
    (lambda address: address in _SHARED, Reach.SHARED),
    (lambda address: address.is_multicast or address.is_reserved, Reach.RESERVED),
    (lambda address: any(address in network for network in _DOCUMENTATION), Reach.PUBLIC),
    (lambda address: address.is_private, Reach.PRIVATE),
)
_REACH_V6: tuple[tuple[Callable[[IPv6Address], bool], Reach], ...] = (
    (lambda address: address in _METADATA_V6, Reach.METADATA),
    (lambda address: address.is_loopback, Reach.LOOPBACK),
    (lambda address: address.is_unspecified, Reach.ANY),
    (lambda address: address.is_link_local, Reach.LINK),
    (lambda address: address.is_site_local, Reach.PRIVATE),
    (lambda address: int(address) >> 121 == 0b1111110, Reach.PRIVATE),  # fc00::/7
    (lambda address: address.is_multicast, Reach.RESERVED),
)


def reach_v4(address: IPv4Address) -> Reach:
    """Find the reach of an IPv4 address."""
    return next((reach for fits, reach in _REACH_V4 if fits(address)), Reach.PUBLIC)


def reach_v6(address: IPv6Address) -> Reach:
    """Find the reach of an IPv6 address that has no IPv4 address inside it."""
    return next((reach for fits, reach in _REACH_V6 if fits(address)), Reach.PUBLIC)
