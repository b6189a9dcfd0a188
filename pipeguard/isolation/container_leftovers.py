"""A record of each container while it runs, so that what was killed is found and removed.

One folder for each, by the container's name: the processes that own it, and its own.
"""

# ruff: noqa: PTH103, PTH118, PTH208
# pathlib costs 5 ms, and a server is waiting
from __future__ import annotations

import os
import re
import secrets
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

RECORDS = "containers"  # in the folder of isolation
PREFIX = "pipeguard-"
OWNERS, PROCESS, IDENTITY = "owners", "process", "identity"
_IDENTITY = re.compile("[0-9a-f]{64}")  # as podman makes it


class ContainerRecord:
    """The record of one container.

    Attributes:
        name: of the container.
        process_file: where podman writes the number of its process.
    """

    def __init__(self, folder: str, name: str) -> None:
        self.name = name
        self._folder = os.path.join(folder, RECORDS, name)
        self.process_file = os.path.join(self._folder, PROCESS)

    @classmethod
    def make(cls, folder: str) -> ContainerRecord:
        """A record of a container that this process is about to start."""
        record = cls(folder, PREFIX + secrets.token_hex(8))
        os.makedirs(record._folder, mode=0o700)
        record.join_owners()
        return record

    def join_owners(self) -> None:
        """Own the container too: it is nobody's once all of its owners are gone."""
        path = os.path.join(self._folder, OWNERS)
        with suppress(FileNotFoundError), open(path, "a", encoding="ascii") as file:
            file.write(f"{os.getpid()} {_started(os.getpid())}\n")

    def process(self) -> int | None:
        """The number of the container's process, once podman has written it."""
        text = _content(self.process_file)
        return int(text) if text.isdigit() else None

    def note_identity(self, process: int) -> str:
        """Note, and return, what podman calls the container whose process this is."""
        parent = _stat(process)[1:2]
        words = _content(f"/proc/{parent[0]}/cmdline").split("\0") if parent else []
        found = next((word for word in words if _IDENTITY.fullmatch(word)), "")
        path = os.path.join(self._folder, IDENTITY)
        with suppress(FileNotFoundError), open(path, "w", encoding="ascii") as file:
            file.write(found)  # a folder that is gone was removed because PipeGuard ended
        return found

    def identity(self) -> str:
        """The identity that podman gave the container; empty where it is not known."""
        found = _content(os.path.join(self._folder, IDENTITY))
        return found if _IDENTITY.fullmatch(found) else ""

    def is_stale(self) -> bool:
        """Whether all processes that own the container are gone."""
        lines = _content(os.path.join(self._folder, OWNERS)).splitlines()
        owners = (line.partition(" ") for line in lines)
        return not any(
            number.isdigit() and _started(int(number)) == started for number, _, started in owners
        )

    def exists(self) -> bool:
        """Whether the container is not known to be gone."""
        return os.path.isdir(self._folder)  # noqa: PTH112  as above

    def remove(self) -> None:
        """Forget a container that is gone."""
        shutil.rmtree(self._folder, ignore_errors=True)


def remove_stale(folder: str, remove: Callable[[ContainerRecord], bool]) -> None:
    """Remove the containers of processes that were killed.

    Args:
        folder: of isolation.
        remove: removes a container; whether it is gone.
    """
    names: list[str] = []
    with suppress(FileNotFoundError):
        names = os.listdir(os.path.join(folder, RECORDS))
    for name in names:
        record = ContainerRecord(folder, name)
        if record.is_stale() and remove(record):
            record.remove()


def is_process(number: int) -> bool:
    """Whether there is a process with this number."""
    return bool(_stat(number))


def _started(process: int) -> str:
    """When a process started, in ticks since the system did (proc(5), field 22 of stat)."""
    fields = _stat(process)
    return fields[19] if fields else ""


def _stat(process: int) -> list[str]:
    """The fields of a process after its name, which may contain anything (proc(5), stat)."""
    return _content(f"/proc/{process}/stat").rpartition(")")[2].split()


def _content(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
