"""The hosts that a sandbox may reach, as a value; every host in one spelling. No I/O.

A host is a name, in A-labels, lower case and without a final dot, or an address. A text that a C
library or a browser would read as an address (`127.1`, `0x7f000001`, `::ffff:127.0.0.1`) is an
address here, and never a name (inet_aton(3); WHATWG URL, 3.5 "ends in a number").
"""

import re
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple, Self

from pipeguard.errors import PolicyError
from pipeguard.firewall.lazy_regex import lazy_regex

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
Ports = frozenset[int]
LOCALHOST = "localhost"
LOOPBACK: tuple[Address, ...] = (IPv4Address("127.0.0.1"), IPv6Address("::1"))


class HostError(PolicyError, ValueError):
    """A text is neither a host nor a rule for one; the message says why."""


class HostAndPort(NamedTuple):
    """The target of a connection, as it was asked for."""

    host: Host
    port: int

    def __str__(self) -> str:
        """The target as `name:443` or `[::1]:443`."""
        host = f"[{self.host}]" if isinstance(self.host, IPv6Address) else self.host
        return f"{host}:{self.port}"

    @property
    def entry(self) -> str:
        """The target in the policy, without a web port."""
        return str(self).removesuffix(f":{self.port}" if self.port in DEFAULT_PORTS else "")


def parse_host(text: str) -> Host:
    """A host in the normal form for comparing rules, requests and answers.

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
    """Parse a host and port, as in `example.com:443` or `[::1]:443`.

    Raises:
        HostError: it is not one, or has no port and there is no default.
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
        HostError: it is not a port.
    """
    if not _PORT.fullmatch(text) or not 0 < int(text) < 65536:
        raise HostError(f"{_show(text)} is not a port: 1 to 65535")
    return int(text)


def _ipv6(text: str) -> Address:
    try:
        address = IPv6Address(text)
    except ValueError:
        raise HostError(f"{_show(text)} is not an IPv6 address") from None
    # A mapped address is the IPv4 one, by another spelling; a zone is of one machine's interfaces.
    return address.ipv4_mapped or IPv6Address(int(address))


def _ipv4(name: str) -> IPv4Address:
    """An address as inet_aton(3) reads it: one to four numbers, decimal, octal or hexadecimal."""
    numbers = ["0" if part == "0x" else part for part in name.split(".")]
    with suppress(OSError):  # too many, too large, or an 8 in an octal one
        if all(map(_NUMBER.fullmatch, numbers)):
            return IPv4Address(socket.inet_aton(".".join(numbers)))
    raise HostError(f"{_show(name)} is not an IPv4 address")


def _to_ascii(text: str) -> str:
    """A name in A-labels, its look-alike forms mapped first (UTS 46, as browsers do)."""
    import idna  # tables of half a megabyte, for names that few clients send

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
        hosts: ports by name, by literal address, or by `*.` and a domain for all names below it
            and not the domain itself.
        loopback: ports of this machine's loopback addresses.
        private: those of `hosts` that may lead to an address of a private network.
    """

    hosts: Mapping[Host, Ports] = {}
    loopback: Ports = frozenset()
    private: Mapping[Host, Ports] = {}

    @classmethod
    def parse(cls, entries: Iterable[str], loopback: Iterable[int] = ()) -> Self:
        """Rules from entries like `api.github.com`, `*.example.com` or `10.0.0.5:5432`.

        `git.corp.example=private` may also lead to an address of a private network.

        Raises:
            HostError: an entry is not a host, or a port not a port; the message has it.
        """
        hosts: dict[Host, Ports] = {}
        private: dict[Host, Ports] = {}
        for count, entry in enumerate(entries, 1):
            if count > MAX_RULES:
                raise HostError(f"more than {MAX_RULES:,} hosts")
            text = entry.strip()
            host, ports = parse_entry(text.removesuffix(PRIVATE))
            is_private = text.endswith(PRIVATE)
            if is_private and not isinstance(host, str):
                raise HostError(f"{_show(text)}: an address is given without `=private`")
            for table in (hosts, private) if is_private else (hosts,):
                table[host] = table.get(host, frozenset()) | ports
        rules = cls(hosts, frozenset(parse_port(str(port)) for port in loopback), private)
        if len(rules.ports) > MAX_PORTS:
            raise HostError(f"more than {MAX_PORTS} different ports")
        return rules

    def allowed_ports(self, host: Host) -> Ports:
        """The ports at which a host may be reached; empty if it may not be."""
        if not isinstance(host, str):
            ports = self.hosts.get(host, frozenset())
            return ports | self.loopback if host in LOOPBACK else ports
        if is_localhost(host):  # of its addresses, only named ones are connected to
            return self.loopback.union(*(self.hosts.get(each, ()) for each in LOOPBACK))
        return _ports_of_name(self.hosts, host)

    def may_be_private(self, host: Host, port: int) -> bool:
        """True if a name may lead to an address of a private network at this port."""
        return isinstance(host, str) and port in _ports_of_name(self.private, host)

    @property
    def ports(self) -> Ports:
        """All ports in the rules, at which a sandbox listens for direct connections."""
        return self.loopback.union(*self.hosts.values())


def _ports_of_name(table: Mapping[Host, Ports], name: str) -> Ports:
    """The ports of a name, from its own rule and those of its parent domains."""
    ports = table.get(name, frozenset())
    while table and (name := name.partition(".")[2]):
        ports |= table.get(f"*.{name}", frozenset())
    return ports


def is_this_machine(host: str) -> bool:
    """True for a host, as displayed, that is this machine: its ports are granted by number."""
    return is_localhost(host) or host in {str(address) for address in LOOPBACK}


def is_localhost(name: str) -> bool:
    """True for a name of the loopback addresses (RFC 6761, 6.3)."""
    return name == LOCALHOST or name.endswith(f".{LOCALHOST}")


def parse_entry(entry: str) -> tuple[Host, Ports]:
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
