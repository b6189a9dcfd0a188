"""A table for people at a terminal."""

from __future__ import annotations

import shlex
import shutil
import textwrap
from itertools import groupby

import click

from pipeguard.assess.assessing import Assessment
from pipeguard.assess.checking import checks
from pipeguard.assess.cures import shared_cure
from pipeguard.assess.values import PostureFinding
from pipeguard.firewall.finding import Severity
from pipeguard.unicode.display import pluralize, visible

_COLOURS = {
    Severity.CRITICAL: "red",
    Severity.HIGH: "red",
    Severity.MEDIUM: "yellow",
    Severity.LOW: "cyan",
    Severity.INFO: "bright_black",
}
_LEVEL_CHARS = 10
_WIDEST = 120  # longer lines are hard to read
_NARROWEST = 50


def render(assessment: Assessment) -> str:
    """The findings, the worst first, then grade and counts."""
    width = max(_NARROWEST, min(shutil.get_terminal_size().columns, _WIDEST))
    lines: list[str] = []
    for check, group in groupby(assessment.findings, key=lambda finding: finding.check):
        findings = tuple(group)
        lines += ["", click.style(checks()[check].title, bold=True)]
        cure = shared_cure(findings)
        if cure:
            lines += [f"  All at once:  {visible(shlex.join(cure))}"]
        for finding in findings:
            lines += _finding(assessment, finding, width)
    return "\n".join([*lines, "", *_end(assessment)]).lstrip("\n")


def _finding(assessment: Assessment, finding: PostureFinding, width: int) -> list[str]:
    level = finding.severity.name.lower()
    named = visible(" ".join(filter(None, (finding.client, finding.server))))
    where = "  ".join(filter(None, (named, assessment.where(finding))))
    mark = "  (known)" if assessment.is_known(finding) else ""
    head = f"  {click.style(level.ljust(_LEVEL_CHARS), fg=_COLOURS[finding.severity])}"
    lines = [head + (where or finding.check) + mark]
    indent = " " * (_LEVEL_CHARS + 2)
    lines += textwrap.wrap(
        visible(finding.message), width, initial_indent=indent, subsequent_indent=indent
    )
    if finding.fix:
        lines.append(f"{indent}$ {visible(shlex.join(finding.fix))}")
    return lines


def _end(assessment: Assessment) -> list[str]:
    grade = assessment.grade
    servers = len(assessment.reached)
    files = len(assessment.target.configs)
    counts = [
        f"{count} {level.name.lower()}" for level, count in assessment.counts().items() if count
    ]
    seen = f"{pluralize(servers, 'server')} in {pluralize(files, 'file')}"
    summary = ", ".join(counts) or "nothing was found"
    lines = [f"Grade {grade.letter}, {grade.score} of 100. {seen}; {summary}."]
    if servers and not any(row.from_tools for row in assessment.reached):
        where = f" {shlex.quote(str(root))}" if (root := assessment.target.root) else ""
        trust = "     (starts them: only if you trust the repository)" if root else ""
        lines.append(f"To see what they offer:  pipeguard assess{visible(where)} --connect{trust}")
    names = dict.fromkeys(finding.check for finding in assessment.findings)
    if names:
        lines.append("Why, and what to do:")
        lines += [f"  pipeguard assess --explain {name}" for name in names]
    return lines
