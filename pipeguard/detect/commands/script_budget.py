"""A limit on the steps of reading the scripts of one message."""

from __future__ import annotations

MAX_STEPS = 30_000  # pieces of words in all scripts of one message, 3 us each, and one a character


class ScriptBudget:
    """The steps left for reading the scripts of one message.

    Attributes:
        steps: how many may still be taken.
        is_exceeded: True where there was more than was read.
    """

    __slots__ = ("is_exceeded", "steps")

    def __init__(self, length: int = 0) -> None:
        """Begin with the budget for scripts of `length` characters."""
        self.steps = MAX_STEPS + length
        self.is_exceeded = False

    def spend(self, steps: int = 1) -> bool:
        """Take steps; False, now and from now on, where fewer are left."""
        self.is_exceeded = self.is_exceeded or steps > self.steps
        self.steps -= 0 if self.is_exceeded else steps
        return not self.is_exceeded
