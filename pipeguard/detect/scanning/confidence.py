"""The confidence of a match: by its checks, the text around it, and its string's purpose.

Knows rules and their checks; detect.scanning.scan and detect.scanning.location say what follows.
"""

from __future__ import annotations

from pipeguard.detect.checks.bip39 import is_printed_phrase
from pipeguard.detect.checks.outcome import Outcome
from pipeguard.detect.checks.placeholders import is_placeholder, is_published, is_reference
from pipeguard.detect.checks.registry import measures_randomness
from pipeguard.detect.commands.argument_roles import ArgumentRole
from pipeguard.detect.commands.argument_usage import PROGRAMS
from pipeguard.detect.matching.confirm import Occurrence
from pipeguard.detect.model.quotation import FEW_TOPICS, MANY_TOPICS, is_example, is_marked, topics
from pipeguard.detect.rules.rule import Rule, View, Written
from pipeguard.detect.scanning.context import (
    has_exception,
    is_in_placeholder,
    is_inside_data,
    is_part_of_word,
    is_quoted,
)
from pipeguard.detect.scanning.scan_budget import run_check
from pipeguard.detect.scanning.scan_input import ScanInput
from pipeguard.firewall.finding import Confidence, Severity, lower
from pipeguard.firewall.protocol.json_values import Path
from pipeguard.unicode.folding import Range

_WITH_SPACES = (View.TEXT, View.FOLDED, View.DECODED)  # views in which words end where they ended
_PROGRAMS = (*PROGRAMS, ArgumentRole.STATEMENT)


def confidence_by_checks(
    rule: Rule, data: bytes, match: Occurrence, view: View, *, samples: bool = False
) -> Confidence | None:
    """Rate a match by its checks and its sentence; None if it is to be ignored.

    Args:
        rule: whose expression matched.
        data: the reading.
        match: in it.
        view: the kind of reading.
        samples: True to rate published samples and dummies of a sure form like a real secret.
    """
    start, end = match.secret
    secret = data[start:end]
    is_replaced = rule.is_private and is_in_placeholder(data, start, end)
    if is_replaced or (rule.is_private and not samples and _is_published(rule, secret)):
        return None
    is_by_form = samples and rule.confidence is Confidence.HIGH and is_placeholder(secret)
    if any(
        run_check(spec, data, match, secret) is not Outcome.HOLDS
        for spec in rule.require
        if not (is_by_form and measures_randomness(spec))
    ):
        return None
    outcomes = [run_check(spec, data, match, secret) for spec in rule.check]
    if Outcome.HOLDS in outcomes:
        return Confidence.HIGH
    is_chance = rule.is_private and (
        Outcome.FAILS in outcomes  # words beside each other, as in the title of a manual page
        if view is View.SQUEEZED
        else view in _WITH_SPACES and is_inside_data(data, start, end)
    )
    is_dummy = is_reference if samples else is_placeholder
    if is_chance or (rule.placeholders and is_dummy(secret)):
        return None
    confidence = Confidence.LOW if Outcome.FAILS in outcomes else rule.confidence
    if view in _WITH_SPACES and is_part_of_word(rule, data, match):
        confidence = lower(confidence)
    if view is View.SQUEEZED and rule.is_private:
        confidence = lower(confidence)
    if rule.unless and has_exception(rule.unless, data, *match.span):
        return Confidence.LOW
    return confidence


def _is_published(rule: Rule, secret: bytes) -> bool:
    """True for a secret, a number or a phrase that documentation prints."""
    if is_published(secret):
        return True
    if "bip39" in rule.require:
        from pipeguard.detect.checks.tokens import phrase_words

        return is_printed_phrase(phrase_words(secret))
    if not any(spec.startswith("number ") for spec in rule.require):
        return False
    from pipeguard.detect.checks.personal_numbers import is_published_number

    return is_published_number(secret)


def confidence_as_shown(
    rule: Rule, confidence: Confidence, data: bytes, span: Range, within: Range | None = None
) -> Confidence:
    """Rate a match: one step less in quotes, or as an example of attacks; two for both.

    Args:
        rule: whose expression matched.
        confidence: by the checks.
        data: the reading.
        span: of the match in it.
        within: the string of JSON that the match is in, if it is in one.
    """
    if not rule.quoted:
        return confidence
    if is_quoted(data, *span, within):
        is_about_attacks = topics(data, *span) >= FEW_TOPICS
        return Confidence.LOW if is_about_attacks else lower(confidence)
    return lower(confidence) if is_example(data, *span) else confidence


def confidence_in_text(
    source: ScanInput, confidence: Confidence, path: Path, data: bytes, span: Range
) -> Confidence | None:
    """Rate a match in a text: less in one about attacks; None in a file or in quoted code.

    Args:
        source: the value that is scanned.
        confidence: by the checks.
        path: of the string that contains the match.
        data: the reading.
        span: of the match in it.
    """
    is_read = source.uses.role(path) is ArgumentRole.WRITTEN
    if is_read and (source.uses.is_of_file or is_marked(data, *span)):
        return None
    return lower(confidence) if topics(data, *span) >= MANY_TOPICS else confidence


def confidence_in_use(
    source: ScanInput, rule: Rule, confidence: Confidence, path: Path, match: tuple[int, int]
) -> Confidence | None:
    """Rate a match by its string's purpose; None if it is to be ignored.

    Args:
        source: the value that is scanned.
        rule: whose expression matched.
        confidence: by the checks.
        path: of the string that contains the match.
        match: where it begins in the text, and how many bytes it has.
    """
    uses, text, start = source.uses, source.text, match[0]
    role = uses.role_of_value(path, text.find_value(start))
    if role is ArgumentRole.STORED or (role is ArgumentRole.VALUE and text.is_document(start)):
        return lower(confidence)
    if rule.written is Written.KEEP or (
        role is ArgumentRole.PARSED and rule.written is Written.PARSED
    ):
        return confidence
    if rule.written in (Written.VALUES, Written.PARSED) and role in _PROGRAMS:
        return None
    does_nothing = role is ArgumentRole.SEARCHED or (
        role in (ArgumentRole.WRITTEN, ArgumentRole.PARSED)
        and not (uses.is_alone(path) and text.is_most(*match))
    )
    if not does_nothing:
        return confidence
    return lower(confidence) if rule.written is Written.LOWER else None


def may_be_doubted(rule: Rule, confidence: Confidence) -> bool:
    """True if a classifier may lower a match: not a sure one of the gravest kind."""
    is_gravest = confidence is Confidence.HIGH and rule.severity is Severity.CRITICAL
    return rule.quoted and confidence > Confidence.LOW and not is_gravest
