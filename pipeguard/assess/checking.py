"""The checks, found in their folder."""

import importlib
from functools import cache
from pathlib import Path
from typing import Protocol, cast

from pipeguard.assess.target import AssessmentTarget
from pipeguard.assess.values import Findings, PostureCheck
from pipeguard.errors import InputError
from pipeguard.unicode.display import suggestion


class Family(Protocol):
    """A module of `checks`."""

    CHECKS: tuple[PostureCheck, ...]

    def look(self, target: AssessmentTarget) -> Findings:
        """Everything that its checks find."""


@cache
def families() -> tuple[Family, ...]:
    """Every module of checks, by its name."""
    names = sorted(path.stem for path in (Path(__file__).parent / "checks").glob("[a-z]*.py"))
    modules = (importlib.import_module(f"pipeguard.assess.checks.{name}") for name in names)
    return tuple(cast(Family, module) for module in modules)


@cache
def checks() -> dict[str, PostureCheck]:
    """Every check, by id."""
    return {check.id: check for family in families() for check in family.CHECKS}


def to_check(name: str) -> PostureCheck:
    """Return the check with this id.

    Raises:
        InputError: no check has this id.
    """
    if name not in checks():
        near = suggestion(name, checks(), listed=True)
        listed = "" if near else " There are:\n  " + "\n  ".join(sorted(checks()))
        raise InputError(f"no check is named {name!r}.{near}{listed}")
    return checks()[name]


def page(check: PostureCheck) -> str:
    """The page of a check, in Markdown."""
    lines = [
        f"# {check.id}",
        "",
        f"{check.title}. Severity: {check.severity.name.lower()} at most.",
        "",
        "## Why",
        "",
        check.why,
        "",
        "## What to do",
        "",
        check.fix,
    ]
    if check.command:
        lines += ["", f"    {check.command}"]
    if check.id == "agent-runs-unasked":
        from pipeguard.assess.checks.agents import list_settings

        lines += ["", "## Settings", "", *list_settings()]
    for title, text in (("Before", check.before), ("After", check.after)):
        if text:
            lines += ["", f"## {title}", "", "```text", text, "```"]
    return "\n".join(lines) + "\n"
