"""What one sandbox may use, and what the thread of its connections shares with other threads."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.isolation.egress.names import NameAddresses

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

    from pipeguard.isolation.egress.hosts import HostRules
    from pipeguard.isolation.egress.judge import Report
    from pipeguard.isolation.egress.outer_proxy import OuterProxies


class EgressLimits(NamedTuple):
    """What one sandbox may use.

    Attributes:
        connections: open at once; fewer where this process has fewer descriptors.
        head_seconds: for a request to the proxy to come.
        connect_seconds: to resolve a name and connect.
        idle_seconds: without a byte in either direction.
    """

    connections: int = 2048
    head_seconds: float = 10.0
    connect_seconds: float = 10.0
    idle_seconds: float = 600.0


class EgressState:
    """What the thread of the connections shares with those that change it; each field is swapped.

    Attributes:
        rules: the hosts that may be reached, as they are now.
        report: called for each connection that ended or was refused, in that thread or in one that
            asks what the kernel refused.
        resolve: gives the addresses of a name, in threads of its own; the system's if None.
        limits: do not change.
        proxies: gives those of the user's own network; none if None.
        names: the addresses that names have in the sandbox.
        added: sockets for direct connections that are to be accepted on, too.
        is_closed: whether all is to end.
    """

    __slots__ = ("added", "is_closed", "limits", "names", "proxies", "report", "resolve", "rules")

    def __init__(
        self,
        rules: HostRules,
        report: Report,
        resolve: Callable[[str], Iterable[str]] | None,
        limits: EgressLimits,
        proxies: Callable[[], OuterProxies] | None,
    ) -> None:
        self.rules = rules
        self.report = report
        self.resolve = resolve
        self.limits = limits
        self.proxies = proxies
        self.names = NameAddresses()
        self.added: deque[socket.socket] = deque()
        self.is_closed = False
