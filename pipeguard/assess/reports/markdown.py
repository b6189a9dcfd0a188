"""Markdown, for a comment, a wiki or the summary of a CI job."""

from __future__ import annotations

import re
import shlex

from pipeguard.assess.assessing import Assessment
from pipeguard.assess.checking import checks
from pipeguard.assess.values import PostureFinding
from pipeguard.unicode.display import visible

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+.!|~@-])")

_LINKED = re.compile(r":(?=//)|@|#(?=\d)|\bwww(?=\\\.)|\bGH(?=\\-\d)", re.IGNORECASE)


def render(assessment: Assessment) -> str:
    """The findings as a table, and each server with what it can touch."""
    grade = assessment.grade
    lines = ["# MCP posture", "", f"Grade **{grade.letter}**, {grade.score} of 100.", ""]
    counts = [
        f"{count} {level.name.lower()}" for level, count in assessment.counts().items() if count
    ]
    lines += [f"{', '.join(counts) or 'Nothing was found'}.", ""]
    if assessment.findings:
        lines += ["| severity | check | where | what | fix |", "|---|---|---|---|---|"]
        lines += [_row(assessment, finding) for finding in assessment.findings]
        lines += ["", "## Why", ""]
        for name in dict.fromkeys(finding.check for finding in assessment.findings):
            check = checks()[name]
            lines += [f"**{name}**: {plain(check.why)}", "", f"{plain(check.fix)}", ""]
    if assessment.reached:
        lines += ["## Servers", "", "| server | state | clients | can touch |", "|---|---|---|---|"]
        for server in assessment.reached:
            cells = (server.server, server.condition, ", ".join(server.clients), server.extent)
            lines.append(f"| {' | '.join(map(plain, cells))} |")
        lines += ["", "*Enforced*: the server is isolated. All else is only by its word."]
    return "\n".join(lines) + "\n"


def plain(text: str) -> str:
    """Foreign text as Markdown that only shows it: no links, images, tables or HTML.

    Some hosts also link plain text: addresses, names after an @, numbers after a #. A zero-width
    space breaks these.
    """
    escaped = _SPECIAL.sub(r"\\\1", " ".join(visible(text).split()))
    escaped = escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _LINKED.sub(r"\g<0>&#8203;", escaped)


def _row(assessment: Assessment, finding: PostureFinding) -> str:
    server = plain(" ".join(filter(None, (finding.client, finding.server))))
    where = "<br>".join(filter(None, (server, plain(assessment.where(finding)))))
    mark = " (known)" if assessment.is_known(finding) else ""
    level = finding.severity.name.lower()
    fix = plain(shlex.join(finding.fix))
    return f"| {level}{mark} | {finding.check} | {where} | {plain(finding.message)} | {fix} |"
