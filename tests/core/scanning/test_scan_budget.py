"""Each rule reports words once, counted by confidence; a slow text is not scanned to its end."""

import re
from collections.abc import Iterator

import pytest

from pipeguard.core.finding import Confidence, Severity
from pipeguard.core.rules.rule import Rule
from pipeguard.core.scanning.match import max_findings
from pipeguard.core.scanning.scan_budget import MAX_REPEATED, Tally
from pipeguard.core.text.budgets import LOOKED_BYTES, LOOKED_TIMES, Budgets
from tests.fuzz.rulebook import engines

RULES = [rule for engine in engines() for rule in engine.rules]
ORDER = next(rule for rule in RULES if not rule.is_private and rule.severity >= Severity.HIGH)
ODD = next(rule for rule in RULES if not rule.is_private and rule.severity < Severity.HIGH)
SECRET = next(rule for rule in RULES if rule.is_private)
TEXT, NAME = "result.text", "call.name"


def words(*each: bytes) -> Iterator[re.Match[bytes]]:
    return re.finditer(rb"\S+", b" ".join(each))


@pytest.mark.parametrize("rule", [ORDER, SECRET])
def test_words_of_a_sure_finding_are_not_rated_again(rule: Rule) -> None:
    tally = Tally(Budgets())
    tally.admits(rule, b"one", TEXT, Confidence.HIGH)
    assert [match[0] for match in tally.worth_rating(rule, words(b"one", b"two"))] == [b"two"]


def test_words_of_a_less_sure_finding_are_rated_however_often_they_come() -> None:
    tally = Tally(Budgets())
    tally.admits(ORDER, b"one", TEXT, Confidence.MEDIUM)
    for _ in range(4 * MAX_REPEATED):
        assert [match[0] for match in tally.worth_rating(ORDER, words(b"one"))] == [b"one"]


def test_repetitions_end_a_block_only_where_the_rule_stops_the_message() -> None:
    many = [b"one"] * MAX_REPEATED
    for rule, expected in ((ORDER, []), (ODD, [b"two"]), (SECRET, [b"two"])):
        tally = Tally(Budgets())
        tally.admits(rule, b"one", TEXT, Confidence.HIGH)
        assert [match[0] for match in tally.worth_rating(rule, words(*many, b"two"))] == expected


@pytest.mark.parametrize("rule", [ORDER, SECRET])
def test_findings_that_are_less_sure_or_elsewhere_use_up_nothing(rule: Rule) -> None:
    tally = Tally(Budgets())
    for number in range(2 * max_findings(rule)):
        is_admitted = tally.admits(rule, b"%d" % number, TEXT, Confidence.LOW)
        assert is_admitted is (number < max_findings(rule))
    assert tally.has_enough(rule, Confidence.LOW)
    assert not tally.has_enough(rule, Confidence.HIGH)
    assert not tally.exhausted
    for number in range(max_findings(rule)):
        assert tally.admits(rule, b"sure %d" % number, TEXT, Confidence.HIGH)
    assert tally.admits(rule, b"elsewhere", NAME, Confidence.HIGH)


def test_more_secrets_than_are_redacted_stop_the_message() -> None:
    tally = Tally(Budgets())
    for number in range(max_findings(SECRET)):
        assert tally.admits(SECRET, b"%d" % number, TEXT, Confidence.HIGH)
    assert not tally.exhausted
    assert not tally.admits(SECRET, b"one more", TEXT, Confidence.HIGH)
    assert tally.exhausted


def test_the_scan_ends_with_its_budget_and_says_so() -> None:
    budgets = Budgets()
    budgets.grow(1000, classified=False)
    tally = Tally(budgets)
    assert tally.spend(LOOKED_BYTES + 1000 * LOOKED_TIMES)
    assert not list(tally.worth_rating(ORDER, words(b"one")))  # it costs MATCH_BYTES
    assert tally.exhausted


def test_the_texts_of_one_message_share_a_budget() -> None:
    budgets = Budgets()
    assert Tally(budgets).spend(LOOKED_BYTES)
    other = Tally(budgets)
    assert not other.spend(1)
    assert other.exhausted
