"""What one run stopped, for the line at its end."""

from __future__ import annotations

from collections import Counter
from threading import Lock

from pipeguard.core.finding import Action, Verdict, enforced_action

TYPE_CHECKING = False  # as typing.TYPE_CHECKING
if TYPE_CHECKING:
    from pipeguard.state.finding_log import FindingLog

_COUNTED = {
    Action.BLOCK: "blocked",
    Action.CUT: "cut",
    Action.REDACT: "redacted",
    Action.WARN: "warned",
}


class RunTally:
    """Counts messages by what was done about them."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = Lock()  # both directions, and whatever else judges, count here

    def add(self, verdict: Verdict) -> None:
        """Count a message in which something was found."""
        if not verdict.findings:
            return
        enforced = max(map(enforced_action, verdict.findings))
        would = enforced > verdict.action and enforced > Action.WARN
        name = "would_be_stopped" if would else _COUNTED.get(verdict.action)
        if name is not None:
            with self._lock:
                self._counts[name] += 1

    def tell(self, log: FindingLog) -> None:
        """Say what the run came to, where it came to anything."""
        counts = dict(self._counts)
        if counts:
            is_quiet = counts.keys() <= {"warned"}
            level = "info" if is_quiet else "warning"
            log(level, "the run has ended", **counts, show="pipeguard status")
