"""The memory that all connections of one sandbox read into, and how much of it each may use.

A connection holds at most one reading and one unsent buffer in each direction. Both get smaller as
connections get more, so that all of them together stay within a budget, whatever a sandbox and a
host that works with it do.
"""

from __future__ import annotations

MAX_BYTES = 256 * 2**10  # of one reading: a stream alone goes at full speed
MIN_BYTES = 4 * 2**10
BUDGET_BYTES = 16 * 2**20


class ReadBuffer:
    """Memory that is read into, and handed on before the next reading.

    Attributes:
        part: as much of it as one connection may read at once.
    """

    def __init__(self) -> None:
        self._whole = memoryview(bytearray(MAX_BYTES))
        self.part = self._whole

    def share(self, connections: int) -> None:
        """Have so many connections share the budget: two directions, a reading and a rest each."""
        size = BUDGET_BYTES // (4 * max(1, connections))
        self.part = self._whole[: max(MIN_BYTES, min(MAX_BYTES, size))]

    def contents(self, length: int) -> bytes:
        """What was read."""
        return bytes(self._whole[:length])
