"""Has installers in a sandbox without their registry fail at once.

A host that was not given is refused as soon as its name is asked for, but npm, uv and pip ask again
and again, npm for minutes: a server that installs a part of itself at its first use would seem to
hang. They are told by their variables not to try again; what a person sets counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeguard.isolation.packages import NPM_HOSTS, PYPI_HOSTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeguard.isolation.egress.hosts import HostRules

# From the documentation of npm ("config"), uv ("environment variables") and pip ("configuration").
_ONCE: Mapping[tuple[str, ...], tuple[str, ...]] = {
    NPM_HOSTS: ("npm_config_fetch_retries",),
    PYPI_HOSTS: ("UV_HTTP_RETRIES", "PIP_RETRIES"),
}


def without_retries(variables: Mapping[str, str], rules: HostRules) -> dict[str, str]:
    """A server's variables, and that installers whose registry it was not given try once.

    Args:
        variables: of the server.
        rules: the hosts that it may connect to.
    """
    added = {
        name: "0"
        for hosts, names in _ONCE.items()
        if not any(rules.ports_of(host) for host in hosts)
        for name in names
    }
    return added | dict(variables)
