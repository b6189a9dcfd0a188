"""The proxy that the user's own network demands, and the hosts it is used for. Values; no I/O.

The proxy gets names unresolved and resolves them itself. It is never asked for this machine,
link-local addresses or metadata services: those would be the proxy's own.
"""

import os
from binascii import b2a_base64
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import NamedTuple, Self

from pipeguard.detect.checks.addresses import Reach, find_reach
from pipeguard.isolation.egress.hosts import (
    HostAndPort,
    HostError,
    is_localhost,
    parse_authority,
    parse_host,
)
from pipeguard.secrets_in_use import in_use

WEB_PORT = 80
HTTP, HTTPS = "http", "https"
_PORTS = {HTTP: WEB_PORT, HTTPS: 443}
_KINDS = "http:// or https:// and HOST:PORT"
NO_PROXY = "none"  # in a policy: connect by itself, whatever the environment says
MAX_EXCEPTIONS = 1024  # of a NO_PROXY
_OWN = {Reach.LOOPBACK, Reach.ANY, Reach.LINK, Reach.METADATA}


class OuterProxyError(ValueError):
    """A setting does not name a usable proxy; the message contains nothing of a login."""


class OuterProxy(NamedTuple):
    """One proxy.

    Attributes:
        at: its host and port.
        authorization: the value of `Proxy-Authorization`; empty for none.
        kind: HTTP, or HTTPS for a proxy reached over TLS.
    """

    at: HostAndPort
    authorization: bytes = b""
    kind: str = HTTP

    def __repr__(self) -> str:
        """Hide the login."""
        return f"OuterProxy({self.at})"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a proxy's URL, such as `http://user:password@proxy.example:3128`.

        Raises:
            OuterProxyError: it is not the URL of a usable proxy.
        """
        scheme, mark, rest = text.strip().rpartition("://")
        kind = scheme.lower() if mark else HTTP
        if kind not in _PORTS:
            named = kind if kind.isalnum() and len(kind) <= 8 else "of that kind"
            raise OuterProxyError(f"a proxy must be {_KINDS}, not {named}")
        login, _, authority = rest.removesuffix("/").rpartition("@")
        try:
            at = parse_authority(authority, _PORTS[kind])
        except HostError:  # its text may have a part of the login
            raise OuterProxyError(
                f"a proxy must be {_KINDS}; in a login, write / and @ as %2F and %40"
            ) from None
        return cls(at, b"Basic " + _encode_login(login) if login else b"", kind)


def _encode_login(login: str) -> bytes:
    """Encode the name and password of a URL (RFC 7617)."""
    from urllib.parse import unquote_to_bytes  # 4 ms

    user, _, password = login.partition(":")
    decoded = unquote_to_bytes(os.fsencode(user)), unquote_to_bytes(os.fsencode(password))
    encoded = b2a_base64(b":".join(decoded), newline=False)
    for secret in (os.fsencode(password), decoded[1], encoded):
        in_use(secret.decode("utf-8", "ignore"))
    return encoded


class ProxyExceptions:
    """The hosts that are reached without a proxy, as curl reads `NO_PROXY`.

    `example.com` and `.example.com` are that domain and all below it, an address is itself, a
    network as `10.0.0.0/8` its addresses if they are asked for as such, and a single `*` is every
    host.

    Args:
        text: entries, between commas or blanks; other texts fit no host.
    """

    def __init__(self, text: str = "") -> None:
        self._is_all = text.strip() == "*"
        self._domains: set[str] = set()
        self._networks: list[IPv4Network | IPv6Network] = []
        for entry in text.replace(",", " ").split()[:MAX_EXCEPTIONS]:
            self._add(entry)

    def _add(self, entry: str) -> None:
        try:
            if "/" in entry:
                if not entry.rpartition("/")[2].isdecimal():
                    return  # a mask in another form, which programs read in different ways
                self._networks.append(ip_network(entry.strip("[]"), strict=False))
                return
            host = parse_host(entry.removeprefix("."))
        except ValueError:
            return
        if isinstance(host, str):
            self._domains.add(host)
        else:
            self._networks.append(ip_network(host))

    def has(self, target: HostAndPort) -> bool:
        """True if a host is to be reached without a proxy."""
        host = target.host
        if self._is_all:
            return True
        if not isinstance(host, str):
            return any(host in network for network in self._networks)
        while host:
            if host in self._domains:
                return True
            host = host.partition(".")[2]
        return False


class OuterProxies(NamedTuple):
    """The outer proxy for each kind of target; none by default.

    Attributes:
        web: for port 80.
        tunnel: for every other port.
        exceptions: the hosts that are reached directly.
        wrong: why a configured proxy is unusable: then hosts that need one are not reached.
    """

    web: OuterProxy | None = None
    tunnel: OuterProxy | None = None
    exceptions: ProxyExceptions = ProxyExceptions()
    wrong: str = ""

    def of(self, target: HostAndPort) -> OuterProxy | None:
        """The proxy to reach a target through; None for a direct connection.

        Raises:
            OuterProxyError: the configured one is unusable.
        """
        if is_own(target) or self.exceptions.has(target):
            return None
        if self.wrong:
            raise OuterProxyError(self.wrong)
        return self.web if target.port == WEB_PORT else self.tunnel


def is_own(target: HostAndPort) -> bool:
    """True for a literal address or name of this machine, its link, or the metadata service."""
    host = target.host
    if isinstance(host, str):
        return is_localhost(host)
    return find_reach(str(host)) in _OWN


def merge_proxies(setting: str | None, variables: Mapping[str, str]) -> OuterProxies:
    """Merge a policy with an environment.

    Args:
        setting: of the policy, in place of the environment's: a URL, or `none`.
        variables: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in small letters first.
    """
    if setting == NO_PROXY:
        return OuterProxies()
    exceptions = ProxyExceptions(_first(variables, "NO_PROXY"))
    try:
        if setting is not None:
            one = _parse_variable("egress.proxy in your policy", setting)
            return OuterProxies(one, one, exceptions)
        web = _parse_variable("HTTP_PROXY", _first(variables, "HTTP_PROXY", "ALL_PROXY"))
        tunnel = _parse_variable("HTTPS_PROXY", _first(variables, "HTTPS_PROXY", "ALL_PROXY"))
    except OuterProxyError as error:
        return OuterProxies(exceptions=exceptions, wrong=str(error))
    return OuterProxies(web, tunnel, exceptions)


def _parse_variable(name: str, text: str) -> OuterProxy | None:
    try:
        return OuterProxy.parse(text) if text else None
    except OuterProxyError as error:
        raise OuterProxyError(f"{name}: {error}") from None


def _first(variables: Mapping[str, str], *names: str) -> str:
    """The first of some variables that is set; each is tried in lower case first."""
    values = (variables.get(each, "").strip() for name in names for each in (name.lower(), name))
    return next(filter(None, values), "")
