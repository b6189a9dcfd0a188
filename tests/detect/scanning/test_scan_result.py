"""Matches of one text support each other, and none repeats another."""

from pipeguard.detect.rules.rule import Rule
from pipeguard.detect.scanning.rating import DATA, DOUBTED, NEAR_CHARS, REPORTED, add_support
from pipeguard.detect.scanning.scan_budget import Match, without_repeats
from pipeguard.firewall.finding import Confidence
from tests.fuzz.rulebook import ALL, RULES

SECRET, PATTERN = RULES["secrets.github-token"], RULES["injection.override-instructions"]
CLASSIFIER = ALL["injection.classifier"]
MEDIUM, HIGH = Confidence.MEDIUM, Confidence.HIGH


def match_of(
    rule: Rule, confidence: Confidence = MEDIUM, span: tuple[int, int] = (0, 40), key: str = "text"
) -> Match:
    return Match(rule, confidence, "text", (key,), *span, exact=True, paths=(), excerpt="")


def test_a_rule_that_asks_for_several_values_is_surer_if_it_found_them() -> None:
    (match,) = add_support([match_of(SECRET)], {SECRET.id})
    assert match.confidence is HIGH
    (match,) = add_support([match_of(SECRET)], set())
    assert match.confidence is MEDIUM


def test_a_pattern_in_the_same_string_supports_a_classifier() -> None:
    order = match_of(CLASSIFIER)
    assert add_support([order, match_of(PATTERN)], set())[0].confidence is HIGH
    for step in (REPORTED, DATA):
        other = order._replace(steps=((step, MEDIUM, True),))
        assert add_support([other, match_of(PATTERN)], set())[0].confidence is MEDIUM
    near = match_of(PATTERN, span=(NEAR_CHARS, NEAR_CHARS + 40))
    assert add_support([order, near], set())[0].confidence is HIGH
    for other in (
        match_of(PATTERN, span=(NEAR_CHARS + 41, NEAR_CHARS + 80)),
        match_of(PATTERN, key="other"),
        match_of(PATTERN, Confidence.LOW),
        match_of(PATTERN)._replace(steps=((DOUBTED, MEDIUM, True),)),
        match_of(SECRET),
        match_of(CLASSIFIER),
    ):
        assert add_support([order, other], set())[0].confidence is MEDIUM


def test_a_secret_that_is_exact_in_one_reading_is_not_repeated_for_another() -> None:
    exact = match_of(SECRET, HIGH)
    inexact = match_of(SECRET, HIGH, span=(4, 20))._replace(exact=False)
    assert list(without_repeats([inexact, exact])) == [exact]
    for other in (
        inexact._replace(path=("other",)),
        inexact._replace(end=41),
        inexact._replace(rule=PATTERN),
    ):
        assert list(without_repeats([other, exact])) == [other, exact]
    unsure = exact._replace(confidence=MEDIUM)
    assert list(without_repeats([inexact, unsure])) == [inexact, unsure]
