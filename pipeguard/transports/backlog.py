"""Bytes that peers make us keep: bodies that arrive slowly, and answers that clients do not read.

One limit holds for all of them together. Above it, whatever has waited longest is given up: an
honest peer waits for a moment, an attacker for as long as it can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self

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

    def holding(self) -> _HeldBody:
        """Count the body of the current task, as `with backlog.holding() as hold`."""
        return _HeldBody(self)


class _HeldBody:
    """Counts the growing body of one task in a backlog: call it with its size so far.

    While the body is small, it is in nobody's way, and nothing is counted.

    Raises:
        Crowded: the body was given up, by a call or on leaving the context.
    """

    __slots__ = ("_backlog", "_is_cut", "_is_noting", "_task")

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self._task: asyncio.Task[object] | None = None  # once something is counted
        self._is_cut = self._is_noting = False

    def __enter__(self) -> Self:
        return self

    def __call__(self, size: int) -> None:
        """Set the size of the body, in bytes."""
        if size <= SMALL_BYTES and self._task is None:
            return
        self._task = asyncio.current_task()
        self._is_noting = True
        self._backlog.note(self, max(0, size - SMALL_BYTES), self._cut)
        self._is_noting = False
        if self._is_cut:
            raise Crowded

    def _cut(self) -> None:
        self._is_cut = True
        if not self._is_noting and self._task is not None:
            self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        if self._task is None:
            return
        self._backlog.note(self, 0, self._cut)
        is_ours = self._is_cut and isinstance(error, asyncio.CancelledError)
        if is_ours and not self._task.uncancel():
            raise Crowded from None
