"""The form in which models read a text."""

import pytest
from hypothesis import given

from pipeguard.detect.model.features import tokens
from pipeguard.detect.model.sentences import LETTERS_READ, plain, words
from tests.detect.model.samples import any_texts
from tests.fuzz.budget import tried


@tried(100)
@given(any_texts)
def test_a_plain_text_is_plain_and_in_small_letters(text: str) -> None:
    once = plain(text)
    assert plain(once) == once
    assert tokens(once) == tokens(plain(text))


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("ÀÉÎ", "aei"),
        ("K\u00fcnstlich", "kunstlich"),
        ("\u062a\u064e\u062c\u0627", "\u062a\u062c\u0627"),
        ("\uac00", "\uac00"),
    ],
)
def test_accents_and_marks_are_left_out(text: str, form: str) -> None:
    assert plain(text) == form


def test_words_and_the_signs_that_count_are_told_apart() -> None:
    assert words("do not 'tell': me#2 (yet)") == ["do", "not", "tell", ":", "me", "#", "2", "yet"]
    assert words("\u0928\u093f\u0930\u094d\u0926\u0947\u0936") == [
        "\u0928\u093f\u0930\u094d\u0926\u0947\u0936"
    ]


def test_no_more_of_a_word_is_read_than_a_word_has() -> None:
    assert words("a" * 2 * LETTERS_READ) == ["a" * LETTERS_READ]
