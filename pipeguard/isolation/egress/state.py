"""The rights of one sandbox, and what the thread of its connections shares with other threads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.isolation.egress.dns import NameAddresses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipeguard.isolation.egress.hosts import HostRules
    from pipeguard.isolation.egress.judge import Report
    from pipeguard.isolation.egress.outer_proxy import OuterProxies

MAX_BYTES = 256 * 2**10  # of one reading: a stream alone goes at full speed
MIN_BYTES = 4 * 2**10
BUDGET_BYTES = 16 * 2**20


class ReadBuffer:
    """Memory that is read into, and handed on before the next reading.

    Attributes:
        part: as much of it as one connection may read at once.
    """

    def __init__(self) -> None:
        self._whole = memoryview(bytearray(MAX_BYTES))
        self.part = self._whole

    def share(self, connections: int) -> None:
        """Divide the budget among `count` connections: two directions, a read and a rest each."""
        size = BUDGET_BYTES // (4 * max(1, connections))
        self.part = self._whole[: max(MIN_BYTES, min(MAX_BYTES, size))]

    def contents(self, length: int) -> bytes:
        """The bytes that were read."""
        return bytes(self._whole[:length])


SECONDS = 60.0
MAX_KEYS = 1024  # different ones in a minute; beyond them nothing is told


class OncePerMinute:
    """A limit on reports: one a minute for each key."""

    def __init__(self) -> None:
        self._told_at: dict[str, float] = {}  # in order of time

    def is_due(self, key: str, now: float) -> bool:
        """True if a key is to be reported now; if so, it counts as reported."""
        while self._told_at:
            oldest = next(iter(self._told_at))
            if now - self._told_at[oldest] < SECONDS:
                break
            del self._told_at[oldest]
        if key in self._told_at or len(self._told_at) >= MAX_KEYS:
            return False
        self._told_at[key] = now
        return True


class EgressLimits(NamedTuple):
    """The rights of one sandbox.

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


@dataclass(slots=True)
class EgressState:
    """The state that the connections' thread shares with its writers; each field is swapped.

    Attributes:
        rules: the hosts that may be reached, as they are now.
        report: called for each connection that ended or was refused, in that thread or in one that
            asks what the kernel refused.
        resolve: gives the addresses of a name, in threads of its own; the system's if None.
        limits: do not change.
        proxies: gives those of the user's own network; none if None.
        names: the addresses that names have in the sandbox.
        is_closed: True if all is to end.
    """

    rules: HostRules
    report: Report
    resolve: Callable[[str], Iterable[str]] | None
    limits: EgressLimits
    proxies: Callable[[], OuterProxies] | None
    names: NameAddresses = field(default_factory=NameAddresses)
    is_closed: bool = False
