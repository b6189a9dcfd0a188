"""Checks the grants of `isolate` entries as a start would, so that errors are known before one.

Reads the values with the functions that start servers, and names line and key.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from pipeguard.config.isolate_key import LIMITS, IsolateEntry
from pipeguard.config.strict_yaml import YamlEntry
from pipeguard.errors import PolicyError
from pipeguard.isolation.egress.hosts import HostRules
from pipeguard.isolation.egress.outer_proxy import NO_PROXY, OuterProxy, OuterProxyError
from pipeguard.isolation.profile import ResourceLimits, parse_limits, parse_port
from pipeguard.isolation.servers.sources import combine_grants
from pipeguard.launch.environment import refers

_T = TypeVar("_T")


def check_policy(entry: YamlEntry) -> None:
    """Note errors in the key `isolate` of a policy that keep servers from starting.

    Args:
        entry: the key's value.
    """
    for item in entry.items():
        if item.is_mapping:
            check_entry(item)


def check_proxy(entry: YamlEntry) -> None:
    """Note an unusable proxy in the key `egress` of a policy, unless it is in the keyring."""
    proxy = entry.known_fields(("proxy",)).get("proxy")
    text = proxy.text() if proxy else None
    if proxy is None or text in (None, NO_PROXY) or refers([text or ""]):
        return
    try:
        OuterProxy.parse(text or "")
    except OuterProxyError as error:
        proxy.wrong(str(error))


def check_entry(entry: YamlEntry) -> None:
    """Note the errors in one entry, of a policy or of a server.

    Args:
        entry: the entry; errors in its keys and types are noted too.
    """
    keys = entry.known_fields(IsolateEntry._fields)
    if "hosts" in keys:
        _check_hosts(keys["hosts"])
    if "loopback" in keys:
        for item in keys["loopback"].items():
            _check(item, item.text(), parse_port)
    if "limits" in keys and keys["limits"].is_mapping:
        for name, item in keys["limits"].known_fields(LIMITS).items():
            _check(item, item.text(), partial(_limit, name))


def missing_paths(entry: IsolateEntry) -> Iterator[str]:
    """Explain why paths of an entry cannot be granted now, each in a sentence."""
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
    except PolicyError as error:
        entry.wrong(str(error))
        return False
    return True


def _host(text: str) -> HostRules:
    return HostRules.parse([text])


def _limit(name: str, text: str) -> ResourceLimits:
    return parse_limits([f"{name}={text}"], ResourceLimits())
