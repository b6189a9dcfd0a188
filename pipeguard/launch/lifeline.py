"""Ends a server when another process, which it must not run without, ends.

Only that process holds an end of a pipe, and the warden ends the server when the pipe ends, for
whatever reason. The reason is in memory that all of them share.
"""

from __future__ import annotations

import os
from mmap import mmap

LOST = 1


class Lifeline:
    """A pipe, and the reason for the server's end.

    Attributes:
        descriptor: ends when no process holds the other end.
        held: that other end.
    """

    def __init__(self) -> None:
        self.descriptor, self.held = os.pipe()
        self._noted = mmap(-1, 1)

    @property
    def ends(self) -> tuple[int, int]:
        """Both ends."""
        return self.descriptor, self.held

    def note(self, reason: int = LOST) -> None:
        """Note the reason for the server's end; the first one stays."""
        self._noted[0] = self._noted[0] or reason

    @property
    def reason(self) -> int:
        """The noted reason; 0 if there is none."""
        return self._noted[0]
