"""What an isolated server said last on standard error, and when.

Servers write why they failed before they answer, as Python's SDK does with its traceback, so that
what its pipe holds as an answer arrives belongs before the answer.
"""

from __future__ import annotations

from collections import deque
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeguard.isolation.walls.wall import Mention

MAX_MUTTERED = 64  # walls that standard error named last


class ErrorOutput(Protocol):
    """The standard error of one process of the server: a `StderrCopy`."""

    def catch_up(self) -> None:
        """Have all looked at that is written until now; waits for nothing that is to come."""


class Muttered:
    """The walls that standard error named; all methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._outputs: WeakSet[ErrorOutput] = WeakSet()
        self._said: deque[tuple[Mention, float]] = deque(maxlen=MAX_MUTTERED)

    def listen_to(self, output: ErrorOutput) -> None:
        """Know that a process of the server speaks there, until the output is given up."""
        with self._lock:
            self._outputs.add(output)

    def catch_up(self) -> None:
        """Have all looked at that the server said until now."""
        with self._lock:
            outputs = [*self._outputs]
        for output in outputs:
            output.catch_up()

    def add(self, mentions: Iterable[Mention]) -> None:
        """Know what it named just now."""
        now = monotonic()
        with self._lock:
            self._said.extend((mention, now) for mention in mentions)

    def mentioned(self, since: float) -> list[tuple[Mention, float]]:
        """What it named since then, with the time, the last first."""
        with self._lock:
            return [each for each in reversed(self._said) if each[1] >= since]


def is_asked(mention: Mention, request: bytes) -> bool:
    """Whether a request asks for what was named: an argument of it ends with that name."""
    name = mention.subject.rpartition("/")[2].encode("utf-8", "replace") + b'"'
    return b"/" + name in request or b'"' + name in request
