"""Pairs of letters: so many that words are told from chance, and no more."""

from string import ascii_lowercase

from pipeguard.detect.words.english import LETTER_PAIRS


def test_pairs_are_two_small_letters_and_under_half_of_all_there_are() -> None:
    assert all(len(pair) == 2 and set(pair) <= set(ascii_lowercase) for pair in LETTER_PAIRS)
    assert len(LETTER_PAIRS) < 26 * 26 / 2
