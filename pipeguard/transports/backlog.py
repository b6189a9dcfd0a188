"""Bytes that peers make us keep: bodies that come slowly, and what clients do not take.

There is one limit for all of them together. Of too much, what has waited for longest is given up:
an honest peer waits for a moment, and one that means harm for as long as it can.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from pipeguard.core.protocol.framing import DEFAULT_LIMIT_BYTES

SPARE_BYTES = 4 * 2**20  # beside one message that is as large as can be
LIMIT_BYTES = DEFAULT_LIMIT_BYTES + SPARE_BYTES
SMALL_BYTES = 2**16  # so much of a body is not counted: a small message is never in the way


class Crowded(Exception):  # noqa: N818  whoever sent so much is at fault
    """What was held had to be given up."""


class Backlog:
    """What waits, with what is to be done where it waits for too long.

    Args:
        limit_bytes: of all that waits.
    """

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._waiting: dict[object, tuple[int, Callable[[], object]]] = {}  # the longest first
        self._total = 0

    def note(self, key: object, size: int, cut: Callable[[], object]) -> None:
        """So many bytes wait here now.

        Args:
            key: of what waits; it keeps its place in the order until nothing waits.
            size: in bytes; 0 where nothing waits any more.
            cut: gives it up.
        """
        self._total += size - self._waiting.get(key, (0, cut))[0]
        if size:
            self._waiting[key] = size, cut
        else:
            self._waiting.pop(key, None)
        while self._total > self._limit:
            oldest = next(iter(self._waiting))
            size, cut = self._waiting.pop(oldest)
            self._total -= size
            cut()

    @asynccontextmanager
    async def holding(self) -> AsyncIterator[Callable[[int], None]]:
        """While this task holds a body; gives what takes its size, which may grow.

        Raises:
            Crowded: it had to be given up.
        """
        key, task = object(), asyncio.current_task()
        is_cut = runs = False

        def cut() -> None:
            nonlocal is_cut
            is_cut = True
            if not runs and task is not None:
                task.cancel()

        def hold(size: int) -> None:
            nonlocal runs
            runs = True
            self.note(key, max(0, size - SMALL_BYTES), cut)
            runs = False
            if is_cut:
                raise Crowded

        try:
            yield hold
        except asyncio.CancelledError:
            if is_cut and task is not None and not task.uncancel():
                raise Crowded from None
            raise
        finally:
            self.note(key, 0, cut)
