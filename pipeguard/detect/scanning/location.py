"""From a match in a reading to the string and span that it is reported by."""

from __future__ import annotations

from fnmatch import fnmatchcase

from pipeguard.detect.rules.rule import Rule
from pipeguard.detect.scanning.facts import Located
from pipeguard.detect.scanning.origin import Origin
from pipeguard.detect.scanning.rating import Rating, rate_located
from pipeguard.detect.scanning.scan_budget import Match, ScanInput
from pipeguard.detect.scanning.surroundings import masked_excerpt, whole_words
from pipeguard.firewall.protocol.json_values import Path
from pipeguard.firewall.protocol.places import MASKED_STEP
from pipeguard.unicode.folding import Range

FEW_STRINGS = 32  # in a value whose places are looked up before a rule is run


def locate_match(
    origin: Origin, rule: Rule, rating: Rating, data: bytes, span: Range
) -> Match | None:
    """Find the string of a match, and rate it there; None if the rule does not apply there.

    Args:
        origin: the way back from the reading.
        rule: whose expression matched.
        rating: of the match in the reading.
        data: the reading.
        span: of the match in it.
    """
    start, end = span
    while start < end - 1 and data[start] in b" \t\r\n":
        start += 1  # so that the match is in its own line
    if rule.places and not _may_apply(origin, rule, (start, end)):
        return None
    located = Located(origin, rule, data, (start, end))
    if rule.places and not applies(rule, located.source.place_of(located.path)):
        return None
    located.size_bytes = len(matched := data[slice(*span)])
    rating = rate_located(located, rating)
    if rating.confidence is None:
        return None
    first, last = located.characters
    is_exact = located.is_exact and not located.is_joined and not origin.whole
    words = whole_words(located.text.find_value(located.low), first, last) if is_exact else ""
    return Match(
        rule,
        rating.confidence,
        located.view,
        located.path,
        first,
        last,
        is_exact,
        tuple(located.paths),
        masked_excerpt(rule, matched, words),
        secret=matched if rule.is_private else b"",
        steps=rating.steps,
    )


def _may_apply(origin: Origin, rule: Rule, span: Range) -> bool:
    """False if a range is within one string for sure, and the rule does not apply to it."""
    if origin.locate_joined is not None or origin.squeezed_from is not None:
        return True
    path = origin.find_path(*span)
    return path is None or applies(rule, origin.source.place_of(path))


def may_apply(rule: Rule, source: ScanInput) -> bool:
    """False if a rule is for no place of a value's strings, unless there are many of these."""
    text = source.text
    if not rule.places or not 0 < text.segment_count <= FEW_STRINGS:
        return True
    strings = text.segments(0, len(text.data))
    return any(applies(rule, source.place_of(path)) for *_, path in strings)


def applies(rule: Rule, place: str) -> bool:
    """True if a rule is for a place."""
    return any(fnmatchcase(place, pattern) for pattern in rule.places)


def without_secret(rule: Rule, path: Path, matched: bytes) -> Path:
    """A path in which keys that contain what a private rule matched are masked."""
    if not rule.is_private:
        return path
    secret = matched.decode("utf-8", "replace")
    return tuple(MASKED_STEP if isinstance(step, str) and secret in step else step for step in path)
