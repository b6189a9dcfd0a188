"""Whom an address reaches, however it is spelt: hosts in one form, and what stands behind them.

A check for rules over what follows `//` in an address. Where programs would read it in several
ways, all of them count: whoever writes a trick hopes that the one who checks and the one who
fetches differ. Knows no names that only a resolver knows. Sources: RFC 3986 (section 3.2), RFC
6052 (IPv4 in IPv6), RFC 6890 (special addresses), inet_aton(3), the URL Standard (host parsing).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from enum import Enum
from functools import lru_cache
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)
from typing import NamedTuple

MAX_URL_CHARACTERS = 600  # of an address that are looked at: a host's name has 253
PERCENT_ROUNDS = 3


class Reach(Enum):
    """What stands behind a host."""

    PUBLIC = "public"
    LOOPBACK = "loopback"
    ANY = "any"  # 0.0.0.0: this machine, by another name
    PRIVATE = "private"
    LINK = "link"
    SHARED = "shared"  # of a carrier, or of an overlay network
    RESERVED = "reserved"
    METADATA = "metadata"  # gives out the machine's own credentials


class Host(NamedTuple):
    """One reading of the host in an address.

    Attributes:
        name: in its one form: an address as the standard writes it, or a name in small letters.
        reach: what stands behind it.
        odd: True where nobody writes it so but to pass a check.
    """

    name: str
    reach: Reach
    odd: bool


def hosts(rest: str) -> list[Host]:
    """Every host that some program would take an address to name.

    Args:
        rest: what follows `//` in the address, as far as it goes.
    """
    found: dict[Host, None] = {}
    for text, odd in _authorities(rest[:MAX_URL_CHARACTERS]):
        host = _host(text)
        if host is not None:
            found[host._replace(odd=host.odd or odd)] = None
    return list(found)


def says(rest: bytes, wanted: str) -> bool:  # noqa: PLR0911  a question each
    """Whether an address reaches what is `wanted`.

    Args:
        rest: what follows `//`.
        wanted: `metadata`; `disguised`: this machine or a private network in an odd spelling;
            `inside`: a private network, or this machine as 0.0.0.0; `exposed`: the same with a
            port or a path at which machines are ruled; `suspicious`: the first two;
            `local`: this machine.
    """
    text = rest[: 4 * MAX_URL_CHARACTERS].decode("utf-8", "replace")
    found = hosts(text)
    if wanted == "metadata":
        return any(host.reach is Reach.METADATA for host in found)
    if wanted == "disguised":
        return any(host.odd and host.reach is not Reach.PUBLIC for host in found)
    if wanted == "suspicious":
        return any(
            host.reach is Reach.METADATA or (host.odd and host.reach is not Reach.PUBLIC)
            for host in found
        )
    if wanted == "local":
        return any(host.reach is Reach.LOOPBACK for host in found)
    inside = {host.reach for host in found} - {Reach.PUBLIC, Reach.LOOPBACK}
    if wanted == "inside":
        return bool(inside)
    if inside & {Reach.LINK, Reach.RESERVED}:
        return True  # no service that anybody means stands there
    local = any(host.reach is Reach.LOOPBACK for host in found)
    return bool(inside and _RULES.search(text)) or bool(local and _RULES_LOCAL.search(text))


WANTED = ("metadata", "disguised", "inside", "exposed", "suspicious", "local")

# -- which part is the host ------------------------------------------------------------------------

_BLANK = re.compile(r"[\t\r\n\u00ad\u200b-\u200d\u2060\ufeff]")
_END = re.compile(r"[/?#]")
_ANY_END = re.compile(r"[/\\?#]")


def _authorities(rest: str) -> Iterator[tuple[str, bool]]:
    """The candidates, each with whether it takes a trick to read it so."""
    plain = _BLANK.sub("", rest)
    torn = _BLANK.search(_ANY_END.split(rest, maxsplit=1)[0].rstrip()) is not None
    strict = _END.split(plain, maxsplit=1)[0]
    lax = _ANY_END.split(plain, maxsplit=1)[0]
    yield lax.rpartition("@")[2], torn
    if lax != strict:  # a backslash: for browsers a slash, for others part of the user's name
        yield strict.rpartition("@")[2], True
    user, at, host = strict.rpartition("@")
    if at and _ADDRESS_LIKE.match(user):
        yield user, True
    elif at and _HOST_LIKE.match(user):
        yield host, True  # who is shown one host reaches another
    behind = re.match(r"[^/@]{0,200}[#?\\][^/@]{0,200}@([^/?#\\]{1,200})", plain)
    if behind:
        yield behind[1], True


_HOST_LIKE = re.compile(r"(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,20}\Z")
_ADDRESS_LIKE = re.compile(r"\[?[0-9a-f:.x%]{3,60}\]?(?::\d{1,5})?\Z", re.IGNORECASE)


def _host(text: str) -> Host | None:
    decoded = _percent_decoded(text)
    folded = unicodedata.normalize("NFKC", decoded.replace("\u3002", ".").replace("\uff61", "."))
    folded = _BLANK.sub("", folded).replace("\u2024", ".").lower()
    odd = folded != text.lower()
    if folded.startswith("["):
        return _host_v6(folded[1:].partition("]")[0], odd=odd)
    name = _PORT.sub("", folded).rstrip(".")
    if name != _PORT.sub("", folded):
        odd = odd or bool(_NUMBER_LIKE.match(name))
    if not name:
        return None
    if name.count(":") > 1:
        return _host_v6(name, odd=odd)
    address = _inet_aton(name)
    if address is not None:
        unusual = address.is_loopback and str(address) != "127.0.0.1"
        return Host(str(address), _reach_v4(address), odd or unusual or str(address) != name)
    return _named(name, odd=odd)


_PORT = re.compile(r":\d{0,6}$")
_NUMBER_LIKE = re.compile(r"[0-9a-fx.]+\Z")


def _percent_decoded(text: str) -> str:
    for _ in range(PERCENT_ROUNDS):
        plain = _PERCENTS.sub(_unpercent, text)
        if plain == text:
            break
        text = plain
    return text


_PERCENTS = re.compile(r"(?:%[0-9a-fA-F]{2}){1,200}")


def _unpercent(match: re.Match[str]) -> str:
    return bytes.fromhex(match[0].replace("%", "")).decode("utf-8", "replace")


# -- addresses -------------------------------------------------------------------------------------


def _inet_aton(name: str) -> IPv4Address | None:
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


def _host_v6(text: str, *, odd: bool) -> Host | None:
    plain, zone, _ = text.partition("%")
    try:
        address = IPv6Address(plain)
    except AddressValueError:
        return None
    inner = _inner(address)
    if inner is not None:
        return Host(str(inner), _reach_v4(inner), odd=True)
    if address in _METADATA_V6:
        return Host(str(address), Reach.METADATA, odd)
    odd = odd or bool(zone) or address.is_unspecified or (address.is_loopback and plain != "::1")
    return Host(str(address), _reach_v6(address), odd)


def _inner(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one carries."""
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
_METADATA_V6 = frozenset({IPv6Address("fd00:ec2::254"), IPv6Address("fd00:ec2::23")})
_METADATA_V4 = frozenset(
    map(
        IPv4Address,
        "169.254.169.254 169.254.170.2 169.254.170.23 169.254.169.253 169.254.169.249 "  # noqa: SIM905  a table
        "169.254.0.23 100.100.100.200 168.63.129.16 192.0.0.192".split(),
    )
)
_SHARED = IPv4Network("100.64.0.0/10")


def _reach_v4(address: IPv4Address) -> Reach:  # noqa: PLR0911  a table
    if address in _METADATA_V4:
        return Reach.METADATA
    if address.is_loopback:
        return Reach.LOOPBACK
    if int(address) >> 24 == 0:
        return Reach.ANY
    if address.is_link_local:
        return Reach.LINK
    if address in _SHARED:
        return Reach.SHARED
    if address.is_multicast or address.is_reserved:
        return Reach.RESERVED
    if address in _DOCUMENTATION:
        return Reach.PUBLIC
    return Reach.PRIVATE if address.is_private else Reach.PUBLIC


class _Networks(tuple[IPv4Network, ...]):
    __slots__ = ()

    def __contains__(self, address: object) -> bool:
        return any(address in network for network in self)


_DOCUMENTATION = _Networks(map(IPv4Network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")))


def _reach_v6(address: IPv6Address) -> Reach:
    if address.is_loopback:
        return Reach.LOOPBACK
    if address.is_unspecified:
        return Reach.ANY
    if address.is_link_local:
        return Reach.LINK
    if address.is_site_local or int(address) >> 121 == 0b1111110:  # fc00::/7
        return Reach.PRIVATE
    return Reach.RESERVED if address.is_multicast else Reach.PUBLIC


# -- names -----------------------------------------------------------------------------------------

_METADATA_NAME = re.compile(
    r"(?:.+\.)?(?:metadata\.google\.internal|metadata\.goog|metadata\.(?:azure|platformequinix|"
    r"packet|tencentyun|nifcloud)\.(?:internal|com|net)|instance-data(?:\.ec2\.internal)?|"
    r"metadata\.ec2\.internal|metadata)"
)
_LOCAL_NAME = re.compile(
    r"(?:.+\.)?(?:localhost|localhost\.localdomain|ip6-localhost|ip6-loopback|localhost6)"
)
# Names in the public system that answer with this machine's own address.
_LOCAL_PUBLIC_NAME = re.compile(
    r"(?:.+\.)?(?:localtest\.me|lvh\.me|vcap\.me|lacolhost\.com|localho\.st|yoogle\.com|"
    r"local\.sisteminha\.com|127-0-0-1\.org\.uk|feacluster\.com|spoofed\.burpcollaborator\.net)"
)
_INSIDE_NAME = re.compile(
    r"(?:.+\.)?(?:internal|intranet|corp|lan|home\.arpa|local|localdomain|cluster\.local|"
    r"consul|private)|kubernetes(?:\.default(?:\.svc)?)?|(?:.+\.)?svc|gateway\.docker\.internal"
)
# Services that answer a name with the address that stands in it.
_WILDCARD = re.compile(
    r"(.+)\.(?:(?:nip|sslip|xip)\.io|rbndr\.us|1u\.ms|traefik\.me|ip\.dns\.army|"
    r"backname\.io|nip\.direct|vcap\.me|ipq\.co|getlantern\.org|lvh\.me|plex\.direct|dns\.name)"
)
_DOTTED = re.compile(r"(?:^|[^0-9])(\d{1,3})[.-](\d{1,3})[.-](\d{1,3})[.-](\d{1,3})(?:$|[^0-9])")
_HEX = re.compile(r"(?:^|[.-])([0-9a-f]{8})(?:$|[.-])")


def _named(name: str, *, odd: bool) -> Host:
    wildcard = _WILDCARD.fullmatch(name)
    if wildcard:
        for address in _embedded(wildcard[1]):
            reach = _reach_v4(address)
            if reach is not Reach.PUBLIC:
                return Host(str(address), reach, odd=True)
    if _METADATA_NAME.fullmatch(name):
        return Host(name, Reach.METADATA, odd)
    if _LOCAL_NAME.fullmatch(name):
        return Host(name, Reach.LOOPBACK, odd)
    if _LOCAL_PUBLIC_NAME.fullmatch(name):
        return Host(name, Reach.LOOPBACK, odd=True)
    return Host(name, Reach.PRIVATE if _INSIDE_NAME.fullmatch(name) else Reach.PUBLIC, odd)


def _embedded(labels: str) -> Iterator[IPv4Address]:
    for match in _DOTTED.finditer(labels):
        numbers = [int(group) for group in match.groups()]
        if max(numbers) <= 0xFF:
            yield IPv4Address(bytes(numbers))
    for match in _HEX.finditer(labels):
        yield IPv4Address(int(match[1], 16))
    if "--1" in labels:  # `::1` as it is written in a label
        yield IPv4Address("127.0.0.1")


# Ports and paths at which machines, clusters and stores are ruled or read.
_PORTS = (
    "22|23|25|111|135|139|389|445|873|1099|1433|1521|2049|2181|2375|2376|2377|2379|2380|3306|3389|"
    "4040|4194|4243|5432|5555|5601|5672|5900|5984|5985|6066|6379|6443|7001|7077|7474|8020|8086|"
    "8088|8161|8200|8300|8500|8501|8649|8983|9000|9001|9042|9090|9091|9092|9200|9229|9300|9411|"
    "9418|10250|10255|10256|10257|10259|11211|15672|16379|16443|26379|27017|27018|50000|50070|61616"
)
_PATHS = (
    "admin|administrator|manage(?:ment|r)?|actuator|internal|private|secrets?|credentials?|token|"
    "env|config(?:uration)?|cgi-bin|console|jenkins|scripttext|metrics|debug|heapdump|jolokia|"
    "server-status|server-info|phpmyadmin|wp-admin|api/v1/(?:secrets|pods|namespaces|nodes)|"
    r"v1/(?:kv|secret|sys|agent|catalog|data|metadata)|v1\.\d{2}|containers|images/json|"
    "_cat|_cluster|_search|_all_dbs|_nodes|solr|druid|minio|backup|users?|accounts?|passwd|shadow|"
    "keys?|setup|reset|restart|reboot|shutdown|exec|shell|cmd|run|eval|upload|delete|flush|login|"
    r"\.git|\.env|\.svn|var/run|etc/passwd|computemetadata|latest/(?:meta-data|user-data|dynamic)"
)
_RULES = re.compile(rf":(?:{_PORTS})(?:[/?#\s]|$)|[/=](?:{_PATHS})(?:[/?#=.&\s]|$)", re.IGNORECASE)
# On the developer's own machine far less is out of the ordinary.
_RULES_LOCAL = re.compile(
    r":(?:22|25|111|139|445|873|2375|2376|2379|4194|6379|10250|10255|11211|16379|26379)"
    r"(?:[/?#\s]|$)|/(?:server-status|actuator/(?:env|heapdump)|"
    r"jolokia|containers/json|_cat/|v1/(?:kv|secret|agent)/|scripttext|latest/meta-data)",
    re.IGNORECASE,
)


def reach_of(address: str) -> Reach:
    """What stands behind an address that a name was resolved to, as `192.0.2.1` or `fe80::1%eth0`.

    Raises:
        ValueError: it is no address.
    """
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        if found in _METADATA_V6:
            return Reach.METADATA
        inner = None if found.is_loopback or found.is_unspecified else _inner(found)
        return _reach_v6(found) if inner is None else _reach_v4(inner)
    return _reach_v4(found)


@lru_cache(256)
def is_loopback(host: str) -> bool:
    """True for a host, as a URL has it, that only this machine can be reached by."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
