"""Each rule says a thing once, counted by confidence; what is made to be slow ends the looking."""

import re
from collections.abc import Iterator

import pytest

from pipeguard.core.finding import Confidence, Severity
from pipeguard.core.rules.rule import Rule
from pipeguard.core.scanning.match import most
from pipeguard.core.scanning.scan_budget import MAX_REPEATED, Tally
from pipeguard.core.text.budgets import LOOKED_BYTES, LOOKED_TIMES, Budgets
from tests.fuzz.rulebook import engines

RULES = [rule for engine in engines() for rule in engine.rules]
ORDER = next(rule for rule in RULES if not rule.is_private and rule.severity >= Severity.HIGH)
ODD = next(rule for rule in RULES if not rule.is_private and rule.severity < Severity.HIGH)
SECRET = next(rule for rule in RULES if rule.is_private)
TEXT, NAME = "result.text", "call.name"


def words(*said: bytes) -> Iterator[re.Match[bytes]]:
    return re.finditer(rb"\S+", b" ".join(said))


@pytest.mark.parametrize("rule", [ORDER, SECRET])
def test_what_was_told_for_sure_is_worth_nothing_more(rule: Rule) -> None:
    tally = Tally(Budgets())
    tally.tell(rule, b"one", TEXT, Confidence.HIGH)
    assert [match[0] for match in tally.worth(rule, words(b"one", b"two"))] == [b"two"]


def test_what_was_told_less_sure_is_looked_at_however_often_it_comes() -> None:
    tally = Tally(Budgets())
    tally.tell(ORDER, b"one", TEXT, Confidence.MEDIUM)
    for _ in range(4 * MAX_REPEATED):
        assert [match[0] for match in tally.worth(ORDER, words(b"one"))] == [b"one"]


def test_repetitions_end_a_block_only_where_the_rule_stops_the_message() -> None:
    many = [b"one"] * MAX_REPEATED
    for rule, found in ((ORDER, []), (ODD, [b"two"]), (SECRET, [b"two"])):
        tally = Tally(Budgets())
        tally.tell(rule, b"one", TEXT, Confidence.HIGH)
        assert [match[0] for match in tally.worth(rule, words(*many, b"two"))] == found


@pytest.mark.parametrize("rule", [ORDER, SECRET])
def test_what_is_less_sure_or_elsewhere_uses_up_nothing(rule: Rule) -> None:
    tally = Tally(Budgets())
    for number in range(2 * most(rule)):
        told = tally.tell(rule, b"%d" % number, TEXT, Confidence.LOW)
        assert told is (number < most(rule))
    assert tally.has_enough(rule, Confidence.LOW)
    assert not tally.has_enough(rule, Confidence.HIGH)
    assert not tally.exhausted
    for number in range(most(rule)):
        assert tally.tell(rule, b"sure %d" % number, TEXT, Confidence.HIGH)
    assert tally.tell(rule, b"elsewhere", NAME, Confidence.HIGH)


def test_more_secrets_than_are_taken_out_stop_the_message() -> None:
    tally = Tally(Budgets())
    for number in range(most(SECRET)):
        assert tally.tell(SECRET, b"%d" % number, TEXT, Confidence.HIGH)
    assert not tally.exhausted
    assert not tally.tell(SECRET, b"one more", TEXT, Confidence.HIGH)
    assert tally.exhausted


def test_looking_ends_and_says_so() -> None:
    budgets = Budgets()
    budgets.grow(1000, classified=False)
    tally = Tally(budgets)
    assert tally.spend(LOOKED_BYTES + 1000 * LOOKED_TIMES)
    assert not list(tally.worth(ORDER, words(b"one")))  # it costs MATCH_BYTES
    assert tally.exhausted


def test_what_one_text_has_used_up_another_of_its_message_cannot_use() -> None:
    budgets = Budgets()
    assert Tally(budgets).spend(LOOKED_BYTES)
    other = Tally(budgets)
    assert not other.spend(1)
    assert other.exhausted
