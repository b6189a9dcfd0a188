"""Name the limit that ended an isolated server, from its control group and its last signal."""

import signal
from collections.abc import Callable, Iterator

from pipeguard.isolation.covers import UNCOVERED
from pipeguard.isolation.profile import ResourceLimits, format_limit
from pipeguard.launch.command import LOST, SIGNAL_BASE, Exit

# Called once a server has ended: limits that its control group saw it run into, and why it was
# ended (WHY_ENDED), or 0.
Ended = Callable[[], tuple[tuple[str, ...], int]]

_SIGNALS = {"SIGXCPU": "cpu", "SIGXFSZ": "file-size"}  # that the kernel sends for one reason only
# Why a server was ended for a path that must stay covered (isolation.covers).
WHY_ENDED = {
    LOST: "PipeGuard's process that keeps covered what it must not read or change was ended",
    UNCOVERED: "what it must not read or change was replaced, and could not be covered again",
}


def limits_told(
    name: str, ended: Exit | None, limits: ResourceLimits, exceeded: tuple[str, ...], lost: int = 0
) -> Iterator[str]:
    """Explain why a server ended.

    Args:
        name: of the server.
        ended: its exit; None if unknown.
        limits: the server's limits.
        exceeded: limits that its control group saw it reach.
        lost: why the covering process ended it, if it did (WHY_ENDED).
    """
    if lost:
        yield f"{name} was ended: {WHY_ENDED[lost]}."
    number = 0 if ended is None or ended.signal_number is not None else ended.code - SIGNAL_BASE
    by = signal.Signals(number).name if number in set(signal.Signals) else ""
    for limit in dict.fromkeys((*exceeded, *filter(None, [_SIGNALS.get(by)]))):
        value = getattr(limits, limit.replace("-", "_"))
        yield f"{name} ran into its limit {format_limit(limit, value)}."
    if by == "SIGSYS":
        yield f"{name} made a system call that is forbidden to isolated servers, and was killed."
