"""When a server that fails is started again: later each time, and rarely once it failed often."""

from __future__ import annotations

import random

FIRST_DELAY_SECONDS, MOST_DELAY_SECONDS = 0.5, 60.0  # between two starts of one that fails
JITTER = 0.25  # of a delay, either way: servers that fell together do not rise together
MOST_FAILURES = 5  # in a row, after which the circuit is open
STEADY_SECONDS = 60.0  # that a server runs before its failures are forgotten


class Circuit:
    """The failures in a row of one server.

    The circuit opens with the last of `MOST_FAILURES`: the server is tried once in
    `MOST_DELAY_SECONDS` from then on, and the circuit closes once it has run for
    `STEADY_SECONDS`.

    Attributes:
        failures: in a row.
    """

    def __init__(self) -> None:
        self.failures = 0

    @property
    def is_open(self) -> bool:
        """True where it failed too often in a row."""
        return self.failures >= MOST_FAILURES

    def failed(self, ran_seconds: float) -> float:
        """Count a failure; how long to wait before the next start.

        Args:
            ran_seconds: for which it was up.
        """
        if ran_seconds > STEADY_SECONDS:
            self.failures = 0
        self.failures += 1
        doubled: float = FIRST_DELAY_SECONDS * 2 ** (self.failures - 1)
        delay = MOST_DELAY_SECONDS if self.is_open else doubled
        jitter = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  no secret
        return min(delay, MOST_DELAY_SECONDS) * jitter
