"""How sure a match is: what its checks say of it, and what stands around.

Knows rules and their checks; where a match goes is for core.scanning.engine.
"""

from __future__ import annotations

import re

from pipeguard.core.checks.outcome import Outcome
from pipeguard.core.checks.placeholders import is_placeholder, is_published
from pipeguard.core.finding import Confidence, Severity, lower
from pipeguard.core.model.quotation import FEW_TOPICS, is_example, topics
from pipeguard.core.rules.rule import Rule, View
from pipeguard.core.scanning.context import (
    excepted,
    in_placeholder,
    is_inside_data,
    is_quoted,
    touched,
)
from pipeguard.core.scanning.match import ask, secret_span

_UNBROKEN = (View.TEXT, View.FOLDED, View.DECODED)  # views in which words end where they ended


def certainty(rule: Rule, data: bytes, match: re.Match[bytes], view: View) -> Confidence | None:
    """How sure a match is; None where it is none, wherever it stands.

    Args:
        rule: whose expression matched.
        data: the text.
        match: in it.
        view: the reading that the text is.
    """
    start, end = secret_span(match)
    secret = data[start:end]
    if rule.is_private and (in_placeholder(data, start, end) or is_published(secret)):
        return None
    if any(ask(spec, data, match, secret) is not Outcome.HOLDS for spec in rule.require):
        return None
    results = [ask(spec, data, match, secret) for spec in rule.check]
    if Outcome.HOLDS in results:
        return Confidence.HIGH
    is_chance = rule.is_private and view in _UNBROKEN and is_inside_data(data, start, end)
    if is_chance or (rule.placeholders and is_placeholder(secret)):
        return None
    confidence = Confidence.LOW if Outcome.FAILS in results else rule.confidence
    if view in _UNBROKEN and touched(rule, data, match):
        confidence = lower(confidence)
    if view is View.SQUEEZED and rule.is_private:
        confidence = lower(confidence)
    if rule.unless and excepted(rule.unless, data, *match.span()):
        return Confidence.LOW
    return _unless_shown(confidence, data, *match.span()) if rule.quoted else confidence


def _unless_shown(confidence: Confidence, data: bytes, start: int, end: int) -> Confidence:
    """One step less in quotes, or as an example of what the text is about; two for both."""
    if is_quoted(data, start, end):
        is_about = topics(data, start, end) >= FEW_TOPICS
        return Confidence.LOW if is_about else lower(confidence)
    return lower(confidence) if is_example(data, start, end) else confidence


def may_be_doubted(rule: Rule, confidence: Confidence) -> bool:
    """Whether a classifier is asked of a match: not of a sure one of the worst kind."""
    is_worst = confidence is Confidence.HIGH and rule.severity is Severity.CRITICAL
    return rule.quoted and confidence > Confidence.LOW and not is_worst
