"""Each rule says a thing once; what is made to be slow ends the looking."""

import re
from collections.abc import Iterator

import pytest

from pipeguard.core.finding import Confidence
from pipeguard.core.rules import Rule
from pipeguard.core.tally import LOOKED_BYTES, LOOKED_TIMES, MAX_LOOKS, SETTLED, Tally
from pipeguard.state.compiled import engines

RULES = [rule for engine in engines() for rule in engine.rules]
ORDERS = [rule for rule in RULES if not rule.is_private][:SETTLED]
SECRET = next(rule for rule in RULES if rule.is_private)


def words(*said: bytes) -> Iterator[re.Match[bytes]]:
    return re.finditer(rb"\S+", b" ".join(said))


@pytest.mark.parametrize("rule", [ORDERS[0], SECRET])
def test_what_was_told_for_sure_is_worth_nothing_more(rule: Rule) -> None:
    tally = Tally(0)
    tally.tell(rule, b"one", Confidence.HIGH)
    assert [match[0] for match in tally.worth(rule, words(b"one", b"two"))] == [b"two"]


def test_what_was_told_less_sure_is_looked_at_again_but_not_for_ever() -> None:
    tally = Tally(0)
    tally.tell(ORDERS[0], b"one", Confidence.MEDIUM)
    for _ in range(MAX_LOOKS):
        assert [match[0] for match in tally.worth(ORDERS[0], words(b"one"))] == [b"one"]
        tally.looked_at(ORDERS[0], b"one")
    assert not list(tally.worth(ORDERS[0], words(b"one")))


def test_repetitions_end_a_block_only_where_the_rule_is_sure() -> None:
    many = [b"one"] * MAX_LOOKS
    tally = Tally(0)
    tally.settle(ORDERS[0], b"one")  # it was none: what hides behind it is found
    assert [match[0] for match in tally.worth(ORDERS[0], words(*many, b"two"))] == [b"two"]
    tally.tell(ORDERS[0], b"one", Confidence.HIGH)
    assert not list(tally.worth(ORDERS[0], words(*many, b"two")))


def test_every_secret_behind_repetitions_is_found() -> None:
    tally = Tally(0)
    tally.tell(SECRET, b"one", Confidence.HIGH)
    many = [b"one"] * (2 * MAX_LOOKS)
    assert [match[0] for match in tally.worth(SECRET, words(*many, b"two"))] == [b"two"]


def test_looking_ends_and_says_so() -> None:
    tally = Tally(1000)
    assert tally.spend(LOOKED_BYTES + 1000 * LOOKED_TIMES)
    assert not list(tally.worth(ORDERS[0], words(b"one")))  # it costs MATCH_BYTES
    assert (tally.exhausted, tally.is_settled) == (True, True)


def test_a_few_sure_rules_settle_a_message_and_one_does_not() -> None:
    tally = Tally(0)
    for number in range(2 * SETTLED):
        tally.tell(ORDERS[0], b"%d" % number, Confidence.HIGH)
    tally.tell(SECRET, b"key", Confidence.HIGH)
    assert not tally.is_settled
    assert tally.sure(ORDERS[0]) == 2 * SETTLED
    for rule in ORDERS:
        tally.tell(rule, b"word", Confidence.HIGH)
    assert tally.is_settled
