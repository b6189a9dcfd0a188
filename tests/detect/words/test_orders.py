"""Each word acts, or is no more than talk."""

from pipeguard.detect.model.powerless import is_idle_talk, may_act
from pipeguard.detect.words import orders
from tests.detect.words.proof import tables, unproved


def acts(word: str) -> bool:
    return may_act(f"please {word.removesuffix('*')} it")


def test_each_word_for_acting_is_one_and_no_talk() -> None:
    assert unproved(orders.ACTING, acts) == []
    assert [word for word in orders.TALK if acts(word)] == []


def test_each_word_of_talk_is_no_more() -> None:
    assert unproved(orders.TALK, lambda word: is_idle_talk(f"say {word} {word}".encode())) == []
    assert tables(orders) == {"ACTING", "TALK"}
