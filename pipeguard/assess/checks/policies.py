"""Policies that stop less than PipeGuard does by default."""

from pathlib import Path

from pipeguard.assess.target import AssessmentTarget
from pipeguard.assess.values import Findings, read_checks
from pipeguard.config.effective_policy import read_policy
from pipeguard.config.policy_file import PolicyFile, PolicyScope
from pipeguard.errors import PolicyError
from pipeguard.firewall.finding import Action, Severity
from pipeguard.firewall.policy import Layer, Mode
from pipeguard.isolation import describe_excess, holds_home
from pipeguard.rulebook.policy_rules import check_actions

WRONG, OBSERVES, LOOSER = CHECKS = read_checks("policies")
_EVERYTHING = "*"


def look(target: AssessmentTarget) -> Findings:
    """Check the user's file and the project's, if they concern the target."""
    for path, scope in zip(target.policies, (PolicyScope.USER, PolicyScope.PROJECT), strict=True):
        if path:
            yield from _of(target, path, scope)


def _of(target: AssessmentTarget, path: Path, scope: PolicyScope) -> Findings:
    try:
        file = read_policy(str(path), scope, check_actions)
    except PolicyError as error:
        fix = ("pipeguard", "policy", "check", str(path))
        head, *wrong = (" ".join(line.split()) for line in str(error).splitlines())
        yield WRONG.at(path, f"{head} {'; '.join(wrong)}".rstrip(), fix=fix)
        return
    if file.mode is Mode.OBSERVE:
        yield OBSERVES.at(path, "`mode: observe` lets everything through.", key="mode")
    if scope is PolicyScope.USER:  # a project's can only tighten
        yield from _find_loosened(path, file)
        yield from _describe_grants(path, file, str(target.machine.home))


def _find_loosened(path: Path, file: PolicyFile) -> Findings:
    if not file.layer.defaults:
        yield LOOSER.at(path, "Anything that no entry names passes.", key="defaults")
    yield from _actions(path, file.layer)
    for exempt in file.layer.exceptions:
        where = exempt.where
        if where.content:
            continue  # it lets nothing else pass, as long as it stays
        wide = [
            name
            for name, glob in (("rule", where.rule), ("tool", where.tool), ("server", where.server))
            if glob == _EVERYTHING
        ]
        if "rule" in wide or (exempt.until is None and len(wide) > 1):
            until = "without an end " if exempt.until is None else ""
            message = f"An exception {until}applies to every {' and every '.join(wide)}."
            yield LOOSER.at(path, message, key=f"{where.rule} {where.tool} {where.server}")
        elif exempt.until is None:
            message = f"An exception from {where.rule} has no end."
            key = f"{where.rule} {where.tool} {where.server}"
            yield LOOSER.at(path, message, key=key, severity=Severity.LOW)
    if file.drift_allow:
        kinds = ", ".join(sorted(drift.value for drift in file.drift_allow))
        message = f"Definitions may change without being approved: {kinds}."
        yield LOOSER.at(path, message, key="drift", severity=Severity.LOW)


def _describe_grants(path: Path, file: PolicyFile, home_folder: str) -> Findings:
    """Grants under `isolate` that leave little confined."""
    for entry in file.isolate:
        home = "nearly all your home"
        wide = {f"read: [{text}]": home for text in entry.read if holds_home(text, home_folder)}
        wide |= {f"write: [{text}]": home for text in entry.write if holds_home(text, home_folder)}
        wide |= {
            f"hosts: [{text}]": what for text in entry.hosts if (what := describe_excess(text))
        }
        for grant, what in wide.items():
            message = f"`isolate` gives servers named `{entry.server}` {what}: `{grant}`."
            yield LOOSER.at(path, message, key=f"isolate {entry.server} {grant}")


def _actions(path: Path, layer: Layer) -> Findings:
    for entry in layer.actions:
        where = entry.where
        if entry.action > Action.WARN:
            continue
        named = where.rule != _EVERYTHING and not where.rule.endswith(".*")
        narrow = where.tool != _EVERYTHING or where.server != _EVERYTHING
        if named and narrow:
            continue
        message = f"An action of `{entry.action.name.lower()}` applies to {where.rule}"
        message += "." if narrow else ", in every tool of every server."
        severity = Severity.LOW if named or narrow else None
        yield LOOSER.at(path, message, key=f"action {where.rule}", severity=severity)
