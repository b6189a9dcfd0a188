"""Refused HTTP requests, for the audit: counted, so that a client cannot fill it by asking often.

The first refusal for a reason is recorded at once; later ones within an interval are recorded
together at its end. Nothing that a client chose is stored, except its address: no header, no path,
no name.
"""

import asyncio
from collections import Counter
from collections.abc import Callable

from pipeguard.firewall.finding import Finding
from pipeguard.transports.http.server.admission import RefusalReason

INTERVAL_SECONDS = 60.0
PLACE = "http.request"


class Refusals:
    """Counts refusals, and records them at most once for each reason and interval.

    Args:
        record: takes a finding, and the address of the client or of the first one.
        interval_seconds: between two records for one reason.
    """

    def __init__(
        self, record: Callable[[Finding, str], None], interval_seconds: float = INTERVAL_SECONDS
    ) -> None:
        self._record = record
        self._interval_seconds = interval_seconds
        self._timers: dict[RefusalReason, asyncio.TimerHandle] = {}  # end the intervals
        self._later = Counter[RefusalReason]()  # refusals that are not recorded yet
        self._peers: dict[RefusalReason, str] = {}  # the address of the first of these

    def add(self, reason: RefusalReason, route: str, peer: str) -> None:
        """Count a refused request.

        Args:
            reason: why.
            route: method and path, in words of ours, as `POST /mcp`.
            peer: the client's network address.
        """
        if reason in self._timers:
            self._peers[reason] = self._peers.get(reason) or peer
            self._later[reason] += 1
            return
        self._begin_interval(reason)
        where = f" ({route})" if route else ""
        self._write(reason, f"1 request: {reason.words}{where}", peer)

    def close(self) -> None:
        """Record all counts."""
        for reason, timer in self._timers.items():
            timer.cancel()
            self._sum_up(reason)
        self._timers.clear()

    def _begin_interval(self, reason: RefusalReason) -> None:
        loop = asyncio.get_running_loop()
        self._timers[reason] = loop.call_later(self._interval_seconds, self._end_interval, reason)

    def _end_interval(self, reason: RefusalReason) -> None:
        del self._timers[reason]
        if self._later[reason]:
            self._begin_interval(reason)  # first, even if recording fails
            self._sum_up(reason)

    def _sum_up(self, reason: RefusalReason) -> None:
        count, peer = self._later.pop(reason, 0), self._peers.pop(reason, "")
        if count:
            requests = f"{count} more request{'s' if count > 1 else ''}"
            note = f"{requests} within {self._interval_seconds:g} s: {reason.words}"
            self._write(reason, note, peer)

    def _write(self, reason: RefusalReason, note: str, peer: str) -> None:
        self._record(Finding(reason.rule, PLACE, severity=reason.severity, note=note), peer)
