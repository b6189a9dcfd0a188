"""Memory of texts is counted, even if one wide character widens the whole text."""

from pipeguard.firewall.budgets import SLOT_BYTES, measure_text, size_of_all


def test_a_wide_character_makes_its_text_four_times_as_large() -> None:
    plain, wide = measure_text("a" * 1000), measure_text("a" * 999 + "\U0001f600")
    assert 1000 < plain < 1100
    assert 4000 < wide < 4200


def test_what_is_not_there_takes_nothing() -> None:
    assert measure_text() == measure_text(None) == 0
    assert measure_text("a", None, "b") == measure_text("a") + measure_text("b")


def test_a_set_takes_its_texts_and_its_slots() -> None:
    assert size_of_all([]) == 0
    assert size_of_all(["a", "bc"]) == measure_text("a", "bc") + 2 * SLOT_BYTES
