"""Which conversations had a call running when, so that none hears of another's walls."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

MAX_ENDED = 64  # calls that ended last
MAX_OPEN = 1024  # calls without an answer
OPEN_SECONDS = 600.0  # after which a call without an answer counts no more


class _Ended(NamedTuple):
    conversation: str
    since: float
    until: float


class RunningCalls:
    """The requests of all conversations with one server, in bounded number. Not thread-safe."""

    def __init__(self) -> None:
        self._open: deque[tuple[str, float]] = deque(maxlen=MAX_OPEN)  # in order of time
        self._ended: deque[_Ended] = deque(maxlen=MAX_ENDED)

    def begin(self, conversation: str, now: float) -> None:
        """Know that a request goes to the server."""
        while self._open and now - self._open[0][1] > OPEN_SECONDS:
            self._open.popleft()
        self._open.append((conversation, now))

    def end(self, conversation: str, since: float, now: float) -> None:
        """Know that the request which came about then is answered."""
        own = [each for each in self._open if each[0] == conversation]
        if own:
            self._open.remove(min(own, key=lambda each: abs(each[1] - since)))
        self._ended.append(_Ended(conversation, since, now))

    def is_alone(self, conversation: str, at: float) -> bool:
        """Whether no other conversation's request ran then."""
        if any(other != conversation and since <= at for other, since in self._open):
            return False
        return not any(
            each.conversation != conversation and each.since <= at <= each.until
            for each in self._ended
        )
