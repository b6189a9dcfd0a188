"""A tree of processes: its memory and CPU, from Linux's /proc, and its end; knows no MCP."""

import ctypes
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

PROC = Path("/proc")
PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>
MOST_SECONDS = 60.0  # that a process which outlives its starter is waited for


@dataclass(frozen=True)
class Memory:
    """The memory of all of a wrapper's processes, without the server's."""

    processes: int
    resident_kib: int  # VmRSS summed: shared pages count for each process
    proportional_kib: int  # PSS summed: a page shared by n counts one n-th for each


def of_wrapper(root: int, find_server: Callable[[], int]) -> Memory:
    """The memory of a process and its descendants, without the server and its own.

    Args:
        root: the wrapper's process.
        find_server: returns the server's, by the number that it sees itself, which is another one
            where it is isolated; 0 where it is elsewhere. Called last: asking is a call.
    """
    sizes = {
        pid: (field(pid, "status", "VmRSS"), field(pid, "smaps_rollup", "Pss"))
        for pid in tree(root)
    }
    theirs = tree(_seen_from_here(find_server(), [*sizes]))
    resident, proportional = zip(*(sizes[pid] for pid in sizes.keys() - theirs), strict=True)
    return Memory(len(resident), sum(resident), sum(proportional))


def cpu_seconds(root: int, server: int) -> float:
    """The CPU that a process and its descendants have used until now, without the server's.

    Args:
        root: the wrapper's process.
        server: the server's, as `find_process` says.
    """
    ticks = 0
    for pid in tree(root, server):
        # proc(5): utime and stime are the 12th and 13th field behind the name in parentheses.
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def find_process(root: int, inner: int) -> int:
    """The number here of a descendant, by the number that it sees itself."""
    return _seen_from_here(inner, tree(root))


def _seen_from_here(inner: int, processes: list[int]) -> int:
    """The number here of the process that has a number in its own namespace (proc(5), NSpid)."""
    if not inner:
        return 0
    for pid in processes:
        status = (PROC / str(pid) / "status").read_text()
        if re.search(rf"^NSpid:.*\s{inner}$", status, re.MULTILINE):
            return pid
    raise LookupError(f"no process of the wrapper's is {inner} to itself")


def tree(root: int, without: int = 0) -> list[int]:
    """The process and its descendants, except for one branch."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                # proc(5): the name in parentheses may be anything; state and parent follow it.
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended in the meantime
            children.setdefault(parent, []).append(int(entry.name))
    processes: list[int] = []
    rest = [root]
    while rest:
        pid = rest.pop()
        if pid != without:
            processes.append(pid)
            rest += children.get(pid, [])
    return processes


def field(pid: int, file: str, name: str) -> int:
    """A number of KiB from a file of /proc/PID."""
    for line in (PROC / str(pid) / file).read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise LookupError(f"/proc/{pid}/{file} has no {name}")


def adopt() -> None:
    """Become the parent of each process that outlives its starter, as a compiler of rules does."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap() -> None:
    """Wait for all adopted processes, so that none runs during the next measurement."""
    end = monotonic() + MOST_SECONDS
    try:
        while monotonic() < end:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                sleep(0.02)
    except ChildProcessError:
        return
