"""The JSON report, for programs."""

import json
import shlex
from dataclasses import asdict

from pipeguard.assess.assessing import Assessment
from pipeguard.assess.checking import checks
from pipeguard.assess.values import PostureFinding
from pipeguard.version import VERSION


def render(assessment: Assessment) -> str:
    """The whole assessment as one JSON object."""
    grade = assessment.grade
    fields = {
        "version": 1,
        "pipeguard": VERSION,
        "repository": assessment.target.is_repository,
        "score": grade.score,
        "grade": grade.letter,
        "costs": grade.costs,
        "counts": {level.name.lower(): count for level, count in assessment.counts().items()},
        "findings": [_finding_fields(assessment, finding) for finding in assessment.findings],
        "servers": [asdict(row) for row in assessment.reached],
    }
    return json.dumps(fields, indent=2)


def _finding_fields(assessment: Assessment, finding: PostureFinding) -> dict[str, object]:
    check = checks()[finding.check]
    return {
        "id": finding.check,
        "severity": finding.severity.name.lower(),
        "title": check.title,
        "message": finding.message,
        "file": assessment.file(finding),
        "line": finding.line or None,
        "client": finding.client,
        "server": finding.server,
        "why": check.why,
        "fix": check.fix,
        "command": shlex.join(finding.fix),
        "page": check.page,
        "fingerprint": assessment.fingerprint(finding),
        "known": assessment.is_known(finding),
    }
