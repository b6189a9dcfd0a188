"""Words of names and queries, in the form in which they are compared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.gateway.neighbours import ABBREVIATIONS, STOP_WORDS, spelled_out, split_words
from tests.fuzz.budget import tried


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("listPullRequests", "list pull requests"),
        ("HTTPServer2Start", "http server 2 start"),
        ("PRs listURLsNow IDs HTTPSet", "prs list urls now ids http set"),
        ("get_current-time.now", "get current time now"),
        ("ﬁle read", "file read"),  # compatibility forms
        ("Straße Ölpreis", "strasse ölpreis"),
        ("читать_файл", "читать файл"),
        ("読む", "読む"),
        ("!? --", ""),
    ],
)
def test_names_are_split_into_words(text: str, words: str) -> None:
    assert " ".join(split_words(text)) == words


def test_abbreviations_are_spelled_out() -> None:
    assert " ".join(spelled_out("Open a PR for my repo")) == "open a pull request for my repository"


def test_no_stop_word_is_in_the_thesaurus_as_an_abbreviation() -> None:
    assert STOP_WORDS.isdisjoint(ABBREVIATIONS)


@tried(50)
@given(st.text(max_size=200))
def test_any_text_has_words_in_lower_case(text: str) -> None:
    for word in split_words(text):
        assert word == word.casefold()
        assert not any(character.isspace() for character in word)
