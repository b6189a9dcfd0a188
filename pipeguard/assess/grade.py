"""From findings to a score and a grade; docs/assess.md describes the same.

Each check costs the weight of its worst finding, plus a quarter of that for each further finding,
at most twice the weight. The score is 100 less the costs, and never below 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipeguard.assess.values import PostureFinding
from pipeguard.core.finding import Severity

WHOLE = 100
WEIGHTS = {
    Severity.CRITICAL: 40,
    Severity.HIGH: 20,
    Severity.MEDIUM: 8,
    Severity.LOW: 2,
    Severity.INFO: 0,
}
MORE = 0.25  # of the weight, for each further finding of a check
MOST = 2.0  # times the weight, for all findings of a check
GRADES = (("A", 90), ("B", 75), ("C", 60), ("D", 40), ("F", 0))
# The best possible grade with a finding of this severity, whatever the score.
CAPS = {Severity.CRITICAL: "D", Severity.HIGH: "C"}


@dataclass(frozen=True, slots=True)
class Grade:
    """Score and grade.

    Attributes:
        score: 0 to 100.
        letter: A, B, C, D or F.
        costs: what each check costs, by its id.
    """

    score: int
    letter: str
    costs: dict[str, float]


def grade(findings: Iterable[PostureFinding]) -> Grade:
    """The score and grade for these findings."""
    by_check: dict[str, list[Severity]] = {}
    for finding in findings:
        by_check.setdefault(finding.check, []).append(finding.severity)
    costs = {check: _cost(severities) for check, severities in by_check.items()}
    score = max(0, round(WHOLE - sum(costs.values())))
    letters = [letter for letter, least in GRADES if score >= least][:1]
    worst = max((max(severities) for severities in by_check.values()), default=Severity.INFO)
    letters += [CAPS[worst]] if worst in CAPS else []
    return Grade(score, max(letters), costs)


def _cost(severities: list[Severity]) -> float:
    weight = WEIGHTS[max(severities)]
    return min(weight * (1 + MORE * (len(severities) - 1)), weight * MOST)
