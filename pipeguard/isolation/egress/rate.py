"""What is told of once a minute, in bounded memory. No clock of its own."""

from __future__ import annotations

SECONDS = 60.0
MAX_KEYS = 1024  # different ones in a minute; beyond them nothing is told


class OncePerMinute:
    """Whether something is to be told of: once a minute for each key."""

    def __init__(self) -> None:
        self._told_at: dict[str, float] = {}  # in order of time

    def is_due(self, key: str, now: float) -> bool:
        """Whether a key is to be told of now; if so, it counts as told."""
        while self._told_at:
            oldest = next(iter(self._told_at))
            if now - self._told_at[oldest] < SECONDS:
                break
            del self._told_at[oldest]
        if key in self._told_at or len(self._told_at) >= MAX_KEYS:
            return False
        self._told_at[key] = now
        return True
