"""Tells the warden that a process lives without which a server must not run.

Only that process holds an end of a pipe, and the warden ends the server when the pipe ends,
however that came. Why is in memory that all of them share.
"""

from __future__ import annotations

import os
from mmap import mmap

LOST = 1


class Lifeline:
    """A pipe, and why the server was ended.

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
        """Note why the server is ended; the first reason stays."""
        self._noted[0] = self._noted[0] or reason

    @property
    def reason(self) -> int:
        """The number that was noted; 0 if the server was not ended so."""
        return self._noted[0]
