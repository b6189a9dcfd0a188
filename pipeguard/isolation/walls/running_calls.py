"""Which calls ran when, so that none hears of the walls of another one."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

MAX_ENDED = 64  # calls that ended last
MAX_OPEN = 1024  # calls without an answer
MAX_ASKED_BYTES = 8 * 1024  # of a request that is remembered
OPEN_SECONDS = 600.0  # after which a call without an answer counts no more


class _Open(NamedTuple):
    conversation: str
    since: float
    asked: bytes


class _Ended(NamedTuple):
    conversation: str
    since: float
    until: float


class RunningCalls:
    """The requests of all conversations with one server, in bounded number. Not thread-safe."""

    def __init__(self) -> None:
        self._open: deque[_Open] = deque(maxlen=MAX_OPEN)  # in order of time
        self._ended: deque[_Ended] = deque(maxlen=MAX_ENDED)

    def begin(self, conversation: str, now: float, request: bytes) -> None:
        """Know that a request goes to the server."""
        while self._open and now - self._open[0].since > OPEN_SECONDS:
            self._open.popleft()
        request = request if len(request) <= MAX_ASKED_BYTES else b""
        self._open.append(_Open(conversation, now, request))

    def end(self, conversation: str, since: float, now: float) -> bytes:
        """Know that the request which came about then is answered; the request, if it is known."""
        self._ended.append(_Ended(conversation, since, now))
        own = [each for each in self._open if each.conversation == conversation]
        if not own:
            return b""
        ended = min(own, key=lambda each: abs(each.since - since))
        self._open.remove(ended)
        return ended.asked

    def is_one_of_many(self, conversation: str, since: float, until: float) -> bool:
        """Whether other requests of the same conversation ran beside one that has ended."""
        if any(each.conversation == conversation for each in self._open):
            return True
        beside = (
            each
            for each in self._ended
            if each.conversation == conversation and each.since < until and since < each.until
        )
        return sum(1 for _ in beside) > 1

    def is_alone(self, conversation: str, at: float) -> bool:
        """Whether no other conversation's request ran then."""
        if any(other != conversation and since <= at for other, since, _ in self._open):
            return False
        return not any(
            each.conversation != conversation and each.since <= at <= each.until
            for each in self._ended
        )
