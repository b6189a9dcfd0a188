"""A limit on how often something happens, such as calls or questions."""

from collections import deque


class RateLimit:
    """Counts what happens in a window of time that ends now.

    Args:
        most: in one window; 0 for any number.
        window_seconds: the length of the window.
    """

    def __init__(self, most: int, window_seconds: float = 60.0) -> None:
        self._most, self._window_seconds = most, window_seconds
        self._times = deque[float](maxlen=most)

    def seconds_to_wait(self, now: float) -> float:
        """Count one more, on a clock that only goes forward; if that is too many, the wait."""
        times = self._times
        if self._most and len(times) == self._most and times[0] > now - self._window_seconds:
            return times[0] + self._window_seconds - now
        times.append(now)
        return 0.0
