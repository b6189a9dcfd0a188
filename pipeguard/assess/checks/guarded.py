"""Servers without a guard, and weakened guards."""

import re
from itertools import takewhile

from pipeguard.assess.cures import setup_command
from pipeguard.assess.target import AssessmentTarget
from pipeguard.assess.values import Findings, PostureFinding, read_checks
from pipeguard.clients.catalog import ConfigScope
from pipeguard.clients.entries import Config, GuardState, ServerEntry
from pipeguard.clients.rewrite import login_command
from pipeguard.firewall.finding import Severity

UNGUARDED, CANNOT, STALE, BROKEN, FLAGS = CHECKS = read_checks("guarded")
_LINE = re.compile(r"\bline (\d{1,9})\b")  # as the reason why a file cannot be read names it
_WEAK = {
    "--observe": (Severity.MEDIUM, "`--observe` lets everything through"),
    "--inherit-env": (Severity.MEDIUM, "`--inherit-env` gives it every variable of the client"),
    "--no-audit": (Severity.LOW, "`--no-audit` records nothing"),
    "--secret-arguments": (Severity.MEDIUM, "`--secret-arguments` exposes a header's secret"),
}


# Variables by which PipeGuard finds its policy, its pins and its compiled rules.
_FINDING = (
    *("PIPEGUARD_POLICY", "PIPEGUARD_STATE_DIR", "PIPEGUARD_CACHE_DIR"),
    *("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"),
)


def records_elsewhere(server: ServerEntry) -> bool:
    """True if an entry's guard writes nothing into this user's audit."""
    options = takewhile(lambda word: word != "--", server.words)
    is_moved = not server.env.keys().isdisjoint(_FINDING)
    return server.guard is not None and ("--no-audit" in options or is_moved)


def look(target: AssessmentTarget) -> Findings:
    """Check all servers, and all files."""
    for config in target.configs:
        if config.problem:
            yield _find_broken(config)
    for server in target.servers:
        yield from _of(target, server)
        yield from _flags(target, server)


def _find_broken(config: Config) -> PostureFinding:
    named = _LINE.search(config.problem)
    line = int(named[1]) if named else 0
    if config.is_unread:
        # A baseline excuses only these very bytes.
        key = config.digest if config.content else ""
        return BROKEN.at(config.path, f"It is not read: {config.problem}", line=line, key=key)
    if config.servers:
        message = f"It is read, but cannot be changed: {config.problem}"
        return BROKEN.at(config.path, message, line=line, severity=Severity.MEDIUM)
    message = f"It is not read: {config.problem}"
    return BROKEN.at(config.path, message, line=line, severity=Severity.LOW)


def _of(target: AssessmentTarget, server: ServerEntry) -> Findings:
    judged = target.judge(server)
    setup = setup_command(target, server)
    if judged.state is GuardState.OPEN:
        why = "Nothing stands between it and the model."
        yield UNGUARDED.at(server, why, fix=setup)
    elif judged.state is GuardState.STALE:
        yield STALE.at(server, f"{judged.why}.", fix=setup)
    elif judged.state is GuardState.CANNOT:
        fix = login_command(server.url or "") if judged.code == "login" else ()
        yield CANNOT.at(server, f"It is not guarded: {judged.why}.", fix=fix)


def _flags(target: AssessmentTarget, server: ServerEntry) -> Findings:
    if not server.guard:
        return
    is_projects = server.scope is ConfigScope.PROJECT
    if is_projects:
        yield from _of_project(target, server)
    for index, word in enumerate(server.args):
        if word == "--":
            return
        line = target.line(server, f"args.{index}")
        if word in _WEAK:
            severity, what = _WEAK[word]
            yield FLAGS.at(server, f"{what}.", line=line, key=word, severity=severity)
        if is_projects and word.partition("=")[0] == "--policy":
            what = "`--policy` lets the project choose the policy"
            yield FLAGS.at(server, f"{what}.", line=line, key=word, severity=Severity.HIGH)


def _of_project(target: AssessmentTarget, server: ServerEntry) -> Findings:
    """Find variables with which a project would choose the guard's policy, pins or rules."""
    for name in _FINDING:
        if name in server.env:
            what = f"`{name}` lets the project choose the policy, the pins or the rules"
            line = target.line(server, f"env.{name}")
            yield FLAGS.at(server, f"{what}.", line=line, key=name, severity=Severity.HIGH)
