"""What the rules find in a definition that waits for a person. Not a command itself."""

from __future__ import annotations

import os
from functools import cache, lru_cache
from time import monotonic
from typing import TYPE_CHECKING

import click

from pipeguard.config.effective_policy import load_wrap_policy
from pipeguard.config.options import WrapOptions
from pipeguard.errors import EngineError
from pipeguard.firewall.finding import Severity
from pipeguard.firewall.protocol.places import LISTS
from pipeguard.rulebook.cache import load_engines
from pipeguard.rulebook.trial import TextRole, TrialInput, judge
from pipeguard.runtime.progress import COMPILING, say_if_slow
from pipeguard.unicode.display import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeguard.detect.detector import Engines
    from pipeguard.firewall.finding import Finding
    from pipeguard.firewall.policy import Policy
    from pipeguard.state.review import HeldDefinition

_KEY_BYTES = 32
_EXCERPT_CHARS = 120
_MEMBERS = {kind: member for member, kind, _ in LISTS.values()}


@lru_cache(maxsize=64)  # a page and its next steps ask for the same
def definition_findings(entry: HeldDefinition) -> tuple[Finding, ...]:
    """What the rules find in the definition as it is now, the most serious first.

    Nothing where the scan engine is missing: a definition can be compared without it.
    """
    definition = entry.pin.held_definition
    if definition is None:
        return ()
    member = _MEMBERS.get(entry.pin.kind)  # the server's own opening is in no list
    text = definition if member is None else f'{{"{member}": [{definition}]}}'
    try:
        engines, policy = _judge()
    except EngineError:
        return ()
    trial_input = TrialInput(text, TextRole.DEFINITION, server=entry.server)
    trial = judge(engines, policy, trial_input, os.urandom(_KEY_BYTES), monotonic())
    return tuple(located.finding for located in trial.findings)


def finding_lines(findings: Sequence[Finding]) -> list[str]:
    """The same for people, one line each."""
    lines = []
    for finding in dict.fromkeys(findings):
        words = visible(finding.excerpt or finding.note)[:_EXCERPT_CHARS]
        line = f"  {finding.severity.name.lower()}: {finding.rule} in {finding.place}: {words}"
        lines.append(click.style(line, fg="red" if is_severe([finding]) else "yellow"))
    return lines


def finding_fields(findings: Sequence[Finding]) -> list[dict[str, object]]:
    """The same for programs."""
    return [
        {
            "rule": finding.rule,
            "severity": finding.severity.name.lower(),
            "confidence": finding.confidence.name.lower(),
            "place": finding.place,
            "excerpt": visible(finding.excerpt),
            "note": finding.note,
        }
        for finding in findings
    ]


def is_severe(findings: Sequence[Finding]) -> bool:
    """True where a person should rather reject a definition."""
    return any(finding.severity >= Severity.HIGH for finding in findings)


@cache
def _judge() -> tuple[Engines, Policy]:
    policy = load_wrap_policy(WrapOptions((), {}, {}, []))
    with say_if_slow(COMPILING):
        return load_engines(), policy
