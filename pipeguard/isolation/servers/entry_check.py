"""Checks what entries of `isolate` give as a start does, so that it is known before one.

Reads the values with the functions by which servers are started, and names line and key.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

from pipeguard.config.isolate_key import LIMITS, IsolateEntry, entry_fields
from pipeguard.errors import PolicyError
from pipeguard.isolation.egress.hosts import HostError, HostRules
from pipeguard.isolation.egress.outer_proxy import NO_PROXY, OuterProxy, OuterProxyError
from pipeguard.isolation.profile import ResourceLimits, parse_limits, parse_port
from pipeguard.isolation.servers.sources import combine_grants
from pipeguard.launch.environment import refers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipeguard.config.strict_yaml import YamlEntry

_T = TypeVar("_T")


def check_policy(entry: YamlEntry) -> None:
    """Note all in the key `isolate` of a policy with which no server starts.

    Args:
        entry: the key's value.
    """
    for item in entry.items():
        if item.is_mapping:
            check_entry(item)


def check_proxy(entry: YamlEntry) -> None:
    """Note a proxy in the key `egress` that no server could use, unless it is in the keyring."""
    proxy = entry.known_fields(("proxy",)).get("proxy")
    text = proxy.text() if proxy is not None else None
    if proxy is None or text in (None, NO_PROXY) or refers({"": text or ""}):
        return
    try:
        OuterProxy.parse(text or "")
    except OuterProxyError as error:
        proxy.wrong(str(error))


def check_entry(entry: YamlEntry) -> None:
    """Note what is wrong in one entry, of a policy or of a server.

    Args:
        entry: the entry; what is wrong with its keys and types is noted too.
    """
    keys = entry_fields(entry)
    if "hosts" in keys:
        _check_hosts(keys["hosts"])
    for item in keys["loopback"].items() if "loopback" in keys else ():
        _check(item, item.text(), parse_port)
    limits = keys["limits"] if "limits" in keys and keys["limits"].is_mapping else None
    for name, item in limits.known_fields(LIMITS).items() if limits else ():
        _check(item, item.text(), partial(_limit, name))


def missing_paths(entry: IsolateEntry) -> Iterator[str]:
    """Why paths of an entry cannot be given now, each as a sentence: no server starts with them."""
    for key in ("read", "write"):
        for text in getattr(entry, key):
            try:
                combine_grants([IsolateEntry(entry.server, read=(text,))])
            except PolicyError as error:
                yield f"isolate, {key}: {error}"


def _check_hosts(entry: YamlEntry) -> None:
    items = entry.items()
    valid = [text for item in items if (text := item.text()) and _check(item, text, _host)]
    if len(valid) == len(items):
        _check(entry, valid, HostRules.parse)  # together: how many ports there are


def _check(entry: YamlEntry, value: _T | None, read: Callable[[_T], object]) -> bool:
    if value is None:  # which is noted already
        return False
    try:
        read(value)
    except (PolicyError, HostError) as error:
        entry.wrong(str(error))
        return False
    return True


def _host(text: str) -> HostRules:
    return HostRules.parse([text])


def _limit(name: str, text: str) -> ResourceLimits:
    return parse_limits([f"{name}={text}"], ResourceLimits())
