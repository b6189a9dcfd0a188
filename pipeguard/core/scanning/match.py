"""What an expression found, before it is known what it is worth."""

from __future__ import annotations

import re

from pipeguard.core.checks.outcome import AROUND, Outcome
from pipeguard.core.checks.registry import AROUND_BYTES, AROUND_CHECK, NAME_CHECK, run
from pipeguard.core.rules.rule import Rule
from pipeguard.core.scanning.context import named

# Findings of a rule in places of one kind, of each confidence.
MAX_MATCHES_PER_RULE = 8  # more would say nothing new
MAX_PRIVATE_PER_RULE = 256  # of what may be taken out, which is done for each


def secret_span(match: re.Match[bytes]) -> tuple[int, int]:
    """Where the secret in a match stands: the group of that name, or all of it."""
    if "secret" in match.re.groupindex and match.start("secret") >= 0:
        return match.span("secret")
    return match.span()


def most(rule: Rule) -> int:
    """How often a rule is told in one text, in places of one kind and as sure."""
    return MAX_PRIVATE_PER_RULE if rule.is_private else MAX_MATCHES_PER_RULE


def ask(spec: str, data: bytes, match: re.Match[bytes], secret: bytes) -> Outcome:
    """What a check says of a secret, or of its name or its surroundings where it asks for these."""
    if spec.startswith(NAME_CHECK):
        return run(spec, named(data, match))
    if spec.startswith(AROUND_CHECK):
        low, high = max(0, match.start() - AROUND_BYTES), match.end() + AROUND_BYTES
        return run(spec, match[0] + AROUND + data[low:high])
    return run(spec, secret)


def digits_of(value: bytes) -> bytes:
    """A number without what is written between its groups."""
    return re.sub(rb"[ .\-/]", b"", value).upper()
