"""The host that a URL names, in any spelling: each host that some program would read.

A check of the text after `//`. If programs read it in several ways, all of them count: a
disguise works if the program that checks and the one that fetches differ. Knows no names that
need a resolver; detect.words.hosts lists the known ones. Sources: RFC 3986 (section 3.2),
the URL Standard (host parsing).
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NamedTuple

from pipeguard.detect.checks.addresses import Reach, classify_ip, inner_address, parse_inet_aton
from pipeguard.detect.text.escapes import undo_repeatedly
from pipeguard.detect.words import hosts as words
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.uris import unpercent

MAX_URL_CHARACTERS = 600  # of an address that are read: a host's name has at most 253


class Host(NamedTuple):
    """One reading of the host in an address.

    Attributes:
        name: an address in the standard's form, or a name in small letters.
        reach: its destination.
        odd: True for a spelling that is only used to pass checks.
    """

    name: str
    reach: Reach
    odd: bool


def hosts(rest: str) -> list[Host]:
    """Every host that some program would take an address to name.

    Args:
        rest: the text after `//` in the address, as far as it goes; or a list of hosts.
    """
    readings: dict[Host, None] = {}
    rest = rest.lstrip("/\\")  # as the URL Standard does
    for text, odd in _authorities(rest[:MAX_URL_CHARACTERS]):
        host = _host(text)
        if host is not None:
            readings[host._replace(odd=host.odd or odd)] = None
    return list(readings)


def is_local(rest: str) -> bool:
    """True if the text after `//` is an address of this machine, or of a private network."""
    readings = hosts(rest)
    return bool(readings) and all(
        host.reach is not Reach.PUBLIC or "." not in host.name for host in readings
    )


# The questions of rules, as in `host metadata`.
QUESTIONS = "metadata", "disguised", "suspicious", "inside", "exposed", "outside"


def reaches(rest: bytes, question: str) -> bool:
    """True if a URL leads to a kind of host.

    Args:
        rest: the text after `//`.
        question: one of QUESTIONS.
    """
    text = rest[: 4 * MAX_URL_CHARACTERS].decode("utf-8", "replace")
    readings = hosts(text)
    found = {host.reach for host in readings}
    # A private network, or this machine as 0.0.0.0.
    inside = found - {Reach.PUBLIC, Reach.LOOPBACK}
    # This machine or a private network, in an odd spelling.
    is_disguised = any(host.odd and host.reach is not Reach.PUBLIC for host in readings)
    answers: dict[str, object] = {
        "metadata": Reach.METADATA in found,
        "disguised": is_disguised,
        "suspicious": is_disguised or Reach.METADATA in found,
        "inside": inside,
        # With a port or a path for administering machines, or an address without a service.
        "exposed": inside & {Reach.LINK, Reach.RESERVED}
        or (inside and _ADMINISTERS.search(text))
        or (Reach.LOOPBACK in found and _ADMINISTERS_LOCALLY.search(text)),
        "outside": found == {Reach.PUBLIC},
    }
    return bool(answers[question])


# -- which part is the host ------------------------------------------------------------------------

_BLANK = lazy_regex(r"[\t\r\n\u00ad\u200b-\u200d\u2060\ufeff]")
_LISTED = lazy_regex(r"[,;\s]+")
_END = lazy_regex(r"[/?#]")
_ANY_END = lazy_regex(r"[/\\?#]")


def _authorities(rest: str) -> Iterator[tuple[str, bool]]:
    """Candidates for the host; True for each that only a trick makes one."""
    plain = _BLANK.sub("", rest)
    torn = _BLANK.search(_ANY_END.split(rest, maxsplit=1)[0].rstrip()) is not None
    strict = _END.split(plain, maxsplit=1)[0]
    lax = _ANY_END.split(plain, maxsplit=1)[0]
    yield lax.rpartition("@")[2], torn
    if " " in (listed := _LISTED.sub(" ", _ANY_END.split(rest, maxsplit=1)[0])):
        yield from ((each, False) for each in listed.split())
    if lax != strict:  # a backslash is a slash to browsers, and part of the user's name to others
        yield strict.rpartition("@")[2], True
    user, at, host = strict.rpartition("@")
    if at and _ADDRESS_LIKE.match(user):
        yield user, True
    elif at and _HOST_LIKE.match(user):
        yield host, True  # a person is shown one host and reaches another
    after_end = re.match(r"[^/@]{0,200}[#?\\][^/@]{0,200}@([^/?#\\]{1,200})", plain)
    if after_end:
        yield after_end[1], True


_HOST_LIKE = lazy_regex(r"(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,20}\Z")
_ADDRESS_LIKE = lazy_regex(r"(?i)\[?[0-9a-f:.x%]{3,60}\]?(?::\d{1,5})?\Z")


def _host(text: str) -> Host | None:
    """The host that a program reads in the authority of a URL; None without one."""
    decoded = undo_repeatedly(unpercent, text)
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
    address = parse_inet_aton(name)
    if address is not None:
        unusual = address.is_loopback and str(address) != "127.0.0.1"
        return Host(str(address), classify_ip(address), odd or unusual or str(address) != name)
    return _host_of_name(name, odd=odd)


_PORT = lazy_regex(r":\d{0,6}$")
_NUMBER_LIKE = lazy_regex(r"[0-9a-fx.]+\Z")


def _host_v6(text: str, *, odd: bool) -> Host | None:
    plain, zone, _ = text.partition("%")
    try:
        address = IPv6Address(plain)
    except AddressValueError:
        return None
    inner = inner_address(address)
    if inner is not None:
        return Host(str(inner), classify_ip(inner), odd=True)
    odd = odd or bool(zone) or address.is_unspecified or (address.is_loopback and plain != "::1")
    return Host(str(address), classify_ip(address), odd)


# -- names -----------------------------------------------------------------------------------------


# Tables of names, by their reach; the first that has a name counts.
_NAMES = {
    "METADATA_NAMES": Reach.METADATA,
    "LOCAL_NAMES": Reach.LOOPBACK,
    "LOCAL_PUBLIC_NAMES": Reach.LOOPBACK,
    "INSIDE_NAMES": Reach.PRIVATE,
}
_WILDCARD = lazy_regex(rf"(.+)\.(?:{words.alternatives('WILDCARD_DNS')})")
_DOTTED = lazy_regex(r"(?:^|[^0-9])(\d{1,3})[.-](\d{1,3})[.-](\d{1,3})[.-](\d{1,3})(?:$|[^0-9])")
_HEX = lazy_regex(r"(?:^|[.-])([0-9a-f]{8})(?:$|[.-])")


def _host_of_name(name: str, *, odd: bool) -> Host:
    wildcard = _WILDCARD.fullmatch(name)
    if wildcard:
        for address in _embedded_addresses(wildcard[1]):
            reach = classify_ip(address)
            if reach is not Reach.PUBLIC:
                return Host(str(address), reach, odd=True)
    if name in words.CLUSTER_NAMES:
        return Host(name, Reach.PRIVATE, odd)
    for table, reach in _NAMES.items():
        if _pattern(table).fullmatch(name):
            return Host(name, reach, odd or table == "LOCAL_PUBLIC_NAMES")
    return Host(name, Reach.PUBLIC, odd)


@cache
def _pattern(table: str) -> re.Pattern[str]:
    return re.compile(rf"(?:.+\.)?(?:{words.alternatives(table)})")


def _embedded_addresses(labels: str) -> Iterator[IPv4Address]:
    """The addresses spelled in a name's labels, such as `10-0-0-1` or `7f000001`."""
    for match in _DOTTED.finditer(labels):
        numbers = [int(group) for group in match.groups()]
        if max(numbers) <= 0xFF:
            yield IPv4Address(bytes(numbers))
    for match in _HEX.finditer(labels):
        yield IPv4Address(int(match[1], 16))
    if "--1" in labels:  # `::1`, spelt in a label
        yield IPv4Address("127.0.0.1")


_ADMINISTERS = lazy_regex(
    rf"(?i):(?:{words.alternatives('PORTS')})(?:[/?#\s]|$)"
    rf"|[/=](?:{words.alternatives('PATHS')}|v1\.\d{{2}})(?:[/?#=.&\s]|$)",
)
_ADMINISTERS_LOCALLY = lazy_regex(
    rf"(?i):(?:{words.alternatives('LOCAL_PORTS')})(?:[/?#\s]|$)"
    rf"|/(?:{words.alternatives('LOCAL_PATHS')})",
)
