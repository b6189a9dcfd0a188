"""A descriptor of another process, as one of ours (pidfd_getfd(2), Linux 5.6)."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

assert sys.platform == "linux"  # noqa: S101  tells mypy which system's names to look up

PIDFD_GETFD = 438  # on every architecture


@contextmanager
def borrowed(task: int, number: int) -> Iterator[int]:
    """A copy of a descriptor while its thread waits.

    Args:
        task: the number of a thread.
        number: its descriptor.

    Raises:
        OSError: there is none, or we may not.
    """
    process = os.pidfd_open(_process_of(task))
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        copy: int = libc.syscall(PIDFD_GETFD, process, number, 0)
        if copy < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
    finally:
        os.close(process)
    try:
        yield copy
    finally:
        os.close(copy)


def _process_of(task: int) -> int:
    with open(f"/proc/{task}/status", "rb") as file:
        for line in file:
            if line.startswith(b"Tgid:"):
                return int(line.split()[1])
    raise ProcessLookupError(task)
