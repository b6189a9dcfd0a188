"""How many notifications a peer may send."""

from __future__ import annotations

from pipeguard.firewall.finding import Finding
from pipeguard.firewall.session.envelope import dropped


class NotificationQuota:
    """The notifications of one direction within the current second."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._since = float("-inf")
        self._count = self._dropped = 0
        self._is_reported = False

    def take(self, now: float, *, is_expendable: bool) -> list[Finding] | None:
        """Count a notification.

        Returns:
            None if it may go on. If it is dropped, the reason, once a second.
        """
        if now - self._since >= 1.0:
            self._since, self._count, self._is_reported = now, 0, False
        self._count += 1
        if self._count <= self._limit or not is_expendable:
            return None
        self._dropped += 1
        if self._is_reported:
            return []
        self._is_reported = True
        return dropped(
            "protocol.flood",
            f"more than {self._limit} notifications came in a second: progress and log messages"
            f" beyond that are dropped ({self._dropped} so far)",
        )
