"""Runs all checks over a target, and gives one value for every report."""

import importlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

from pipeguard.assess.checking import families
from pipeguard.assess.reach import Reached, find_reach
from pipeguard.assess.target import AssessmentTarget
from pipeguard.assess.values import PostureFinding, shorten
from pipeguard.firewall.finding import Severity
from pipeguard.runtime.run import Mask
from pipeguard.unicode.display import visible

_Value = TypeVar("_Value", PostureFinding, Reached)
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


class Grade(NamedTuple):
    """Score and grade.

    Attributes:
        score: 0 to 100.
        letter: A, B, C, D or F.
        costs: the points that each check costs, by its id.
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


@dataclass(frozen=True, slots=True)
class Assessment:
    """The result of all checks.

    Attributes:
        findings: by check, the worst first.
        baseline: fingerprints of findings that are not new.
        grade: of all findings.
        reached: the servers that clients reach, and what those can touch.
    """

    target: AssessmentTarget
    findings: tuple[PostureFinding, ...]
    baseline: frozenset[str]
    grade: Grade
    reached: tuple[Reached, ...]

    def fingerprint(self, finding: PostureFinding) -> str:
        """Compute the fingerprint by which a baseline recognises a finding."""
        return finding.fingerprint(self.target.base)

    def is_known(self, finding: PostureFinding) -> bool:
        """True if the baseline has this finding."""
        return self.fingerprint(finding) in self.baseline

    def fails(self, least: Severity | None) -> bool:
        """True if a new finding is at least this severe."""
        return least is not None and any(
            finding.severity >= least and not self.is_known(finding) for finding in self.findings
        )

    def file(self, finding: PostureFinding) -> str:
        """The path from the repository's top, or with ~; empty if the finding is in no file."""
        path = shorten(finding.file, self.target.base)
        is_short = path and finding.file and path != finding.file.as_posix()
        return visible(f"~/{path}" if is_short and not self.target.is_repository else path)

    def where(self, finding: PostureFinding) -> str:
        """File and line, as editors take them; empty if the finding is in no file."""
        path = self.file(finding)
        return f"{path}:{finding.line}" if finding.line else path

    def counts(self) -> dict[Severity, int]:
        """The number of findings of each severity, the worst first, zeros included."""
        return {
            severity: sum(finding.severity is severity for finding in self.findings)
            for severity in sorted(Severity, reverse=True)
        }


def assess(target: AssessmentTarget, baseline: Collection[str] = ()) -> Assessment:
    """Run every check.

    Args:
        target: the machine or repository.
        baseline: fingerprints of findings that are not new.
    """
    findings = [finding for family in families() for finding in family.look(target)]
    worst: dict[str, int] = {}
    for finding in findings:
        worst[finding.check] = max(worst.get(finding.check, 0), finding.severity)
    findings.sort(
        key=lambda finding: (
            -worst[finding.check],
            finding.check,
            -finding.severity,
            str(finding.file),
            finding.line,
        )
    )
    clean = _cleaner(target)
    once: dict[str, PostureFinding] = {}  # by fingerprint
    for finding in findings:
        masked = _without_secrets(finding, ("message", "fix", "server", "key"), clean)
        once.setdefault(masked.fingerprint(target.base), masked)
    shown = tuple(once.values())
    texts = ("name", "what", "tools", "given")
    rows = tuple(_without_secrets(row, texts, clean) for row in find_reach(target))
    return Assessment(target, shown, frozenset(baseline), grade(shown), rows)


def _cleaner(target: AssessmentTarget) -> Callable[[str], str]:
    """Return a function that masks secrets and shows invisible characters in a text."""
    mask = Mask(lambda: target.engines)

    def clean(text: str) -> str:
        hidden = mask(text.encode("utf-8", "replace")).decode("utf-8", "replace")
        return visible(hidden)

    return clean


def _without_secrets(value: _Value, names: Iterable[str], clean: Callable[[str], str]) -> _Value:
    """Mask the texts, and the tuples of texts, in some fields of a value."""
    texts = {name: getattr(value, name) for name in names}
    masked: dict[str, Any] = {
        name: clean(text) if isinstance(text, str) else tuple(map(clean, text))
        for name, text in texts.items()
    }
    return replace(value, **masked)


# --- reporting --------------------------------------------------------------------------
# The forms of a report: each module in `reports` has `render(assessment)`.


def report(form: str, assessment: Assessment) -> str:
    """A report in the form of this name, which is a module in `reports`."""
    text = importlib.import_module(f"pipeguard.assess.reports.{form}").render(assessment)
    assert isinstance(text, str)  # noqa: S101  a test calls each
    return text
