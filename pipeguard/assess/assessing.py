"""The checks run over a subject, and what comes of it as one value for every report."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

from pipeguard.assess.checking import families
from pipeguard.assess.grade import Grade, grade
from pipeguard.assess.reach import Reached, reached
from pipeguard.assess.target import AssessmentTarget
from pipeguard.assess.values import PostureFinding, shortened
from pipeguard.core.finding import Severity
from pipeguard.core.unicode.display import visible
from pipeguard.runtime.run import Mask


@dataclass(frozen=True, slots=True)
class Assessment:
    """What was found.

    Attributes:
        subject: what was assessed.
        findings: by check, the worst first.
        known: fingerprints of those that a baseline holds.
        grade: of all of them.
        reached: which client reaches which server, and what that can touch.
    """

    subject: AssessmentTarget
    findings: tuple[PostureFinding, ...]
    known: frozenset[str]
    grade: Grade
    reached: tuple[Reached, ...]

    def fingerprint(self, finding: PostureFinding) -> str:
        """What a finding is known by."""
        return finding.fingerprint(self.subject.base)

    def is_known(self, finding: PostureFinding) -> bool:
        """Whether the baseline has it."""
        return self.fingerprint(finding) in self.known

    def fails(self, least: Severity | None) -> bool:
        """Whether something new is at least that bad."""
        return least is not None and any(
            one.severity >= least and not self.is_known(one) for one in self.findings
        )

    def file(self, finding: PostureFinding) -> str:
        """The file: from the repository's top, or from ~ on; empty for none."""
        path = shortened(finding.file, self.subject.base)
        is_short = path and finding.file is not None and path != finding.file.as_posix()
        return visible(f"~/{path}" if is_short and not self.subject.is_repository else path)

    def where(self, finding: PostureFinding) -> str:
        """File and line, as editors take them; empty where it is in no file."""
        path = self.file(finding)
        return f"{path}:{finding.line}" if finding.line else path

    def counts(self) -> dict[Severity, int]:
        """How many there are of each severity, the worst first; none left out."""
        return {
            severity: sum(one.severity is severity for one in self.findings)
            for severity in sorted(Severity, reverse=True)
        }


def assess(subject: AssessmentTarget, known: Collection[str] = ()) -> Assessment:
    """Run every check.

    Args:
        subject: what is assessed.
        known: fingerprints of what was found before.
    """
    found = [finding for family in families() for finding in family.look(subject)]
    worst: dict[str, int] = {}
    for one in found:
        worst[one.check] = max(worst.get(one.check, 0), one.severity)
    found.sort(
        key=lambda one: (-worst[one.check], one.check, -one.severity, str(one.file), one.line)
    )
    clean = _cleaner(subject)
    masked = tuple(_once((_without_secrets(one, clean) for one in found), subject))
    rows = tuple(_row_without_secrets(one, clean) for one in reached(subject))
    return Assessment(subject, masked, frozenset(known), grade(masked), rows)


def _once(
    findings: Iterable[PostureFinding], subject: AssessmentTarget
) -> Iterable[PostureFinding]:
    """Each fingerprint once."""
    seen: set[str] = set()
    for finding in findings:
        if (known := finding.fingerprint(subject.base)) not in seen:
            seen.add(known)
            yield finding


def _cleaner(subject: AssessmentTarget) -> Callable[[str], str]:
    """Hides what the rules take for a secret, whoever let it into a text, and what is unseen."""
    mask = Mask(subject.engines)

    def clean(text: str) -> str:
        hidden = mask(text.encode("utf-8", "replace")).decode("utf-8", "replace")
        return visible(hidden)

    return clean


def _without_secrets(one: PostureFinding, clean: Callable[[str], str]) -> PostureFinding:
    return replace(
        one,
        message=clean(one.message),
        mend=tuple(map(clean, one.mend)),
        server=clean(one.server),
        key=clean(one.key),
    )


def _row_without_secrets(one: Reached, clean: Callable[[str], str]) -> Reached:
    return replace(
        one,
        server=clean(one.server),
        what=clean(one.what),
        tools=tuple(map(clean, one.tools)),
    )
