"""The outcome of a check."""

from collections.abc import Callable
from enum import Enum

AROUND = b"\0"  # between a match and its surroundings, if a check runs on both


class Outcome(Enum):
    """A check's opinion of a secret."""

    HOLDS = "holds"
    FAILS = "fails"
    UNKNOWN = "unknown"


Check = Callable[[bytes], Outcome]


def to_outcome(answer: bool) -> Outcome:  # noqa: FBT001  the one bridge from a predicate to an answer
    """HOLDS for True, FAILS for False."""
    return Outcome.HOLDS if answer else Outcome.FAILS
