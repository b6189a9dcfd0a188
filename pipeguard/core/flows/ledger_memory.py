"""How much the ledgers of all clients take together: who was heard of least lately gives way.

One `LedgerMemory` is for all ledgers of a process. A ledger first gives up what can be worked out
again, and then all that it remembers; what was lost is for `core.flows.forgotten_results`.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from threading import Lock
from typing import Protocol
from weakref import ref

MOST_BYTES = 64 * 2**20  # of all ledgers: 16 that are full, without what can be worked out again
SHARE_LEFT = 7 / 8  # of these after room was made, so that it is not made for each result


class Remembering(Protocol):
    """A ledger."""

    def size(self) -> int:
        """Bytes that it takes in memory, about."""

    def forget_derived(self) -> None:
        """Give up what can be worked out again."""

    def give_way(self) -> None:
        """Give up what it remembers, but for the fact that it did."""


class LedgerMemory:
    """Bounds all ledgers together. Any thread may call anything.

    A ledger is told to give way under the lock here, which is taken before its own and never
    after it.

    Args:
        limit_bytes: that all of them may take.
    """

    def __init__(self, limit_bytes: int = MOST_BYTES) -> None:
        self._limit = limit_bytes
        self._lock = Lock()
        self._sizes: OrderedDict[ref[Remembering], int] = OrderedDict()  # least lately used first
        self._total = 0
        self._gone: deque[ref[Remembering]] = deque()  # of clients that are; filled by collections

    @property
    def total_bytes(self) -> int:
        """What all ledgers take, about."""
        with self._lock:
            self._drop_gone()
            return self._total

    def note(self, ledger: Remembering) -> None:
        """A ledger was used: count it anew, and have others give way where all are too much."""
        with self._lock:
            self._drop_gone()
            key = ref(ledger, self._gone.append)
            self._count(key, ledger)
            self._sizes.move_to_end(key)
            if self._total > self._limit:
                self._make_room()

    def _count(self, key: ref[Remembering], ledger: Remembering) -> None:
        size = ledger.size()
        self._total += size - self._sizes.get(key, 0)
        self._sizes[key] = size

    def _make_room(self) -> None:
        """Have ledgers give up what costs nothing, and only then what is lost by it."""
        for gives_all in (False, True):
            for key in list(self._sizes):
                if self._total <= self._limit * SHARE_LEFT:
                    return
                ledger = key()
                if ledger is not None:
                    (ledger.give_way if gives_all else ledger.forget_derived)()
                    self._count(key, ledger)

    def _drop_gone(self) -> None:
        while self._gone:
            self._total -= self._sizes.pop(self._gone.popleft(), 0)
