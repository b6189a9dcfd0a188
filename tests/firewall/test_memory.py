"""What texts take in memory is counted, also where one character makes all of them wide."""

from pipeguard.firewall.budgets import SLOT_BYTES, size_of, size_of_all


def test_a_wide_character_makes_its_text_four_times_as_large() -> None:
    plain, wide = size_of("a" * 1000), size_of("a" * 999 + "\U0001f600")
    assert 1000 < plain < 1100
    assert 4000 < wide < 4200


def test_what_is_not_there_takes_nothing() -> None:
    assert size_of() == size_of(None) == 0
    assert size_of("a", None, "b") == size_of("a") + size_of("b")


def test_a_set_takes_its_texts_and_its_slots() -> None:
    assert size_of_all([]) == 0
    assert size_of_all(["a", "bc"]) == size_of("a", "bc") + 2 * SLOT_BYTES
