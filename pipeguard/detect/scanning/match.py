"""What an expression matched: where the secret in it is, and what checks say of it."""

from __future__ import annotations

import re

from pipeguard.detect.checks.outcome import AROUND, Outcome
from pipeguard.detect.checks.registry import AROUND_BYTES, AROUND_CHECK, NAME_CHECK, run
from pipeguard.detect.matching.confirm import Occurrence
from pipeguard.detect.rules.rule import Rule
from pipeguard.detect.scanning.context import name_before

# Findings of a rule in places of one kind, for each confidence.
MAX_MATCHES_PER_RULE = 8  # more would say nothing new
MAX_PRIVATE_PER_RULE = 256  # of secrets, each of which is redacted


def max_findings(rule: Rule) -> int:
    """How many findings a rule may have in one text, in places of one kind, of one confidence."""
    return MAX_PRIVATE_PER_RULE if rule.is_private else MAX_MATCHES_PER_RULE


def outcome_of(check: str, data: bytes, match: Occurrence, secret: bytes) -> Outcome:
    """Run a check on a secret, or on its name or its surroundings if the check asks for these."""
    if check.startswith(NAME_CHECK):
        return run(check, name_before(data, match))
    if check.startswith(AROUND_CHECK):
        low, high = max(0, match.span[0] - AROUND_BYTES), match.span[1] + AROUND_BYTES
        return run(check, match.words + AROUND + data[low:high])
    return run(check, secret)


def without_separators(number: bytes) -> bytes:
    """A number without the separators of its groups."""
    return re.sub(rb"[ .\-/]", b"", number).upper()
