"""One command for several findings that have the same cure. Knows the commands that checks give."""

from collections.abc import Iterable, Sequence

from pipeguard.assess.target import AssessmentTarget
from pipeguard.assess.values import PostureFinding
from pipeguard.clients import catalog, entries, machine, rewrite

_SETUP = ("pipeguard", "setup")
_SERVER = "--server="
_TAKES_FILES = ("chmod", "chown")  # their last word is a file, and they take several


def setup_command(target: AssessmentTarget, server: entries.ServerEntry) -> tuple[str, ...]:
    """Return the words of `pipeguard setup` for a server; empty if its command must change."""
    if rewrite.find_piped(server.own_words):
        return ()
    words = [*_SETUP, server.client, f"{_SERVER}{server.name}"]
    if server.scope is catalog.ConfigScope.PROJECT:
        words += ["--scope", "project"]
        if target.is_repository or machine.is_in_repository(server.file):
            words += ["--shared"]  # else `setup` refuses
    return tuple(words)


def shared_cure(findings: Iterable[PostureFinding]) -> tuple[str, ...]:
    """Return the command that fixes all findings of one check that have a command.

    Returns:
        Its words; empty if fewer than two have a command, or if the commands cannot be joined.
    """
    fixes = list(dict.fromkeys(finding.fix for finding in findings if finding.fix))
    if len(fixes) < 2:
        return ()
    if all(fix[:2] == _SETUP for fix in fixes):
        return join_setups(fixes)
    heads = {fix[:-1] for fix in fixes}
    if len(heads) == 1 and fixes[0][0] in _TAKES_FILES:
        return (*fixes[0][:-1], *(fix[-1] for fix in fixes))
    return ()


def join_setups(commands: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Join commands to one `pipeguard setup` for all clients, servers and scopes that they name."""
    fixes = [*filter(None, commands)]
    words = [word for fix in fixes for word in fix[2:]]
    clients = [fix[2] for fix in fixes]
    servers = [word for word in words if word.startswith(_SERVER)]
    flags = [word for word in words if word in ("--isolate", "--shared")]
    projects = sum("project" in fix for fix in fixes)
    scope = {0: [], len(fixes): ["--scope", "project"]}.get(projects, ["--scope", "all"])
    return (*_SETUP, *dict.fromkeys((*clients, *servers)), *scope, *dict.fromkeys(flags))
