"""A table for people at a terminal."""

import shlex
import shutil
import textwrap
from collections.abc import Sequence

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
_INDENT = " " * (_LEVEL_CHARS + 2)
_WIDEST = 120  # longer lines are hard to read
_NARROWEST = 50
_UNSEEN = "Not looked at: instruction files, such as CLAUDE.md, AGENTS.md, rules and skills."


def render(assessment: Assessment) -> str:
    """Render findings by server, the worst first, shared ones once. Then the grade."""
    width = max(_NARROWEST, min(shutil.get_terminal_size().columns, _WIDEST))
    same: dict[tuple[str, ...], list[PostureFinding]] = {}
    for finding in assessment.findings:
        mark = " (known)" if assessment.is_known(finding) else ""
        same.setdefault((finding.check, finding.message, bool(finding.server) * mark), []).append(
            finding
        )
    blocks: list[tuple[Severity, list[str]]] = []
    own: dict[str, list[PostureFinding]] = {}
    for (check, _, mark), findings in same.items():
        first = findings[0]
        title = checks()[check].title
        if not first.server or len(findings) == 1:
            file = assessment.file(first)
            own.setdefault(f"{_name(first)}  {file}" if first.server else title, []).extend(
                findings
            )
        else:
            count = pluralize(len(findings), "server")
            head = click.style(f"{title}: {count}{mark}", bold=True)
            blocks.append((first.severity, ["", head, *_render_shared(findings, width)]))
    for title, findings in own.items():
        lines = ["", click.style(visible(title), bold=True)]
        cure = shared_cure(findings) if not findings[0].server else ()
        lines += [f"  All at once:  {_command(cure)}"] if cure else []
        for finding in findings:
            lines += _finding(assessment, finding, width)
        blocks.append((max(finding.severity for finding in findings), lines))
    blocks.sort(key=lambda block: -block[0])
    text = [line for _, lines in blocks for line in lines]
    return "\n".join([*text, "", *_end(assessment)]).lstrip("\n")


def _name(finding: PostureFinding) -> str:
    return visible(" ".join(filter(None, (finding.client, finding.server))))


def _level(finding: PostureFinding) -> str:
    level = finding.severity.name.lower().ljust(_LEVEL_CHARS)
    return f"  {click.style(level, fg=_COLOURS[finding.severity])}"


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(visible(text), width, initial_indent=_INDENT, subsequent_indent=_INDENT)


def _command(words: Sequence[str]) -> str:
    """Format a command to copy; a comment says if it changes files that others get."""
    note = "  # changes files in git" * ("--shared" in words)
    return visible(shlex.join(words)) + note


def _render_shared(findings: Sequence[PostureFinding], width: int) -> list[str]:
    """Render a sentence that applies to several servers, and the command that fixes all."""
    names = _wrap(", ".join(dict.fromkeys(map(_name, findings))), width)
    names[0] = _level(findings[0]) + names[0].strip()
    cure = shared_cure(findings)
    fixes = [cure] if cure else dict.fromkeys(each.fix for each in findings if each.fix)
    return [
        *names,
        *_wrap(findings[0].message, width),
        *(f"{_INDENT}$ {_command(fix)}" for fix in fixes),
    ]


def _finding(assessment: Assessment, finding: PostureFinding, width: int) -> list[str]:
    mark = "  (known)" if assessment.is_known(finding) else ""
    where = "  ".join(filter(None, (_name(finding), assessment.where(finding))))
    if finding.server:
        line = f", line {finding.line}" if finding.line else ""
        where = f"{checks()[finding.check].title}{line}"
    lines = [_level(finding) + (where or finding.check) + mark, *_wrap(finding.message, width)]
    if finding.fix:
        lines.append(f"{_INDENT}$ {_command(finding.fix)}")
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
    if assessment.baseline:
        summary += f"; {sum(not assessment.is_known(each) for each in assessment.findings)} new"
    lines = [f"Grade {grade.letter}, {grade.score} of 100. {seen}; {summary}."]
    is_known = assessment.target.contents or any(row.asked for row in assessment.reached)
    if servers and not is_known:
        where = f" {shlex.quote(str(root))}" if (root := assessment.target.root) else ""
        trust = "     (starts them: only if you trust the repository)" if root else ""
        lines.append(f"To see what they offer:  pipeguard assess{visible(where)} --connect{trust}")
    lines.append(_UNSEEN)
    names = dict.fromkeys(finding.check for finding in assessment.findings)
    if names:
        lines.append("Why, and what to do:")
        lines += [f"  pipeguard assess --explain {name}" for name in names]
    return lines
