"""The results that a ledger remembers, the oldest first, and which go where there are too many.

Those of the server that takes the most go first: none can have what another one gave forgotten.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterator

from pipeguard.core.flows.tool_results import ToolResult


class RememberedResults(Collection[ToolResult]):
    """Results, for one thread at a time: the lock of their ledger guards them.

    Args:
        most: results.
        most_bytes: of them.
        seconds: for which one matters.

    Attributes:
        taken_in: those that third parties may have written, the oldest first: most calls ask for
            these alone, and mostly there are none.
    """

    def __init__(self, most: int, most_bytes: int, seconds: float) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._seconds = seconds
        self._results: deque[ToolResult] = deque()
        self.taken_in: deque[ToolResult] = deque()
        self._counts: Counter[str] = Counter()  # by server
        self._sizes: Counter[str] = Counter()  # likewise
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._results)

    def __contains__(self, result: object) -> bool:
        return result in self._results

    def __iter__(self) -> Iterator[ToolResult]:
        return iter(self._results)

    def add(self, result: ToolResult, now: float) -> None:
        """Remember a result, and no others than matter and have room."""
        self._results.append(result)
        if result.takes_in:
            self.taken_in.append(result)
        self._note(result, 1)
        while self._results and now - self._results[0].since > self._seconds:
            self._drop(self._results[0])
        while self.bytes > self._most_bytes:
            self._drop_one_of(self._sizes)
        while len(self._results) > self._most:
            self._drop_one_of(self._counts)

    def clear(self) -> None:
        """Forget all."""
        self._results.clear()
        self.taken_in.clear()
        self._counts.clear()
        self._sizes.clear()
        self.bytes = 0

    def _note(self, result: ToolResult, sign: int) -> None:
        server = result.tool.server
        self.bytes += sign * result.size
        count = self._counts.get(server, 0) + sign
        if count:
            self._sizes[server] = self._sizes.get(server, 0) + sign * result.size
            self._counts[server] = count
        else:
            del self._sizes[server], self._counts[server]

    def _drop_one_of(self, taken: Counter[str]) -> None:
        """Forget the oldest result of the server that takes the most."""
        server = max(taken, key=taken.__getitem__)
        oldest = next(result for result in self._results if result.tool.server == server)
        self._drop(oldest)

    def _drop(self, result: ToolResult) -> None:
        """Forget one of the oldest, which are found at once."""
        self._results.remove(result)
        if result.takes_in:
            self.taken_in.remove(result)
        self._note(result, -1)
