"""SARIF 2.1.0 (OASIS), for code scanning: one run, a rule for each check with findings."""

import json
import re
import shlex
from pathlib import Path

from pipeguard.assess.assessing import Assessment
from pipeguard.assess.checking import checks, page
from pipeguard.assess.values import PostureCheck, PostureFinding
from pipeguard.firewall.finding import Severity
from pipeguard.version import VERSION

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
FINGERPRINT = "pipeguard/v1"
# The level, and how GitHub's code scanning sorts it: a number from 0 to 10, as a string.
_LEVELS = {
    Severity.CRITICAL: ("error", "9.5"),
    Severity.HIGH: ("error", "8.0"),
    Severity.MEDIUM: ("warning", "5.5"),
    Severity.LOW: ("note", "2.0"),
    Severity.INFO: ("note", "0.0"),
}
_BRACKET = re.compile(r"(?<!\\)(\\*+)([\[\]])")  # reads a run of backslashes once


def render(assessment: Assessment) -> str:
    """A SARIF log."""
    is_repository = assessment.target.is_repository
    base = "The top of the repository" if is_repository else "The user's home folder"
    names = list(dict.fromkeys(finding.check for finding in assessment.findings))
    results = [
        _result(assessment, finding, names.index(finding.check)) for finding in assessment.findings
    ]
    run = {
        "tool": {
            "driver": {
                "name": "PipeGuard",
                "semanticVersion": VERSION,
                "rules": [_rule(checks()[name]) for name in names],
            }
        },
        "originalUriBaseIds": {"ROOT": {"description": {"text": f"{base}."}}},
        "columnKind": "unicodeCodePoints",
        "results": results,
        "properties": {"score": assessment.grade.score, "grade": assessment.grade.letter},
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2)


def plain(text: str) -> str:
    """Text without links for any reader (SARIF 2.1.0, 3.11.6): each bracket is escaped.

    A backslash before a bracket is escaped too, or it would undo the escape; others stay.
    """
    return _BRACKET.sub(r"\1\1\\\2", text)


def _rule(check: PostureCheck) -> dict[str, object]:
    level, number = _LEVELS[check.severity]
    return {
        "id": check.id,
        "shortDescription": {"text": check.title},
        "fullDescription": {"text": check.why},
        "help": {"text": check.fix, "markdown": page(check)},
        "defaultConfiguration": {"level": level},
        "properties": {
            "tags": ["security", "mcp"],
            "security-severity": number,
            "page": check.page,
        },
    }


def _result(assessment: Assessment, finding: PostureFinding, index: int) -> dict[str, object]:
    fix = f" Fix it: {shlex.join(finding.fix)}" if finding.fix else ""
    server = f"{finding.server}: " if finding.server else ""
    result: dict[str, object] = {
        "ruleId": finding.check,
        "ruleIndex": index,
        "level": _LEVELS[finding.severity][0],
        "message": {"text": plain(f"{server}{finding.message}{fix}")},
        "partialFingerprints": {FINGERPRINT: assessment.fingerprint(finding)},
        "baselineState": "unchanged" if assessment.is_known(finding) else "new",
        "properties": {"severity": finding.severity.name.lower(), "client": finding.client},
    }
    if not assessment.baseline:
        del result["baselineState"]  # nothing was compared (section 3.27.24)
    if finding.file:
        place: dict[str, object] = {"artifactLocation": _artifact(assessment, finding.file)}
        if finding.line:
            place["region"] = {"startLine": finding.line}
        result["locations"] = [{"physicalLocation": place}]
    return result


def _artifact(assessment: Assessment, path: Path) -> dict[str, str]:
    """Describe a file as a URI: relative to the base if it is below it, else absolute."""
    base = assessment.target.base
    if path.is_relative_to(base):
        relative = path.relative_to(base)
        quoted = Path("/", relative).as_uri().removeprefix("file:///")
        return {"uri": quoted, "uriBaseId": "ROOT"}
    return {"uri": path.as_uri()}
