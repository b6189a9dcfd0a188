"""A record of each container while it runs, so that what was killed is found and removed.

One folder for each, by the container's name: the process that owns it, and the container's own.
"""

# ruff: noqa: PTH103, PTH118, PTH208
# pathlib costs 5 ms, and a server is waiting
from __future__ import annotations

import os
import secrets
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

RECORDS = "containers"  # in the folder of isolation
PREFIX = "pipeguard-"
OWNER, PROCESS = "owner", "process"


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
        with open(os.path.join(record._folder, OWNER), "w", encoding="ascii") as file:
            file.write(f"{os.getpid()} {_started(os.getpid())}")
        return record

    def process(self) -> int | None:
        """The number of the container's process, once podman has written it."""
        text = _content(self.process_file)
        return int(text) if text.isdigit() else None

    def is_stale(self) -> bool:
        """Whether the process that owns the container is gone."""
        number, _, started = _content(os.path.join(self._folder, OWNER)).partition(" ")
        return not number.isdigit() or _started(int(number)) != started

    def exists(self) -> bool:
        """Whether the container is not known to be gone."""
        return os.path.isdir(self._folder)  # noqa: PTH112  as above

    def remove(self) -> None:
        """Forget a container that is gone."""
        shutil.rmtree(self._folder, ignore_errors=True)


def remove_stale(folder: str, remove: Callable[[str], bool]) -> None:
    """Remove the containers of processes that were killed.

    Args:
        folder: of isolation.
        remove: removes a container by its name; whether it is gone.
    """
    names: list[str] = []
    with suppress(FileNotFoundError):
        names = os.listdir(os.path.join(folder, RECORDS))
    for name in names:
        record = ContainerRecord(folder, name)
        if record.is_stale() and remove(name):
            record.remove()


def _started(process: int) -> str:
    """When a process started, in ticks since the system did (proc(5), field 22 of stat)."""
    fields = _content(f"/proc/{process}/stat").rpartition(")")[2].split()
    return fields[19] if fields else ""


def _content(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
