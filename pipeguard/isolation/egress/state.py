"""The rights of one sandbox, and the state shared by its connections' thread and other threads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.isolation.egress.dns import NameAddresses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipeguard.isolation.egress.hosts import HostRules
    from pipeguard.isolation.egress.judge import Report
    from pipeguard.isolation.egress.outer_proxy import OuterProxies

MAX_BYTES = 256 * 2**10  # of one reading: a single stream goes at full speed
MIN_BYTES = 4 * 2**10
BUDGET_BYTES = 16 * 2**20


class ReadBuffer:
    """A buffer for reading, emptied before the next read.

    Attributes:
        part: as much of it as one connection may read at once.
    """

    def __init__(self) -> None:
        self._whole = memoryview(bytearray(MAX_BYTES))
        self.part = self._whole

    def share(self, connections: int) -> None:
        """Divide the budget among `connections`: two directions, a read and a rest each."""
        size = BUDGET_BYTES // (4 * max(1, connections))
        self.part = self._whole[: max(MIN_BYTES, min(MAX_BYTES, size))]

    def contents(self, length: int) -> bytes:
        """The bytes that were read."""
        return bytes(self._whole[:length])


class EgressLimits(NamedTuple):
    """The limits of one sandbox.

    Attributes:
        connections: the largest number at once; fewer if this process has fewer descriptors.
        head_seconds: the time for a request to the proxy to arrive.
        connect_seconds: the time to resolve a name and connect.
        idle_seconds: the longest time without a byte in either direction.
    """

    connections: int = 2048
    head_seconds: float = 10.0
    connect_seconds: float = 10.0
    idle_seconds: float = 600.0


@dataclass(slots=True)
class EgressState:
    """The state that the connections' thread shares with its writers; each field is swapped.

    Attributes:
        rules: the hosts that may be reached now.
        report: called for each connection that ended or was refused, in that thread or in one that
            asks for the kernel's refusals; it must not raise.
        limits: do not change.
        resolve: gives the addresses of a name, in threads of its own; the system's if None.
        proxies: those of the user's own network; none if None.
        names: the addresses that names have in the sandbox.
        is_closed: True once everything is to end.
    """

    rules: HostRules
    report: Report
    limits: EgressLimits = field(default_factory=EgressLimits)
    resolve: Callable[[str], Iterable[str]] | None = None
    proxies: OuterProxies | None = None
    names: NameAddresses = field(default_factory=NameAddresses)
    is_closed: bool = False
