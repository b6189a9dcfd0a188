"""Says of an isolated server that ended which limit may have ended it, and how to raise that.

What a server was refused while it ran (a call that the filter refuses, memory that it is not given,
a full `/tmp`) only it sees: the kernel tells nobody else. So what it, or the engine that starts it,
says of that on standard error counts once it has failed.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from pipeguard.isolation.lost_covers import WHY_ENDED
from pipeguard.isolation.profile import ResourceLimits, setting_of
from pipeguard.launch.command import SIGNAL_BASE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from pipeguard.launch.command import Exit

_SIGNALS = {"SIGXCPU": "cpu", "SIGXFSZ": "file-size"}  # that the kernel sends for one reason alone
_OUT_OF_MEMORY = ("SIGABRT", "SIGTRAP", "SIGILL", "SIGSEGV")  # how runtimes end without memory
# How the C library, runtimes and engines say that a limit was met (errno(3), the sources of runc,
# crun, bubblewrap, CPython, V8 and shells); in lower case.
# A thread needs a stack, so one that cannot be started may lack either.
_NO_THREAD = (b"can't start new thread", b"pthread_create", b"resource temporarily unavailable")
_SIGNS = {
    "memory": (
        *_NO_THREAD,
        *(b"cannot allocate memory", b"memoryerror", b"out of memory", b"enomem"),
        b"unable to set memory limit",
    ),
    "processes": (
        *_NO_THREAD,
        *(b"cannot fork", b"can't fork"),
    ),
    "files": (b"too many open files", b"emfile", b"cannot open shared object file: error 24"),
    "file-size": (b"file too large", b"efbig"),
    "scratch": (b"no space left on device", b"enospc"),
}


def limits_named(text: bytes) -> frozenset[str]:
    """The limits that a text on standard error says were met."""
    lower = text.lower()
    return frozenset(limit for limit, signs in _SIGNS.items() if any(s in lower for s in signs))


def limits_told(  # noqa: PLR0913, PLR0917  what is known of an end
    name: str,
    ended: Exit | None,
    limits: ResourceLimits,
    exceeded: tuple[str, ...],
    named: Collection[str] = (),
    lost: int = 0,
) -> Iterator[str]:
    """What to tell the user of a server that has ended.

    Args:
        name: of the server.
        ended: how; None where that is not known.
        limits: that it had.
        exceeded: limits that its control group saw it run into.
        named: those that were named on its standard error.
        lost: why it was ended, where what keeps it covered did that (lost_covers).
    """
    if lost:
        yield f"{name} was ended: {WHY_ENDED[lost]}."
    by = _signal(ended)
    known = dict.fromkeys((*exceeded, *([_SIGNALS[by]] if by in _SIGNALS else [])))
    for limit in known:
        yield f"{name} ran into its limit {_written(limits, limit)}. {_raising(limits, limit)}"
    has_failed = ended is not None and ended.code != 0 and ended.signal_number is None
    if has_failed and (perhaps := _likely(limits, set(named) - known.keys())):
        known |= dict.fromkeys(perhaps)
        written = ", or ".join(_written(limits, limit) for limit in perhaps)
        raising = " ".join(_raising(limits, limit) for limit in perhaps)
        yield f"{name} failed, and by what it said its limit {written} may be why. {raising}"
    if by == "SIGSYS":
        yield f"{name} made a system call that no isolated server may make, and was ended for it."
    if by in _OUT_OF_MEMORY and "memory" not in known and limits.memory is not None:
        yield (
            f"{name} crashed ({by}). If memory was short: its limit is"
            f" {_written(limits, 'memory')} for each of its processes."
            f" {_raising(limits, 'memory')}"
        )


def _likely(limits: ResourceLimits, named: Collection[str]) -> list[str]:
    """Limits that hold among those that are named, the ones that were lowered first."""
    usual = ResourceLimits()
    held = sorted(limit for limit in named if _value(limits, limit) is not None)
    return sorted(held, key=lambda limit: _value(limits, limit) == _value(usual, limit))


def _value(limits: ResourceLimits, limit: str) -> int | None:
    value = getattr(limits, limit.replace("-", "_"))
    return value if isinstance(value, int) else None


def _written(limits: ResourceLimits, limit: str) -> str:
    return setting_of(limit, _value(limits, limit) or 0)


def _raising(limits: ResourceLimits, limit: str) -> str:
    """What gives it twice as much."""
    value = _value(limits, limit) or 1
    usual = _value(ResourceLimits(), limit)
    hint = f" (unless it is said: {setting_of(limit, usual)})" if usual and value < usual else ""
    more = setting_of(limit, 2 * value)
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
