"""The hosts that a sandbox may reach, as a value; every host in one spelling. No I/O.

A host is a name, in A-labels, lower case and without a final dot, or an address. What a C library
or a browser would read as an address (`127.1`, `0x7f000001`, `::ffff:127.0.0.1`) is an address
here, and never a name (inet_aton(3); WHATWG URL, 3.5 "ends in a number").
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.firewall.lazy_regex import lazy_regex

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DEFAULT_PORTS = frozenset({443, 80})
PRIVATE = "=private"  # after a host: its name may lead into a private network
MAX_NAME_CHARS = 253  # RFC 1035, 2.3.4, without the final dot
MAX_HOST_CHARS = 1024  # before it is normalised
MAX_RULES = 4096
MAX_PORTS = 200  # different ones: a sandbox has a listening socket for each
SHOWN_CHARS = 80

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"  # RFC 1123, 2.1, and `_` as in practice
_NAME = lazy_regex(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_NUMBER = lazy_regex(r"0x[0-9a-f]*|[0-9]+", re.ASCII)
_PORT = lazy_regex(r"[0-9]{1,5}", re.ASCII)

Address = IPv4Address | IPv6Address
Host = str | Address
LOCALHOST = "localhost"
LOOPBACK: tuple[Address, ...] = (IPv4Address("127.0.0.1"), IPv6Address("::1"))


class HostError(ValueError):
    """A text is no host, or no rule for one; the message says why."""


class HostAndPort(NamedTuple):
    """The target of a connection, as it was asked for."""

    host: Host
    port: int

    def __str__(self) -> str:
        return show_host(self.host, self.port)


def show_host(host: Host, port: int) -> str:
    """A host and port as `name:443` or `[::1]:443`."""
    return f"[{host}]:{port}" if isinstance(host, IPv6Address) else f"{host}:{port}"


def parse_host(text: str) -> Host:
    """A host in the one form that rules, requests and answers are compared in.

    Args:
        text: a name or an address, an IPv6 one with or without brackets.

    Raises:
        HostError: it is neither.
    """
    if len(text) > MAX_HOST_CHARS:
        raise HostError("a host has at most 253 characters")
    if text.startswith("["):
        if not text.endswith("]"):
            raise HostError(f"{_show(text)} has a bracket that is not closed")
        return _ipv6(text[1:-1])
    if ":" in text:
        return _ipv6(text)
    name = (text if text.isascii() else _to_ascii(text)).lower().removesuffix(".")
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        return _ipv4(name)
    if len(name) > MAX_NAME_CHARS or not _NAME.fullmatch(name):
        raise HostError(f"{_show(text)} is not a host name")
    return name


def parse_authority(text: str, default_port: int | None = None) -> HostAndPort:
    """A host and port, as in `example.com:443` or `[::1]:443`.

    Raises:
        HostError: it is none; or has no port, and there is no default.
    """
    host, colon, port = text.rpartition(":")
    if not colon or (text.startswith("[") and text.endswith("]")):
        if default_port is None:
            raise HostError(f"{_show(text)} has no port")
        return HostAndPort(parse_host(text), default_port)
    if ":" in host and not host.startswith("["):
        raise HostError(f"{_show(text)}: an IPv6 address with a port needs brackets")
    return HostAndPort(parse_host(host), parse_port(port))


def parse_port(text: str) -> int:
    """A port from 1 to 65535.

    Raises:
        HostError: it is none.
    """
    if not _PORT.fullmatch(text) or not 0 < int(text) < 65536:
        raise HostError(f"{_show(text)} is not a port: 1 to 65535")
    return int(text)


def reaches(entry: str, what: str, *, also_below: bool = True) -> bool:
    """True if an entry gives a host, or a named port of it; False for no host.

    Args:
        entry: as the policy has it.
        what: likewise; without a port it stands for all.
        also_below: whether `*.` and a domain counts for the names below it.
    """
    try:
        held, held_ports = parse_entry(entry.strip().removesuffix(PRIVATE))
        asked, ports = parse_entry(what.strip().removesuffix(PRIVATE))
    except HostError:
        return False
    is_below = also_below and str(held).startswith("*.") and str(asked).endswith(str(held)[1:])
    return (held == asked or is_below) and (ports == DEFAULT_PORTS or bool(ports & held_ports))


def _ipv6(text: str) -> Address:
    try:
        address = IPv6Address(text)
    except ValueError:
        raise HostError(f"{_show(text)} is not an IPv6 address") from None
    # A mapped address is the IPv4 one, by another spelling; a zone is of one machine's interfaces.
    return address.ipv4_mapped or IPv6Address(int(address))


def _ipv4(name: str) -> IPv4Address:
    """An address as inet_aton(3) reads it: one to four numbers, decimal, octal or hexadecimal."""
    parts = name.split(".")
    numbers = [_number(part) for part in parts]
    *first, last = numbers
    if len(parts) > 4 or max(first, default=0) > 255 or last >= 256 ** (4 - len(first)):
        raise HostError(f"{_show(name)} is not an IPv4 address")
    return IPv4Address(sum(number << 8 * (3 - at) for at, number in enumerate(first)) + last)


def _number(part: str) -> int:
    if len(part) > 24 or not _NUMBER.fullmatch(part):
        raise HostError(f"{_show(part)} is not a part of an IPv4 address")
    if part.startswith("0x"):
        return int(part[2:] or "0", 16)
    if part.startswith("0") and part.strip("0"):
        if not set(part) <= set("01234567"):
            raise HostError(f"{_show(part)} is not an octal number")
        return int(part, 8)
    return int(part)


def _to_ascii(text: str) -> str:
    """A name in A-labels, its look-alike forms mapped first (UTS 46, as browsers do)."""
    import idna  # tables of half a megabyte, for what few clients send

    try:
        return idna.encode(text, uts46=True, std3_rules=False).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        raise HostError(f"{_show(text)} is not an international host name") from None


def _show(text: str) -> str:
    """A text in a message: quoted, in ASCII, cut."""
    return ascii(text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}...")


class HostRules(NamedTuple):
    """The hosts that may be reached; `parse` makes one from the entries of a policy.

    Attributes:
        names: ports by name.
        below: ports by domain, for all names below it and not the domain itself.
        addresses: ports by literal address.
        loopback: ports of this machine's loopback addresses.
        private: ports by name, or by `*.` and a domain, at which the name may lead to an address
            of a private network.
    """

    names: Mapping[str, frozenset[int]] = MappingProxyType({})
    below: Mapping[str, frozenset[int]] = MappingProxyType({})
    addresses: Mapping[Address, frozenset[int]] = MappingProxyType({})
    loopback: frozenset[int] = frozenset()
    private: Mapping[str, frozenset[int]] = MappingProxyType({})

    @classmethod
    def parse(cls, entries: Iterable[str], loopback: Iterable[int] = ()) -> HostRules:
        """Rules from entries like `api.github.com`, `*.example.com` or `10.0.0.5:5432`.

        `git.corp.example=private` may also lead to an address of a private network.

        Raises:
            HostError: an entry is not a host, or a port not a port; the message has it.
        """
        names: dict[str, frozenset[int]] = {}
        below: dict[str, frozenset[int]] = {}
        addresses: dict[Address, frozenset[int]] = {}
        private: dict[str, frozenset[int]] = {}
        for count, entry in enumerate(entries, 1):
            if count > MAX_RULES:
                raise HostError(f"more than {MAX_RULES:,} hosts")
            text = entry.strip()
            host, ports = parse_entry(text.removesuffix(PRIVATE))
            if text.endswith(PRIVATE):
                if not isinstance(host, str):
                    raise HostError(f"{_show(text)}: an address is given without `=private`")
                private[host] = private.get(host, frozenset()) | ports
            if not isinstance(host, str):
                addresses[host] = addresses.get(host, frozenset()) | ports
            elif host.startswith("*."):
                below[host[2:]] = below.get(host[2:], frozenset()) | ports
            else:
                names[host] = names.get(host, frozenset()) | ports
        local = frozenset(parse_port(str(port)) for port in loopback)
        rules = cls(names, below, addresses, local, private)
        if len(rules.ports) > MAX_PORTS:
            raise HostError(f"more than {MAX_PORTS} different ports")
        return rules

    def allowed_ports(self, host: Host) -> frozenset[int]:
        """The ports at which a host may be reached; none where it may not."""
        if not isinstance(host, str):
            ports = self.addresses.get(host, frozenset())
            return ports | self.loopback if host in LOOPBACK else ports
        if is_localhost(host):  # of its addresses, those that are named are connected to
            return self.loopback.union(*(self.addresses.get(each, ()) for each in LOOPBACK))
        ports = self.names.get(host, frozenset())
        while self.below and (host := host.partition(".")[2]):
            ports |= self.below.get(host, frozenset())
        return ports

    def names_address(self, address: Address, port: int) -> bool:
        """True if this very address and port is named, so that it may be a private one."""
        return port in self.allowed_ports(address)

    def may_be_private(self, host: Host, port: int) -> bool:
        """True if a name may lead to an address of a private network at this port."""
        if not self.private or not isinstance(host, str):
            return False
        if port in self.private.get(host, ()):
            return True
        while host := host.partition(".")[2]:
            if port in self.private.get(f"*.{host}", ()):
                return True
        return False

    @property
    def ports(self) -> frozenset[int]:
        """All ports of all rules: those that a sandbox listens at for direct connections."""
        tables = (self.names, self.below, self.addresses)
        return self.loopback.union(*(ports for table in tables for ports in table.values()))


def is_own_port(host: str) -> bool:
    """True for a host as it is shown whose ports are those of this machine, given by number."""
    return is_localhost(host) or host in {str(address) for address in LOOPBACK}


def is_localhost(name: str) -> bool:
    """True for a name of the loopback addresses (RFC 6761, 6.3)."""
    return name == LOCALHOST or name.endswith(f".{LOCALHOST}")


def parse_entry(entry: str) -> tuple[Host, frozenset[int]]:
    """The host of one entry without `=private`, or `*.` and a domain, and its ports.

    Raises:
        HostError: it is not a host, or a port not a port; the message has it.
    """
    text = entry.strip()
    if text == "*":
        raise HostError("'*' is every host: name hosts, or do not restrict the network")
    if "/" in text or "@" in text:
        raise HostError(f"{_show(text)} is not a bare host name such as api.example.com")
    wildcard, domain = ("*.", text[2:]) if text.startswith("*.") else ("", text)
    if domain.count(":") > 1 and not domain.startswith("["):
        return parse_host(domain), DEFAULT_PORTS
    host, port = parse_authority(domain, default_port=0)
    if isinstance(host, str) and is_localhost(host):
        raise HostError(
            f"{_show(text)} is this machine. Name a port of it: --loopback {port or 'PORT'}, or"
            f" `loopback: [{port or 'PORT'}]` in the policy"
        )
    if wildcard and not isinstance(host, str):
        raise HostError(f"{_show(text)}: an address has no subdomains")
    return f"{wildcard}{host}" if wildcard else host, frozenset({port}) if port else DEFAULT_PORTS
