"""The variables that name a proxy, as an isolated server gets them.

The proxy of the user's network is out of its reach, and its login none of its business. PipeGuard's
own is there in its place, and goes on to that one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeguard.isolation.egress.sockets import PROXY_PORT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeguard.isolation.egress.hosts import HostRules

NAMES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"})
OWN = f"http://127.0.0.1:{PROXY_PORT}"


def with_own_proxy(variables: Mapping[str, str], rules: HostRules) -> dict[str, str]:
    """Variables with PipeGuard's proxy in place of any that the server may not connect to itself.

    Args:
        variables: of the server.
        rules: the hosts that it may reach.
    """
    return {
        name: OWN if name.upper() in NAMES and value and not _is_given(value, rules) else value
        for name, value in variables.items()
    }


def _is_given(url: str, rules: HostRules) -> bool:
    from pipeguard.isolation.egress.outer_proxy import OuterProxy, OuterProxyError

    try:
        host, port = OuterProxy.parse(url).at
    except OuterProxyError:
        return False
    return port in rules.ports_of(host)
