"""Bytes that peers make us keep: bodies that arrive slowly, and answers that clients do not read.

One limit holds for all of them together. Above it, whatever has waited longest is given up: an
honest peer waits for a moment, an attacker for as long as it can.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from pipeguard.core.protocol.framing import DEFAULT_LIMIT_BYTES

SPARE_BYTES = 4 * 2**20  # beside one message of the greatest size
LIMIT_BYTES = DEFAULT_LIMIT_BYTES + SPARE_BYTES
SMALL_BYTES = 2**16  # so much of a body is not counted: a small message is never in the way


class Crowded(Exception):  # noqa: N818  whoever sent so much is at fault
    """The body was given up, to make room for others."""


class Backlog:
    """Counts waiting bytes, and gives up what has waited longest.

    Args:
        limit_bytes: of everything that waits.
    """

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._waiting: dict[object, tuple[int, Callable[[], object]]] = {}  # the longest first
        self._total = 0

    def note(self, key: object, size: int, cut: Callable[[], object]) -> None:
        """Set how many bytes wait under a key.

        Args:
            key: names what waits; its place in the order is kept until nothing waits.
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
        """Count the body of the current task; yields a function that takes its growing size.

        Raises:
            Crowded: the body was given up.
        """
        key, task = object(), asyncio.current_task()
        is_cut = is_noting = False

        def cut() -> None:
            nonlocal is_cut
            is_cut = True
            if not is_noting and task is not None:
                task.cancel()

        def hold(size: int) -> None:
            nonlocal is_noting
            is_noting = True
            self.note(key, max(0, size - SMALL_BYTES), cut)
            is_noting = False
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
