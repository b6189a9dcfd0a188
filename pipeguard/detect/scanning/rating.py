"""The confidence in a match: tables of all the steps that raise, lower or drop it.

A step consists of its words in `scan --why`, its effect on the confidence, and the fact about the
match that triggers it (detect.scanning.facts). A match goes through the tables in this order: a
classifier's through OF_ORDER, a pattern's through BY_CHECKS and IN_READING (or AS_SAMPLE); then
each through IN_STRING, IN_TEXT, and IN_MESSAGE of detect.counting.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from pipeguard.detect.checks.placeholders import is_placeholder
from pipeguard.detect.commands import argument_roles, argument_usage
from pipeguard.detect.model.cascade import Evidence, ReadOrder, Steps
from pipeguard.detect.model.quotation import FEW_TOPICS, MANY_TOPICS
from pipeguard.detect.rules.rule import Rule, View, Written
from pipeguard.detect.scanning.facts import ADDRESS_BYTES, Candidate, Located, join_topics
from pipeguard.detect.scanning.origin import Origin
from pipeguard.detect.scanning.scan_budget import Dropped, Match
from pipeguard.detect.scanning.surroundings import (
    is_in_placeholder,
    masked_excerpt,
    shown_words,
    whole_words,
)
from pipeguard.firewall.finding import Confidence
from pipeguard.firewall.protocol import json_values, places
from pipeguard.records import NamedTuple
from pipeguard.unicode.folding import Range

_PROGRAMS = *argument_usage.PROGRAMS, argument_roles.ArgumentRole.STATEMENT
NEAR_CHARS = 8192  # between two signs: a longer text has both by chance
LOOKED_AT_CHARS = 80  # shown of the words that a step looked at
MOST_DROPPED = 1000  # matches of one value that are kept for somebody who asks why


class Rating(NamedTuple):
    """The confidence in a match; None if it does not count.

    Attributes:
        confidence: after the steps.
        steps: that changed it; the last one is the one that dropped it.
    """

    confidence: Confidence | None
    steps: Steps = ()


_Case = TypeVar("_Case")
Effect = tuple[Confidence | None, Confidence | None, Confidence | None]
# A fact returns what it saw, and something false if it is not true of the match.
Step = tuple[str, Effect, Callable[[_Case], Evidence]]
Table = tuple[Step[_Case], ...]


def _rate(case: _Case, table: Table[_Case], so_far: Rating) -> Rating:
    """Take the steps of a table whose facts are true of a case, in order."""
    confidence, steps = so_far
    for words, effect, find_evidence in table:
        if confidence is None:
            break
        after = effect[confidence]
        if after is not confidence and (evidence := find_evidence(case)):
            confidence = after
            steps = *steps, (words, after, evidence)
    return Rating(confidence, steps)


# The confidence after a step, by that before it: low, medium, high; None drops the match.
_LOW, _MEDIUM, _HIGH = Confidence
DROP = (None, None, None)
DROP_UNSURE = (None, None, _HIGH)
DOUBT = (_LOW, _LOW, _LOW)
DOUBT_LIKELY = (_LOW, _LOW, _HIGH)
LOWER = (_LOW, _LOW, _MEDIUM)
LIMIT = (_LOW, _MEDIUM, _MEDIUM)
RAISE = (_MEDIUM, _HIGH, _HIGH)
RAISE_LIKELY = (_LOW, _HIGH, _HIGH)
ENSURE = (_HIGH, _HIGH, _HIGH)


# --- orders -----------------------------------------------------------------------------
# Likely orders that a classifier found, by their scores and sentences.

REPORTED = "without what it quotes it is no order"
HARMLESS = "without what is public it is no order"
OF_ORDER: Table[ReadOrder] = (
    ("the classifier's score is too low", DROP, ReadOrder.is_none),
    ("the classifier is not sure", LIMIT, lambda order: order.excess < 0),
    ("in a text about attacks, or an example", DOUBT, ReadOrder.is_about_attacks),
    (REPORTED, LIMIT, ReadOrder.is_reported),
    (HARMLESS, LIMIT, ReadOrder.is_harmless),
    ("in the language of law", LIMIT, ReadOrder.is_of_law),
    ("only a name, or the form of a commit, makes it one", LIMIT, ReadOrder.is_of_its_form),
)


def rate_order(order: ReadOrder) -> Rating:
    """Rate the likeliest order in a passage that a classifier read."""
    return _rate(order, OF_ORDER, Rating(Confidence.HIGH))


# --- patterns ---------------------------------------------------------------------------
# A match of a pattern in one reading.

BY_CHECKS: Table[Candidate] = (
    ("a placeholder", DROP, lambda m: m.is_private and is_in_placeholder(m.data, *m.span)),
    ("in documentation", DROP, lambda m: m.is_private and not m.samples and m.is_published()),
    ("a check that it needs fails", DROP, Candidate.find_failed_requirement),
    ("a check holds", ENSURE, lambda m: m.held_check),
    ("in encoded data", DROP, Candidate.is_noise),
    ("a dummy", DROP, Candidate.is_dummy),
    ("a check fails", DOUBT, lambda m: m.failed_check),
    ("the word around it goes on", LOWER, Candidate.is_cut_off),
    ("only without spaces", LOWER, lambda m: m.is_squeezed),
    ("its sentence has an exception of the rule", DOUBT, Candidate.find_exception),
)
CHANCE = "joined pieces fit by chance"
DOUBTED = "a classifier takes its sentences for no order"
_BY_CHANCE: Table[Candidate] = (
    (CHANCE, DROP, lambda m: m.origin.is_chance(m.rule, m.data, m.span)),
    (CHANCE, DROP_UNSURE, lambda m: m.origin.may_fit_by_chance),
)
IN_READING: Table[Candidate] = (
    *_BY_CHANCE,
    (
        "the word around it goes on in its string",
        LOWER,
        lambda m: m.view is View.JOINED and m.origin.is_part_of_word(m.rule, m.data, m.match),
    ),
    ("quoted, about attacks", DOUBT, lambda m: m.quote and join_topics(m.data, m.span, FEW_TOPICS)),
    ("in quotes or code, or called an example", LOWER, lambda m: m.quote),
    ("an example in a text about attacks", LOWER, Candidate.find_topics_of_example),
    (DOUBTED, DOUBT_LIKELY, Candidate.is_doubted),
    (DOUBTED, LIMIT, Candidate.is_doubted_surely),
    (
        "in pieces that nobody writes by chance",
        RAISE_LIKELY,
        lambda m: m.is_squeezed and m.origin.is_split(*m.span),
    ),
)
# A published sample or a dummy in a call, unless its text shows it as something else.
AS_SAMPLE: Table[Candidate] = (
    ("no sample", DROP, lambda m: not (m.is_published() or is_placeholder(m.secret))),
    *_BY_CHANCE,
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
NOT_SEARCHED = Rating(None, (("its rule does not search there", None, True),))
_VALUES = Written.VALUES, Written.PARSED
IN_STRING: Table[Located] = (
    ("in a place that its rule is not for", DROP, Located.find_other_place),
    ("in a file, or in quoted code", DROP, Located.is_read_only),
    (
        "in a text about attacks",
        LOWER,
        lambda m: m.is_anywhere and join_topics(m.data, m.span, MANY_TOPICS),
    ),
    ("only stored", LOWER, lambda m: m.is_stored and m.argument),
    (
        "in a program",
        DROP,
        lambda m: m.rule.written in _VALUES and m.role in _PROGRAMS and m.argument,
    ),
    (
        "only written",
        LOWER,
        lambda m: m.rule.written is Written.LOWER and m.does_nothing and m.argument,
    ),
    (
        "only written",
        DROP,
        lambda m: m.rule.written is not Written.LOWER and m.does_nothing and m.argument,
    ),
    ("the definition says that it is for this", LOWER, lambda m: m.purpose),
    (DATA, LIMIT, Located.is_data),
    ("nobody sees it", ENSURE, lambda m: m.is_invisible),
    ("encoded so that everybody can read it", LOWER, lambda m: m.is_open),
    ("encoded, and short", RAISE, Located.is_opaque),
    (
        "percent-encoded, and too short for an order",
        LOWER,
        lambda m: (
            m.rule.model and m.view == "percent" and m.size_bytes < ADDRESS_BYTES and not m.purpose
        ),
    ),
)


# --- location ---------------------------------------------------------------------------
# From a match in a reading to the string and span that it is reported by.


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
    located = Located(origin, rule, data, span)
    rating = _rate(located, IN_STRING, rating)
    if rating.confidence is None:
        note_drop(origin, rule, rating, data, span)
        return None
    return _report(located, rating, span)


def note_drop(origin: Origin, rule: Rule, rating: Rating, data: bytes, span: Range) -> None:
    """Keep a match that was dropped, for somebody who asks why; arguments as of `locate_match`."""
    dropped = origin.source.dropped
    if dropped is not None and len(dropped.matches) < MOST_DROPPED:
        dropped.matches.append(_report(Located(origin, rule, data, span), rating, span))


def _report(located: Located, rating: Rating, span: Range) -> Match:
    """A match with the words to show of it."""
    rule = located.rule
    (first, last), matched = located.characters, located.data[slice(*span)]
    is_exact = located.is_exact and not located.is_joined and not located.origin.whole
    words = whole_words(located.text.find_value(located.low), first, last) if is_exact else ""
    return Match(
        rule,
        rating.confidence or Confidence.LOW,
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


def without_secret(rule: Rule, path: json_values.Path, matched: bytes) -> json_values.Path:
    """A path in which keys that contain a private rule's match are masked."""
    if not rule.is_private:
        return path
    secret = matched.decode("utf-8", "replace")
    return tuple(
        places.MASKED_STEP if isinstance(step, str) and secret in step else step for step in path
    )


# --- texts ------------------------------------------------------------------------------
# A match among all of one text.


def find_pattern_near(match: Match, others: Sequence[Match]) -> str:
    """The rule of a pattern that matched near a classifier's order; empty without one.

    Two weak signs are a strong one.
    """
    return next(
        (
            other.rule.id
            for other in others
            if other.path == match.path
            and max(other.start - match.end, match.start - other.end) <= NEAR_CHARS
            and other.confidence >= Confidence.MEDIUM
            and not (other.rule.model or other.rule.is_private or other.took(DOUBTED, DATA))
        ),
        "",
    )


class _Supported(NamedTuple):
    """A match among all matches of its text.

    Attributes:
        match: the match.
        others: all matches.
        is_one_of_several: True if its rule asks for several values and found them.
    """

    match: Match
    others: Sequence[Match]
    is_one_of_several: bool

    def find_second_sign(self) -> str:
        """The rule of a pattern near an order that a classifier found, unless that is data."""
        is_order = self.match.rule.model and not self.match.took(REPORTED, HARMLESS, DATA)
        return find_pattern_near(self.match, self.others) if is_order else ""


IN_TEXT: Table[_Supported] = (
    ("several different values", RAISE, lambda m: m.is_one_of_several),
    ("a pattern matches near it", RAISE_LIKELY, _Supported.find_second_sign),
)


def add_support(matches: list[Match], rules_with_several: set[str]) -> list[Match]:
    """Raise the confidence of matches that other matches in the text support.

    Args:
        matches: of one text; changed in place.
        rules_with_several: ids of rules that ask for several values and found them.
    """
    for index, match in enumerate(matches):
        supported = _Supported(match, matches, match.rule.id in rules_with_several)
        matches[index] = rerate(match, supported, IN_TEXT) or match
    return matches


def rerate(
    match: Match, case: _Case, table: Table[_Case], dropped: Dropped | None = None
) -> Match | None:
    """Rate a located match by one more table; None if it does not count.

    Args:
        match: the match.
        case: the same, with what the table's facts need.
        table: the steps.
        dropped: gets the match if it does not count, for somebody who asks why.
    """
    confidence, steps = _rate(case, table, Rating(match.confidence, match.steps))
    if confidence is not None:
        return match._replace(confidence=confidence, steps=steps)
    if dropped is not None:
        dropped.matches.append(match._replace(steps=steps))
    return None


def describe_steps(match: Match, *, with_words: bool) -> tuple[str, ...]:
    """The steps by which a match was rated, each with the confidence after it and what it saw.

    Args:
        match: the match.
        with_words: True to show words of the text, too, without the match's secret.
    """
    first = ("the classifier", Confidence.HIGH) if match.rule.model else None
    lines = []
    for words, confidence, evidence in (
        (*(first or ("the pattern", match.rule.confidence)), ""),
        *match.steps,
    ):
        seen = evidence if isinstance(evidence, str) else ""
        if isinstance(evidence, bytes) and with_words:
            bare = evidence.replace(match.secret, b"...") if match.secret else evidence
            seen = shown_words(bare.decode("utf-8", "ignore"), LOOKED_AT_CHARS)
        level = "dropped" if confidence is None else confidence.name.lower()
        lines.append(f"{level}: {words} ({seen})" if seen else f"{level}: {words}")
    return tuple(lines)
