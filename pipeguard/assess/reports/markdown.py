"""Markdown, for a comment, a wiki or the summary of a job."""

from __future__ import annotations

import re
import shlex

from pipeguard.assess.assessing import Assessment
from pipeguard.assess.checking import checks
from pipeguard.assess.values import PostureFinding
from pipeguard.core.unicode.display import visible

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+.!|~@-])")

_LINKED = re.compile(r":(?=//)|@|#(?=\d)|\bwww(?=\\\.)|\bGH(?=\\-\d)", re.IGNORECASE)


def render(assessment: Assessment) -> str:
    """The findings as a table, and each server with what it can touch."""
    grade = assessment.grade
    lines = ["# MCP posture", "", f"Grade **{grade.letter}**, {grade.score} of 100.", ""]
    told = [f"{count} {one.name.lower()}" for one, count in assessment.counts().items() if count]
    lines += [f"{', '.join(told) or 'Nothing was found'}.", ""]
    if assessment.findings:
        lines += ["| severity | check | where | what | mend |", "|---|---|---|---|---|"]
        lines += [_row(assessment, one) for one in assessment.findings]
        lines += ["", "## Why", ""]
        for name in dict.fromkeys(one.check for one in assessment.findings):
            check = checks()[name]
            lines += [f"**{name}**: {plain(check.why)}", "", f"{plain(check.mend)}", ""]
    if assessment.reached:
        lines += ["## Servers", "", "| server | state | clients | can touch |", "|---|---|---|---|"]
        for one in assessment.reached:
            touches = ", ".join(one.touches) or "nothing that is known"
            clients = ", ".join(one.clients)
            cells = (one.server, one.state.value, clients, touches + ("" if one.asked else "?"))
            lines.append(f"| {' | '.join(map(plain, cells))} |")
    return "\n".join(lines) + "\n"


def plain(text: str) -> str:
    """A text of somebody else's as Markdown that shows it: no links, images, tables or HTML.

    Hosts also make links of what is left as text: addresses, names after an @, numbers after a #.
    A space without width keeps these apart from what makes them one.
    """
    escaped = _SPECIAL.sub(r"\\\1", " ".join(visible(text).split()))
    escaped = escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _LINKED.sub(r"\g<0>&#8203;", escaped)


def _row(assessment: Assessment, finding: PostureFinding) -> str:
    named = plain(" ".join(filter(None, (finding.client, finding.server))))
    where = "<br>".join(filter(None, (named, plain(assessment.where(finding)))))
    known = " (known)" if assessment.is_known(finding) else ""
    level = finding.severity.name.lower()
    mend = plain(shlex.join(finding.mend))
    return f"| {level}{known} | {finding.check} | {where} | {plain(finding.message)} | {mend} |"
