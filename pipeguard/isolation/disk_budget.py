"""How much of a disk an installer may fill: the kernel bounds each file, and not all together."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

GIBIBYTE = 1024**3
MOST_BYTES = 16 * GIBIBYTE  # the largest packages that servers use have a third of it
MOST_FILES = 2_000_000
LEAST_FREE_BYTES = GIBIBYTE // 2  # for all others


class DiskBudget:
    """Watches the disk that a folder is on.

    What others write at the same time counts as well: only their sum can be asked for cheaply.

    Args:
        folder: what is filled.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._free, self._files = self._left()

    def excess(self) -> str | None:
        """What is too much by now; None where nothing is."""
        free, files = self._left()
        if self._free - free > MOST_BYTES:
            return f"more than {MOST_BYTES / GIBIBYTE:g} GiB were written"
        if self._files - files > MOST_FILES:
            return f"more than {MOST_FILES:,} files were made"
        if free < min(self._free // 2, LEAST_FREE_BYTES):
            return f"the disk of {self._folder.parent} is full"
        return None

    def _left(self) -> tuple[int, int]:
        """Bytes and files (statvfs(3)); no files where the file system does not count them."""
        found = os.statvfs(self._folder)
        return found.f_bavail * found.f_frsize, found.f_favail
