"""One command for several findings that have the same cure. Knows the commands that checks give."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeguard.assess.values import PostureFinding

_SETUP = ("pipeguard", "setup")
_SERVER = "--server="
_TAKES_FILES = ("chmod", "chown")  # their last word is a file, and they take several


def shared_cure(findings: Iterable[PostureFinding]) -> tuple[str, ...]:
    """The command that fixes all findings of one check that a command fixes.

    Returns:
        Its words; none where fewer than two have a command, or the commands cannot be one.
    """
    fixes = list(dict.fromkeys(finding.fix for finding in findings if finding.fix))
    if len(fixes) < 2:
        return ()
    if all(fix[:2] == _SETUP for fix in fixes):
        return _setup(fixes)
    heads = {fix[:-1] for fix in fixes}
    if len(heads) == 1 and fixes[0][0] in _TAKES_FILES:
        return (*fixes[0][:-1], *(fix[-1] for fix in fixes))
    return ()


def _setup(fixes: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """`pipeguard setup` for all clients and servers, of all scopes that are named."""
    words = [word for fix in fixes for word in fix[2:]]
    clients = [fix[2] for fix in fixes]
    servers = [word for word in words if word.startswith(_SERVER)]
    flags = [word for word in words if word in ("--shared",)]
    projects = sum("project" in fix for fix in fixes)
    scope = {0: [], len(fixes): ["--scope", "project"]}.get(projects, ["--scope", "all"])
    return (*_SETUP, *dict.fromkeys((*clients, *servers)), *scope, *dict.fromkeys(flags))
