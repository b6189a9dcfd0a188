"""Findings as lines of the log, each with the command that would allow what was blocked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pipeguard.firewall.finding import Action, Severity
from pipeguard.firewall.session.remedies import Way, decisive_rule, find_remedy
from pipeguard.firewall.session.replies import how_to_allow
from pipeguard.state.connections import KIND

if TYPE_CHECKING:
    from pipeguard.firewall.finding import Finding
    from pipeguard.state.verdict_writer import PendingVerdict


class FindingLog(Protocol):
    """The log as the recorder uses it; called in the recorder's thread."""

    def __call__(self, level: str, event: str, **fields: object) -> None:
        """Write one line.

        Args:
            level: `info`, `warning` or `error`.
            event: what happened, in a few words.
            fields: the details, masked.
        """


def log_findings(log: FindingLog, verdict: PendingVerdict, *, is_audited: bool = True) -> None:
    """Write a line for each finding of a verdict.

    Args:
        log: takes the lines.
        verdict: what was decided.
        is_audited: whether `allow` and `explain` will find the event.
    """
    least = min(verdict.action, Action.CUT)
    stopped = [(f.rule, f.tool or "") for f in verdict.findings if f.action >= least]
    event = verdict.event if is_audited else ""
    for finding in verdict.findings:
        rule = decisive_rule(finding.rule, finding.tool or "", stopped)
        # The finding of a definition that waits names the command that shows it.
        decisive = next(
            (f for f in verdict.findings if f.rule == rule and f.tool in (finding.tool, None)),
            finding._replace(rule=rule),
        )
        # A failed answer passes, and its pointer is to the file that the server was not given.
        is_file = bool(finding.pointer) and find_remedy(rule).way is Way.GRANT
        is_stopped = finding.action >= Action.CUT or is_file
        log(
            _level(finding),
            f"{finding.action.name.lower()} {finding.rule}",
            event_id=verdict.event,
            token=verdict.token,
            direction="" if verdict.kind == KIND else verdict.direction.value,
            method=verdict.method,
            tool=finding.tool or verdict.tool,
            place=finding.place,
            pointer=finding.pointer,
            view=finding.view,
            severity=finding.severity.name.lower(),
            confidence=finding.confidence.name.lower(),
            excerpt=finding.excerpt,
            note=finding.note,
            would="" if finding.would is None else finding.would.name.lower(),
            how_to_allow=how_to_allow(decisive, event) if is_stopped else "",
        )


def _level(finding: Finding) -> str:
    # A low severity is housekeeping, as progress that came after a cancellation.
    is_serious = finding.action >= Action.WARN and finding.severity > Severity.LOW
    return "warning" if is_serious else "info"
