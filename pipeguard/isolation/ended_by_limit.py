"""Says of an isolated server that ended which limit may have ended it, and how to raise that.

What a server was refused while it ran (a call that the filter refuses, memory that it is not given,
a full `/tmp`) only it sees: the kernel tells nobody else.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from pipeguard.launch.command import SIGNAL_BASE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeguard.isolation.profile import ResourceLimits
    from pipeguard.launch.command import Exit

_SIGNALS = {"SIGXCPU": "cpu", "SIGXFSZ": "file-size"}  # that the kernel sends for one reason alone
_OUT_OF_MEMORY = ("SIGABRT", "SIGTRAP", "SIGILL", "SIGSEGV")  # how runtimes end without memory


def limits_told(
    name: str, ended: Exit | None, limits: ResourceLimits, exceeded: tuple[str, ...]
) -> Iterator[str]:
    """What to tell the user of a server that has ended.

    Args:
        name: of the server.
        ended: how; None where that is not known.
        limits: that it had.
        exceeded: limits that its control group saw it run into.
    """
    by = _signal(ended)
    known = dict.fromkeys((*exceeded, *([_SIGNALS[by]] if by in _SIGNALS else [])))
    for limit in known:
        value = getattr(limits, limit.replace("-", "_"))
        yield (
            f"{name} ran into its limit {limit}={value}. If it needs more: --limit {limit}=VALUE,"
            " or `limits` under `isolate`."
        )
    if by == "SIGSYS":
        yield f"{name} made a system call that no isolated server may make, and was ended for it."
    if by in _OUT_OF_MEMORY and "memory" not in known and limits.memory is not None:
        yield (
            f"{name} crashed ({by}). If memory was short: each of its processes has"
            f" {limits.memory} bytes of data, and --limit memory=VALUE gives more."
        )


def _signal(ended: Exit | None) -> str:
    """The signal that ended the server inside, which its engine tells by an exit code."""
    if ended is None or ended.signal_number is not None or ended.code <= SIGNAL_BASE:
        return ""
    try:
        return signal.Signals(ended.code - SIGNAL_BASE).name
    except ValueError:
        return ""
