"""The confidence in a match: tables of all the steps that raise, lower or drop it.

A step consists of its words in `scan --why`, its effect, and the fact that triggers it
(detect.scanning.facts). A match goes through the tables in this order: a classifier's through
OF_ORDER, a pattern's through BY_CHECKS and IN_READING (or AS_SAMPLE); then each through IN_STRING,
IN_TEXT and IN_MESSAGE.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from operator import methodcaller
from typing import Any, Protocol, TypeVar

from pipeguard.detect.checks.placeholders import is_placeholder
from pipeguard.detect.commands.argument_roles import ArgumentRole
from pipeguard.detect.commands.argument_usage import PROGRAMS
from pipeguard.detect.model.cascade import ReadOrder, Steps
from pipeguard.detect.model.quotation import FEW_TOPICS, MANY_TOPICS
from pipeguard.detect.rules.rule import Rule, Written
from pipeguard.detect.scanning.facts import Candidate, Located
from pipeguard.detect.scanning.origin import Origin
from pipeguard.detect.scanning.scan_budget import Match, ScanInput
from pipeguard.detect.scanning.surroundings import is_in_placeholder, masked_excerpt, whole_words
from pipeguard.firewall.finding import Confidence, lower, raise_confidence
from pipeguard.firewall.protocol.json_values import Path
from pipeguard.firewall.protocol.places import MASKED_STEP
from pipeguard.records import NamedTuple
from pipeguard.unicode.folding import Range

_PROGRAMS = (*PROGRAMS, ArgumentRole.STATEMENT)
NEAR_CHARS = 8192  # between two signs: a longer text has both by chance


class Rating(NamedTuple):
    """The confidence in a match; None if it does not count.

    Attributes:
        confidence: after the steps.
        steps: that changed it.
    """

    confidence: Confidence | None
    steps: Steps = ()


class _Rated(Protocol):
    """A match being rated; `confidence` is its confidence before each step."""

    confidence: Confidence


_Case = TypeVar("_Case", bound=_Rated)
_Effect = Callable[[Confidence], Confidence | None]
_Step = tuple[str, _Effect, Callable[[_Case], bool]]


def _rate(case: _Case, table: Sequence[_Step[_Case]], so_far: Rating) -> Rating:
    """Take the steps of a table whose facts are true of a case, in order."""
    confidence, steps = so_far
    for words, effect, is_true in table:
        if confidence is None:
            break
        case.confidence = confidence
        if (after := effect(confidence)) is not confidence and is_true(case):
            confidence = after
            steps = steps if after is None else (*steps, (words, after))
    return Rating(confidence, steps)


def drop(_: Confidence) -> None:
    """Drop the match."""


def doubt(_: Confidence) -> Confidence:
    """Make it only a note, whatever the confidence was."""
    return Confidence.LOW


def limit(confidence: Confidence) -> Confidence:
    """Limit it to a warning."""
    return min(confidence, Confidence.MEDIUM)


def ensure(_: Confidence) -> Confidence:
    """Make it sure, whatever the confidence was."""
    return Confidence.HIGH


# --- orders -----------------------------------------------------------------------------
# Likely orders that a classifier found, by their scores and sentences.

REPORTED = "without what it quotes it is no order"
HARMLESS = "without what is public it is no order"
OF_ORDER: tuple[_Step[ReadOrder], ...] = (
    ("the classifier is not sure", limit, lambda order: order.excess < 0),
    ("in a text about attacks, or an example", doubt, ReadOrder.is_about_attacks),
    (REPORTED, limit, ReadOrder.is_reported),
    (HARMLESS, limit, ReadOrder.is_harmless),
    ("in the language of law", limit, ReadOrder.is_of_law),
    ("only strings read together are an order", limit, ReadOrder.is_of_strings_apart),
    ("only a name, or the form of a commit, makes it one", limit, ReadOrder.is_of_its_form),
)


def rate_order(order: ReadOrder) -> tuple[Confidence, Steps]:
    """Rate a likely order that a classifier found."""
    confidence, steps = _rate(order, OF_ORDER, Rating(Confidence.HIGH))
    return confidence or Confidence.LOW, steps


# --- patterns ---------------------------------------------------------------------------
# A match of a pattern in one reading.

BY_CHECKS: tuple[_Step[Candidate], ...] = (
    ("a placeholder", drop, lambda m: m.is_private and is_in_placeholder(m.data, *m.span)),
    ("in documentation", drop, lambda m: m.is_private and not m.samples and m.is_published()),
    ("a check that it needs fails", drop, Candidate.misses_requirement),
    ("a check holds", ensure, lambda m: m.is_checked),
    ("in encoded data", drop, Candidate.is_noise),
    ("a dummy", drop, Candidate.is_dummy),
    ("a check fails", doubt, lambda m: m.is_refuted),
    ("the word around it goes on", lower, Candidate.is_cut_off),
    ("only without spaces", lower, lambda m: m.is_squeezed),
    ("its sentence has an exception of the rule", doubt, Candidate.has_exception),
)
DOUBTED = "a classifier takes its sentences for no order"
IN_READING: tuple[_Step[Candidate], ...] = (
    ("joined pieces fit by chance", drop, Candidate.fits_by_chance),
    ("the word around it goes on in its string", lower, Candidate.is_cut_off_in_string),
    ("quoted, about attacks", doubt, lambda m: m.is_shown and m.topics >= FEW_TOPICS),
    ("in quotes or code, or called an example", lower, lambda m: m.is_shown),
    ("an example in a text about attacks", lower, Candidate.is_example),
    (DOUBTED, lower, Candidate.is_doubted),
    ("in pieces that nobody writes by chance", raise_confidence, Candidate.is_split),
)
# A published sample or a dummy in a call, unless its text shows it as something else.
AS_SAMPLE: tuple[_Step[Candidate], ...] = (
    ("no sample", drop, lambda m: not (m.is_published() or is_placeholder(m.secret))),
    ("joined pieces fit by chance", drop, Candidate.fits_by_chance),
)


def rate_by_checks(candidate: Candidate) -> Rating:
    """Rate a match only by its checks and its sentence."""
    return _rate(candidate, BY_CHECKS, Rating(candidate.rule.confidence))


def rate_candidate(candidate: Candidate) -> Rating:
    """Rate a match, also by its reading and by the way its text shows it."""
    table = AS_SAMPLE if candidate.samples else IN_READING
    return _rate(candidate, table, rate_by_checks(candidate))


def counts_by_checks(candidate: Candidate) -> bool:
    """False for a text that its checks reject, even as a published sample."""
    if rate_by_checks(candidate).confidence is not None:
        return True
    return candidate.is_private and rate_candidate(candidate.as_sample()).confidence is not None


# --- strings ----------------------------------------------------------------------------
# A match in its string.

DATA = "a value in source code or data"
_VALUES = (Written.VALUES, Written.PARSED)
IN_STRING: tuple[_Step[Located], ...] = (
    ("in a file, or in quoted code", drop, Located.is_read_only),
    ("in a text about attacks", lower, lambda m: m.is_anywhere and m.topics >= MANY_TOPICS),
    ("only stored", lower, lambda m: m.is_stored),
    ("in a program", drop, lambda m: m.rule.written in _VALUES and m.role in _PROGRAMS),
    ("only written", lower, lambda m: m.rule.written is Written.LOWER and m.does_nothing),
    ("only written", drop, lambda m: m.rule.written is not Written.LOWER and m.does_nothing),
    ("the definition says that it is for this", lower, Located.is_purpose),
    (DATA, limit, Located.is_data),
    ("nobody sees it", ensure, lambda m: m.is_invisible),
    ("encoded so that everybody can read it", lower, lambda m: m.is_open),
    ("encoded, and short", raise_confidence, Located.is_opaque),
    ("percent-encoded, and too short for an order", lower, Located.is_short_address),
)


# --- location ---------------------------------------------------------------------------
# From a match in a reading to the string and span that it is reported by.

FEW_STRINGS = 32  # in a value, up to which its places are checked before a rule runs


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
    located = Located(origin, rule, data, span, rating.confidence or Confidence.LOW)
    if rule.places and not _applies(rule.places, located.source.place_of(located.path)):
        return None
    rating = _rate(located, IN_STRING, rating)
    if rating.confidence is None:
        return None
    (first, last), matched = located.characters, data[slice(*span)]
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


def may_apply(rule: Rule, source: ScanInput) -> bool:
    """False if a rule applies to no place of a value's strings; True for too many to check."""
    text = source.text
    if not rule.places or not 0 < text.segment_count <= FEW_STRINGS:
        return True
    return any(_applies(rule.places, source.place_of(path)) for path in text.paths)


@lru_cache(maxsize=1024)  # few of each
def _applies(patterns: Sequence[str], place: str) -> bool:
    """True if one of a rule's patterns names a place."""
    return any(fnmatchcase(place, pattern) for pattern in patterns)


def without_secret(rule: Rule, path: Path, matched: bytes) -> Path:
    """A path in which keys that contain a private rule's match are masked."""
    if not rule.is_private:
        return path
    secret = matched.decode("utf-8", "replace")
    return tuple(MASKED_STEP if isinstance(step, str) and secret in step else step for step in path)


# --- texts ------------------------------------------------------------------------------
# A match among all of one text.


def has_pattern_near(match: Match, others: Sequence[Match]) -> bool:
    """True if a pattern matched near a classifier's order: two weak signs are a strong one."""
    return any(
        other.path == match.path
        and max(other.start - match.end, match.start - other.end) <= NEAR_CHARS
        and other.confidence >= Confidence.MEDIUM
        and not (other.rule.model or other.rule.is_private or other.took(DOUBTED, DATA))
        for other in others
    )


class _Supported:
    """A match among all matches of its text."""

    def __init__(self, match: Match, others: Sequence[Match], rules_with_several: set[str]) -> None:
        self.match, self.others, self.confidence = match, others, match.confidence
        self.is_one_of_several = match.rule.id in rules_with_several

    def has_second_sign(self) -> bool:
        """True if a pattern matched near an order that a classifier is not sure of."""
        is_weak = bool(self.match.rule.model) and self.confidence is Confidence.MEDIUM
        is_counted = is_weak and not self.match.took(REPORTED, HARMLESS, DATA)
        return is_counted and has_pattern_near(self.match, self.others)


IN_TEXT: tuple[_Step[_Supported], ...] = (
    ("several different values", raise_confidence, lambda m: m.is_one_of_several),
    ("a pattern matches near it", ensure, _Supported.has_second_sign),
)


def with_support(matches: list[Match], rules_with_several: set[str]) -> list[Match]:
    """Raise the confidence of matches that other matches in the text support.

    Args:
        matches: of one text; changed in place.
        rules_with_several: ids of rules that ask for several values and found them.
    """
    for index, match in enumerate(matches):
        supported = _Supported(match, matches, rules_with_several)
        matches[index] = rerate(match, supported, IN_TEXT) or match
    return matches


# --- messages ---------------------------------------------------------------------------
# A match in a message: its destination, and its source (detect.counting.LocatedMatch).

IN_MESSAGE: tuple[_Step[Any], ...] = (
    # A sent sample leaks nothing; a sample in an address shows where a real secret would go.
    ("a sample that no request has", drop, methodcaller("is_unsent_sample")),
    ("it stays on this machine", limit, methodcaller("stays_in_tool")),
    ("in an address, or in a request to another host", ensure, methodcaller("is_requested")),
    ("it goes nowhere", drop, methodcaller("goes_nowhere")),
    ("it goes back to its server", limit, methodcaller("is_servers_own")),
    ("a key in a file made for keys", limit, methodcaller("is_key_in_its_file")),
    ("the hash of a password in a test or example", limit, methodcaller("is_fixture_hash")),
    ("only a classifier finds it, in a file for agents", limit, methodcaller("is_for_agents")),
    ("in data that anybody may have written", ensure, methodcaller("is_foreign_data")),
    ("it works once, or opens what the server gave", limit, methodcaller("works_once")),
)


def rerate(match: Match, case: _Case, table: Sequence[_Step[_Case]]) -> Match | None:
    """Rate a located match by one more table; None if it does not count."""
    confidence, steps = _rate(case, table, Rating(match.confidence, match.steps))
    return None if confidence is None else match._replace(confidence=confidence, steps=steps)


def describe_steps(match: Match) -> tuple[str, ...]:
    """The steps by which a match was rated, each with the confidence after it."""
    first = ("the classifier", Confidence.HIGH) if match.rule.model else None
    steps = (first or ("the pattern", match.rule.confidence), *match.steps)
    return tuple(f"{confidence.name.lower()}: {words}" for words, confidence in steps)
