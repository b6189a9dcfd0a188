"""Verdicts as lines of the log, each with the command that would allow a blocked message."""

from typing import Protocol

from pipeguard.firewall.finding import Action, Finding, Severity, worst
from pipeguard.firewall.session.remedies import Way, decisive_rule, find_way
from pipeguard.firewall.session.replies import how_to_allow
from pipeguard.state.verdict_writer import CONNECTION, PendingVerdict

LEVELS = ("info", "warning")
NAMED_RULES = 5  # next to the one that decides


class FindingLog(Protocol):
    """The log as the recorder uses it; called in the recorder's thread."""

    def __call__(self, level: str, event: str, **fields: object) -> None:
        """Write one line.

        Args:
            level: `info`, `warning` or `error`.
            event: its name, in a few words.
            fields: the details, masked.
        """


def log_findings(log: FindingLog, verdict: PendingVerdict, *, is_audited: bool) -> None:
    """Write one line for a verdict: its most serious finding, and the other rules by name.

    If the message was stopped, it names the command that shows the rest.

    Args:
        log: takes the line.
        verdict: with the findings.
        is_audited: whether `allow` and `explain` will find the event.
    """
    finding = worst(verdict.findings)
    others = tuple(dict.fromkeys(f.rule for f in verdict.findings if f.rule != finding.rule))
    is_stopped = finding.action >= Action.REDACT and bool(verdict.event)
    more = f" and {len(others) - NAMED_RULES} more" if len(others) > NAMED_RULES else ""
    log(
        max(map(_level, verdict.findings), key=LEVELS.index),
        f"{finding.action.name.lower()} {finding.rule}",
        event_id=verdict.event,
        token=verdict.token,
        direction="" if verdict.kind == CONNECTION else verdict.direction.value,
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
        findings=len(verdict.findings) if len(verdict.findings) > 1 else "",
        also=", ".join(others[:NAMED_RULES]) + more,
        explain=f"pipeguard explain {verdict.event if is_audited else finding.rule}" * is_stopped,
        how_to_allow=_how_to_allow(finding, verdict, verdict.event if is_audited else ""),
    )


def _how_to_allow(finding: Finding, verdict: PendingVerdict, event: str) -> str:
    """The command for the rule that stopped a message; empty if it passed."""
    # A failed answer passes, and its pointer is to the file that the server was not given.
    is_file = bool(finding.pointer) and find_way(finding.rule) is Way.GRANT
    if finding.action < Action.CUT and not is_file:
        return ""
    least = min(verdict.action, Action.CUT)
    stopped = [f for f in verdict.findings if f.action >= least]
    rules = [(f.rule, f.tool or "") for f in stopped]
    rule = decisive_rule(finding.rule, finding.tool or "", rules)
    # The finding of a definition that waits names the command that shows it.
    waiting = {f.excerpt for f in stopped if find_way(f.rule) is Way.APPROVE}
    decisive = next(
        (f for f in verdict.findings if f.rule == rule and f.tool in (finding.tool, None)),
        finding._replace(rule=rule),
    )
    return how_to_allow(decisive._replace(excerpt="") if len(waiting) > 1 else decisive, event)


def _level(finding: Finding) -> str:
    # A low severity is housekeeping, as progress that came after a cancellation.
    is_serious = finding.action >= Action.WARN and finding.severity > Severity.LOW
    return "warning" if is_serious else "info"
