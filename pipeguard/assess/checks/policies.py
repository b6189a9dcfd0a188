"""A policy that stops less than PipeGuard does without one."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

from pipeguard.assess.target import AssessmentTarget
from pipeguard.assess.values import PostureCheck, PostureFinding
from pipeguard.config.policy_file import PolicyFile, PolicyScope, parse_policy, policy_text
from pipeguard.core.finding import Action, Severity
from pipeguard.core.rules.policy import Layer, Mode
from pipeguard.errors import PolicyError

WRONG = PostureCheck(
    "policy-wrong",
    "A policy file cannot be read",
    Severity.HIGH,
    "No guarded server starts until it is mended, and who is in a hurry takes the guard away.",
    "Mend the line that the message names.",
    "pipeguard policy check FILE",
)
OBSERVES = PostureCheck(
    "policy-observes",
    "The policy stops nothing",
    Severity.HIGH,
    "In `mode: observe` everything is judged and recorded, and everything passes.",
    "Leave `mode` out, or say `enforce`.",
    "",
    "mode: observe",
    "mode: enforce",
)
LOOSER = PostureCheck(
    "policy-loosened",
    "The policy lets through what would be blocked without it",
    Severity.MEDIUM,
    "An entry of `actions` that holds for many rules, servers or tools, or an exception without an "
    "end, is forgotten, and still holds when something else comes by.",
    "Say which rule, tool and server it is for, and until when.",
    "pipeguard allow EVENT",
    "actions: [{rule: 'secrets.*', action: warn}]",
    "exceptions: [{rule: secrets.generic-assignment, tool: write_file, until: 2027-03-01, why: …}]",
)
CHECKS = (WRONG, OBSERVES, LOOSER)
_EVERYTHING = "*"


def look(subject: AssessmentTarget) -> Iterator[PostureFinding]:
    """The user's file and the project's, as far as they concern the subject."""
    for path, scope in zip(subject.policies, (PolicyScope.USER, PolicyScope.PROJECT), strict=True):
        if path is not None:
            yield from _of(path, scope)


def _of(path: Path, scope: PolicyScope) -> Iterator[PostureFinding]:
    now, today = monotonic(), datetime.date.today()  # noqa: DTZ011  the user's own calendar
    try:
        file = parse_policy(policy_text(str(path), scope), str(path), scope, now=now, today=today)
    except PolicyError as error:
        mend = ("pipeguard", "policy", "check", str(path))
        yield WRONG.at(path, " ".join(str(error).split()), mend=mend)
        return
    if file.mode is Mode.OBSERVE:
        yield OBSERVES.at(path, "`mode: observe` lets everything through.", key="mode")
    if scope is PolicyScope.USER:  # a project's may only tighten
        yield from _loosened(path, file)


def _loosened(path: Path, file: PolicyFile) -> Iterator[PostureFinding]:
    if not file.layer.defaults:
        yield LOOSER.at(path, "What no entry names is let through.", key="defaults")
    yield from _actions(path, file.layer)
    for exempt in file.layer.exceptions:
        where = exempt.where
        wide = [
            name
            for name, glob in (("rule", where.rule), ("tool", where.tool), ("server", where.server))
            if glob == _EVERYTHING
        ]
        if "rule" in wide or (exempt.until is None and len(wide) > 1):
            until = "without an end " if exempt.until is None else ""
            message = f"An exception {until}holds for every {' and every '.join(wide)}."
            yield LOOSER.at(path, message, key=f"{where.rule} {where.tool} {where.server}")
        elif exempt.until is None:
            message = f"An exception from {where.rule} has no end."
            yield LOOSER.at(
                path,
                message,
                key=f"{where.rule} {where.tool} {where.server}",
                severity=Severity.LOW,
            )
    if file.drift_allow:
        kinds = ", ".join(sorted(one.value for one in file.drift_allow))
        message = f"Definitions may change without being approved: {kinds}."
        yield LOOSER.at(path, message, key="drift", severity=Severity.LOW)


def _actions(path: Path, layer: Layer) -> Iterator[PostureFinding]:
    for entry in layer.actions:
        where = entry.where
        if entry.action > Action.WARN:
            continue
        named = where.rule != _EVERYTHING and not where.rule.endswith(".*")
        narrow = where.tool != _EVERYTHING or where.server != _EVERYTHING
        if named and narrow:
            continue
        message = f"An action of `{entry.action.name.lower()}` holds for {where.rule}"
        message += "." if narrow else ", in every tool of every server."
        severity = Severity.LOW if named or narrow else LOOSER.severity
        yield LOOSER.at(path, message, key=f"action {where.rule}", severity=severity)
