"""Name the limit that ended an isolated server, and how to raise it.

The control group and the signal of its end tell. A limit that a server only runs into, as a full
`/tmp`, its own words tell.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from pipeguard.isolation.covers import UNCOVERED
from pipeguard.isolation.profile import ResourceLimits, format_limit
from pipeguard.launch.command import SIGNAL_BASE
from pipeguard.launch.lifeline import LOST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeguard.launch.command import Exit

_SIGNALS = {"SIGXCPU": "cpu", "SIGXFSZ": "file-size"}  # that the kernel sends for one reason alone
_OUT_OF_MEMORY = ("SIGABRT", "SIGTRAP", "SIGILL", "SIGSEGV")  # how runtimes end without memory
# Why a server was ended for what must stay covered in its sandbox (isolation.covers).
WHY_ENDED = {
    LOST: "PipeGuard's process that keeps covered what it must not read or change was ended",
    UNCOVERED: "what it must not read or change was replaced, and could not be covered again",
}


def limits_told(
    name: str,
    ended: Exit | None,
    limits: ResourceLimits,
    exceeded: tuple[str, ...],
    lost: int = 0,
) -> Iterator[str]:
    """Explain which resource limit likely ended a server, and how to raise it.

    Args:
        name: of the server.
        ended: how; None where that is not known.
        limits: that it had.
        exceeded: limits that its control group saw it run into.
        lost: why it was ended, where what keeps it covered did that (WHY_ENDED).
    """
    if lost:
        yield f"{name} was ended: {WHY_ENDED[lost]}."
    by = _signal(ended)
    known = dict.fromkeys((*exceeded, *([_SIGNALS[by]] if by in _SIGNALS else [])))
    for limit in known:
        reached = _written_limit(limits, limit)
        yield f"{name} ran into its limit {reached}. {_raising(limits, limit)}"
    if by == "SIGSYS":
        yield (
            f"{name} made a system call that is forbidden to isolated servers, and was killed"
            " for it."
        )
    if by in _OUT_OF_MEMORY and "memory" not in known and limits.memory is not None:
        yield (
            f"{name} crashed ({by}). If memory was short: its limit is"
            f" {_written_limit(limits, 'memory')} for each of its processes."
            f" {_raising(limits, 'memory')}"
        )


def _value(limits: ResourceLimits, limit: str) -> int | None:
    value = getattr(limits, limit.replace("-", "_"))
    return value if isinstance(value, int) else None


def _written_limit(limits: ResourceLimits, limit: str) -> str:
    return format_limit(limit, _value(limits, limit) or 0)


def _raising(limits: ResourceLimits, limit: str) -> str:
    """The option that doubles a limit."""
    value = _value(limits, limit) or 1
    usual = _value(ResourceLimits(), limit)
    hint = f" (without an entry: {format_limit(limit, usual)})" if usual and value < usual else ""
    more = format_limit(limit, 2 * value)
    entry = more.replace("=", ": ")
    return f"If it needs more: --limit {more}, or `limits: {{{entry}}}` under `isolate`{hint}."


def _signal(ended: Exit | None) -> str:
    """The signal that ended the server inside, which its engine tells by an exit code."""
    if ended is None or ended.signal_number is not None or ended.code <= SIGNAL_BASE:
        return ""
    try:
        return signal.Signals(ended.code - SIGNAL_BASE).name
    except ValueError:
        return ""
