"""Words of names and queries, in the form in which they are compared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.gateway.thesaurus import ABBREVIATIONS, SYNONYMS
from pipeguard.gateway.words import MAX_QUERY_WORDS, STOP_WORDS, query_words, synonyms, words_of
from tests.fuzz.budget import tried


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("listPullRequests", "list pull requests"),
        ("HTTPServer2Start", "http server 2 start"),
        ("get_current-time.now", "get current time now"),
        ("ﬁle read", "file read"),  # compatibility forms
        ("Straße Ölpreis", "strasse ölpreis"),
        ("читать_файл", "читать файл"),
        ("読む", "読む"),
        ("!? --", ""),
    ],
)
def test_names_are_split_into_words(text: str, words: str) -> None:
    assert " ".join(words_of(text)) == words


def test_a_query_is_what_tells_tools_apart() -> None:
    assert query_words("Could you please open a PR for me?") == ("open", "pull", "request")


def test_a_query_of_stop_words_alone_is_looked_up_all_the_same() -> None:
    assert query_words("what can you do") == ("what", "can", "you", "do")


def test_a_document_is_no_query() -> None:
    assert len(query_words(" ".join(f"word{letter}" * 3 for letter in "abcdefghij") * 9)) <= (
        MAX_QUERY_WORDS
    )


def test_synonyms_are_mutual() -> None:
    assert all(word in synonyms(other) for word, others in SYNONYMS.items() for other in others)
    assert synonyms("xyzzy") == ()


def test_no_stop_word_is_in_the_thesaurus_as_an_abbreviation() -> None:
    assert STOP_WORDS.isdisjoint(ABBREVIATIONS)


@tried(50)
@given(st.text(max_size=200))
def test_any_text_has_words_in_lower_case(text: str) -> None:
    for word in words_of(text):
        assert word == word.casefold()
        assert not any(character.isspace() for character in word)
