"""The check of a name's addresses after it was resolved: which of them may be connected to.

Only public ones, unless a rule names exactly this address and port, or allows the name to lead into
a private network. Sources: the IANA registries of special addresses (RFC 6890), RFC 6052 (IPv4 in
IPv6).
"""

import re
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from pipeguard.detect.checks.addresses import Reach, classify_ip, find_reach
from pipeguard.detect.words import hosts as host_words
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.isolation.egress.hosts import (
    PRIVATE,
    Address,
    Host,
    HostError,
    HostRules,
    parse_entry,
)

MAX_ADDRESSES = 8  # tried of one name
_METADATA_NAME = lazy_regex(rf"(?:.+\.)?(?:{host_words.alternatives('METADATA_NAMES')})", re.ASCII)
# Domains below which anybody can have a name: top-level ones, the usual second level of a
# country's, and some of those that publicsuffix.org lists as private.
_OPEN_DOMAIN = lazy_regex(
    r"[^.]+|(?:ac|co|com|edu|gob|gov|ltd|me|mil|ne|net|nom|or|org|plc|sch)\.[a-z]{2}"
    r"|(?:s3\.)?amazonaws\.com|(?:cloudfront|azurewebsites|duckdns|trafficmanager)\.(?:net|org)"
    r"|(?:github|gitlab|ngrok|nip|sslip)\.io|(?:netlify|vercel|web|run|ngrok-free|ngrok)\.app"
    r"|(?:pages|workers|fly|deno)\.dev|(?:herokuapp|firebaseapp|appspot|onrender|blogspot)\.com"
    r"|trycloudflare\.com",
    re.ASCII,
)
_GLOBAL = IPv6Network("2000::/3")  # all that was ever given out (IANA, IPv6 address space)
_NAT64 = IPv6Network("64:ff9b::/96")  # DNS64 gives it for public IPv4 addresses (RFC 6052)
_DOCUMENTATION = (IPv6Network("2001:db8::/32"), IPv6Network("3fff::/20"))
_SPECIAL = (
    *_DOCUMENTATION,
    IPv6Network("2001::/23"),  # protocols, Teredo among them, which has an IPv4 address inside
    IPv6Network("2002::/16"),  # 6to4, which has an IPv4 address inside
)
_UNIQUE_LOCAL = IPv6Network("fc00::/7")  # RFC 4193
_PROTOCOLS = IPv4Address("192.0.0.0")  # IETF's own, a /24 (RFC 6890)
_RELAYS = IPv4Address("192.88.99.0")  # of 6to4, a /24 (RFC 7526)


def usable_addresses(
    texts: Iterable[str], port: int, rules: HostRules, host: Host = ""
) -> list[Address]:
    """The addresses of a resolver's answers that may be connected to, in their order.

    Args:
        texts: addresses as text; other texts are left out.
        port: the port of the connection.
        rules: name the addresses that need not be public, and the hosts.
        host: the requested one.
    """
    found = dict.fromkeys(all_addresses(texts))
    return [address for address in found if is_usable(address, port, rules, host)][:MAX_ADDRESSES]


def all_addresses(texts: Iterable[str]) -> list[Address]:
    """All addresses of a resolver's answers, in their order, wherever they lead."""
    return list(filter(None, map(_parse, texts)))


def is_usable(address: Address, port: int, rules: HostRules, host: Host = "") -> bool:
    """True if an address is public and not this machine's own, or named with this port.

    One of a private network is used for a name that may lead there, and not this machine's own.
    """
    if port in rules.allowed_ports(address):
        return True
    is_reached = is_public(address) or (rules.may_be_private(host, port) and is_private(address))
    return is_reached and not is_own(address)


def is_metadata(host: Host) -> bool:
    """True for a service that gives out the machine's own credentials."""
    if isinstance(host, str):
        return _METADATA_NAME.fullmatch(host) is not None
    return find_reach(str(host)) is Reach.METADATA


def describe_excess(entry: str) -> str:
    """Describe sensitive targets that a granted host includes; empty for most hosts.

    Args:
        entry: as an option or the policy has it.
    """
    text = entry.strip().removesuffix(PRIVATE)
    try:
        host = "*." if text == "*" else parse_entry(text)[0]
    except HostError:
        return ""
    is_wide = isinstance(host, str) and host.startswith("*.")
    domain = str(host)[2:]
    if is_metadata(f"metadata.{domain}" if is_wide and domain else host):
        return "the service that gives out this machine's own credentials"
    is_open = is_wide and (not domain or _OPEN_DOMAIN.fullmatch(domain) is not None)
    return "hosts that anybody can have" if is_open else ""


def is_private(address: Address) -> bool:
    """True if an address may belong to a company's or home's own network.

    Never an address of this machine or link, a broadcast, or a metadata service; nor an IPv6
    address that embeds an IPv4 one. Documentation addresses count: networks use them, too.
    """
    if isinstance(address, IPv6Address):
        is_local = address in _UNIQUE_LOCAL or any(address in each for each in _DOCUMENTATION)
        return is_local and find_reach(str(address)) in {Reach.PRIVATE, Reach.PUBLIC}
    if is_public(address) or address.is_reserved or address.is_multicast:
        return False
    if int(address) >> 8 in {int(_RELAYS) >> 8, int(_PROTOCOLS) >> 8}:
        return False
    return classify_ip(address) in {Reach.PRIVATE, Reach.SHARED, Reach.PUBLIC}


def is_public(address: Address) -> bool:
    """True for an address of the public network: not private, local, reserved or metadata."""
    if isinstance(address, IPv4Address):
        return _is_public_v4(address)
    if address in _NAT64:
        return _is_public_v4(IPv4Address(int(address) & 0xFFFFFFFF))
    if address not in _GLOBAL or any(address in network for network in _SPECIAL):
        return False
    return find_reach(str(address)) is Reach.PUBLIC


def _is_public_v4(address: IPv4Address) -> bool:
    if not address.is_global or int(address) >> 8 == int(_RELAYS) >> 8:
        return False
    return classify_ip(address) is Reach.PUBLIC and not address.is_multicast


def is_own(address: Address) -> bool:
    """True if the route to an address shows that it is this machine's; sends nothing."""
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(address), 9))
        except OSError:  # no route: connecting fails as well
            return False
        return _parse(probe.getsockname()[0]) == address


def _parse(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return None  # of one link: never public, and no rule can name it
        return address.ipv4_mapped or address
    return address
