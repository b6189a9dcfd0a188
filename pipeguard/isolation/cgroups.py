"""A control group for one sandbox: bounds its processes and memory together (cgroups(7)).

Made where this process may make one, which is where it is root: there RLIMIT_NPROC bounds nothing
(setrlimit(2)). Elsewhere resource limits do it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from mmap import mmap
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeguard.isolation.profile import ResourceLimits

ROOT = Path("/sys/fs/cgroup")
PREFIX = "pipeguard-"
PROCESSES = "cgroup.procs"
# Where a group counts what it refused, in either version of the hierarchy: limit, file, event.
_EVENTS = (
    ("memory", "memory.events", "oom_kill"),
    ("memory", "memory.oom_control", "oom_kill"),
    ("processes", "pids.events", "max"),
)
# How many times the bytes of one process all together may use.
MEMORY_FACTOR = 2


class ControlGroup:
    """The folders of one group, one for each hierarchy."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self._folders = folders
        self._noted = mmap(-1, len(_EVENTS))  # shared with the warden, which removes the group

    def enter(self) -> None:
        """Move this process into the group.

        Raises:
            OSError: the group is gone.
        """
        for folder in self._folders:
            (folder / PROCESSES).write_text("0", "ascii")

    def leave(self) -> None:
        """Note what its processes wanted too much of, and remove it; they have ended."""
        for place, (_, file, event) in enumerate(_EVENTS):
            if any(_counted(folder / file, event) for folder in self._folders):
                self._noted[place] = 1
        self.remove()

    def exceeded(self) -> tuple[str, ...]:
        """The limits that its processes ran into, as options name them; after its end."""
        noted = self._noted[:]
        return tuple(event[0] for event, count in zip(_EVENTS, noted, strict=True) if count)

    def remove(self) -> None:
        """Remove the group, whose processes have ended."""
        for folder in self._folders:
            with suppress(OSError):  # a process is still ending: the next sandbox removes it
                folder.rmdir()


def make_group(limits: ResourceLimits, number: int) -> ControlGroup | None:
    """Make a group; None where that is not possible.

    Args:
        limits: of its processes.
        number: tells it from this process's other groups.
    """
    try:
        folders = tuple(_made(limits, f"{PREFIX}{os.getpid()}-{number}"))
    except OSError:
        return None
    return ControlGroup(folders) if folders else None


def remove_stale() -> None:
    """Remove the groups of processes that were killed."""
    groups = (found for each in _parents().values() for found in each.glob(f"{PREFIX}*-*"))
    for folder in groups:
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            ControlGroup((folder,)).remove()


def remove_group_of(identity: str) -> None:
    """Remove the empty group of a container of podman's, whose runtime was killed."""
    for folder in (
        *ROOT.glob(f"libpod_parent/libpod-{identity}"),
        *ROOT.glob(f"*/libpod_parent/libpod-{identity}"),
    ):
        ControlGroup((folder,)).remove()


def _counted(file: Path, event: str) -> bool:
    """Whether a file of events counts one at least once."""
    try:
        words = file.read_text("ascii").split()
        return words[words.index(event) + 1] != "0"
    except (OSError, ValueError):  # of the other version, or of an older kernel
        return False


def _made(limits: ResourceLimits, name: str) -> Iterator[Path]:
    memory = None if limits.memory is None else MEMORY_FACTOR * limits.memory
    for controller, parent in _parents().items():
        folder = parent / name
        is_unified = controller == ""
        wanted = {
            "pids.max": limits.processes if controller in ("", "pids") else None,
            "memory.max": memory if is_unified else None,
            "memory.limit_in_bytes": memory if controller == "memory" else None,
        }
        folder.mkdir()
        for file, value in wanted.items():
            if value is not None:
                (folder / file).write_text(str(value), "ascii")
        yield folder


def _parents() -> dict[str, Path]:
    """The folders that a group can be made in, by controller; "" is the unified hierarchy."""
    if (ROOT / "cgroup.controllers").exists():
        enabled = (ROOT / "cgroup.subtree_control").read_text("ascii").split()
        return {"": ROOT} if {"pids", "memory"} <= set(enabled) else {}
    found = {name: ROOT / name for name in ("pids", "memory")}
    return found if all(os.access(path, os.W_OK) for path in found.values()) else {}
