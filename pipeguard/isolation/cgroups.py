"""A control group for one sandbox: bounds its processes and memory together (cgroups(7)).

Made if this process may make one, as root: for root, RLIMIT_NPROC bounds nothing
(setrlimit(2)). Elsewhere resource limits do it.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from itertools import count
from mmap import mmap
from os.path import exists, join
from time import monotonic, sleep

from pipeguard.isolation.profile import ResourceLimits

ROOT = "/sys/fs/cgroup"
PREFIX = "pipeguard-"
PROCESSES = "cgroup.procs"
# Of the first version. A thread moves itself there without a lock of the kernel's that it takes
# 8 ms to get (kernel/cgroup/cgroup.c, cgroup_procs_write_start); who enters has one thread.
THREADS = "tasks"
# A group's counts of refusals, in either version of the hierarchy: limit, file, event.
_EVENTS = (
    ("memory", "memory.events", "oom_kill"),
    ("memory", "memory.oom_control", "oom_kill"),
    ("processes", "pids.events", "max"),
)
# How many times the bytes of one process all together may use.
MEMORY_FACTOR = 2
_NUMBERS = count()  # of this process's groups
ENDING_SECONDS = 2.0
PAUSE_SECONDS = 0.01  # for processes that were killed to be gone


class ControlGroup:
    """The folders of one group, one for each hierarchy."""

    def __init__(self, folders: tuple[str, ...]) -> None:
        self._folders = folders
        self._noted = mmap(-1, len(_EVENTS))  # shared with the warden, which removes the group

    def entrances(self) -> tuple[int, ...]:
        """Descriptors for `enter`, while the group is still seen.

        Raises:
            OSError: the group is gone.
        """
        opened = []
        for folder in self._folders:
            threads = join(folder, THREADS)
            entrance = threads if exists(threads) else join(folder, PROCESSES)
            opened.append(os.open(entrance, os.O_WRONLY | os.O_CLOEXEC))
        return tuple(opened)

    def leave(self) -> bool:
        """Note the limits that its processes reached, and remove it; False as for `remove`."""
        for place, (_, file, event) in enumerate(_EVENTS):
            if any(_has_event(join(folder, file), event) for folder in self._folders):
                self._noted[place] = 1
        return self.remove()

    def close(self) -> None:
        """Clean up if the warden was killed before; its processes end in a moment."""
        give_up = monotonic() + ENDING_SECONDS
        while not self.leave() and monotonic() < give_up:
            sleep(PAUSE_SECONDS)

    def exceeded_limits(self) -> tuple[str, ...]:
        """The limits that its processes ran into, as options name them; after its end."""
        noted = self._noted[:]
        return tuple(event[0] for event, count in zip(_EVENTS, noted, strict=True) if count)

    def remove(self) -> bool:
        """Remove the group; False if a process is still ending: the next sandbox removes it."""
        left = [folder for folder in self._folders if not _remove_group(folder)]
        return not left


def enter(entrances: Iterable[int]) -> None:
    """Move this process, which has one thread, into a group, and close the descriptors.

    Raises:
        OSError: the group is gone.
    """
    for entrance in entrances:
        os.write(entrance, b"0")
        os.close(entrance)


def make_group(limits: ResourceLimits) -> ControlGroup | None:
    """Make a group; None if that is not possible.

    Args:
        limits: of its processes.
    """
    try:
        folders = tuple(_make_folder(limits, f"{PREFIX}{os.getpid()}-{next(_NUMBERS)}"))
    except OSError:
        return None
    return ControlGroup(folders) if folders else None


def remove_stale() -> None:
    """Remove the groups of processes that were killed."""
    for parent in _parents().values():
        for name in os.listdir(parent):
            owner = name.removeprefix(PREFIX).partition("-")[0]
            is_ours = name.startswith(PREFIX) and owner.isdigit()
            if is_ours and not exists(f"/proc/{owner}"):
                _remove_group(join(parent, name))


def remove_container_group(identity: str) -> None:
    """Remove the empty group of a container of podman's, whose runtime was killed."""
    from glob import glob

    for above in ("", "*/"):
        for folder in glob(f"{ROOT}/{above}libpod_parent/libpod-{identity}"):
            _remove_group(folder)


def _remove_group(folder: str) -> bool:
    """Remove the folder of a group; False if a process is in it."""
    try:
        os.rmdir(folder)
    except OSError as error:
        return error.errno != errno.EBUSY
    return True


def _has_event(path: str, event: str) -> bool:
    """True if a file of events counts one at least once."""
    words = read_setting(path).split()
    # It has none in the other version, or in an older kernel.
    return event in words and words[words.index(event) + 1] != "0"


def _make_folder(limits: ResourceLimits, name: str) -> Iterator[str]:
    memory = None if limits.memory is None else MEMORY_FACTOR * limits.memory
    for controller, parent in _parents().items():
        folder = join(parent, name)
        is_unified = controller == ""
        wanted = {
            "pids.max": limits.processes if controller in ("", "pids") else None,
            "memory.max": memory if is_unified else None,
            "memory.limit_in_bytes": memory if controller == "memory" else None,
        }
        os.mkdir(folder)
        for file, value in wanted.items():
            if value is not None:
                write_setting(join(folder, file), str(value))
        yield folder


def _parents() -> dict[str, str]:
    """The folders that a group can be made in, by controller; "" is the unified hierarchy."""
    if exists(f"{ROOT}/cgroup.controllers"):
        enabled = read_setting(f"{ROOT}/cgroup.subtree_control").split()
        return {"": ROOT} if {"pids", "memory"} <= set(enabled) else {}
    found = {name: f"{ROOT}/{name}" for name in ("pids", "memory")}
    return found if all(os.access(path, os.W_OK) for path in found.values()) else {}


def read_setting(path: str) -> str:
    """The content of a small file of the kernel's; empty if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def write_setting(path: str, text: str) -> None:
    """Write a small file of the kernel's; raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
