"""The table of everyday phrases, and how they are found in a request."""

import itertools
import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipeguard.gateway import concepts
from pipeguard.gateway.concepts import BESIDE, GAP, MOST_BETWEEN, Stems, _Everyday, table
from pipeguard.gateway.neighbours import STOP_WORDS, split_words
from tests.each import some
from tests.fuzz.budget import tried

STEMS = Stems()
EVERYDAY = _Everyday(STEMS)
WORDS = sorted({word for terms in table() for term in terms for word in split_words(term)})


def found(request: str) -> list[str]:
    words = request.split()
    matches = EVERYDAY.matches(words, [STEMS[word] for word in words])
    return [" ".join(words[place] for place in places) for places, _ in matches]


def test_each_row_has_terms_and_phrases_of_plain_words() -> None:
    for terms, phrases in some(table().items()):
        assert phrases, terms
        for text in (*terms, *phrases):
            assert text == text.casefold() or re.search(r"\bI\b|[A-Z][a-z]+", text), text
            assert re.fullmatch(rf"[\w' /{GAP}{BESIDE}-]+", text), text
            assert list(split_words(text)), text
        assert len(set(phrases)) == len(phrases), terms


def test_no_row_is_written_twice() -> None:
    text = Path(concepts.__file__).with_name("everyday.yaml").read_text("utf-8")
    rows = re.findall(r"(?m)^([^\s#][^:]*):", text)
    assert len(rows) == len(set(rows)) == len(table())


def test_no_phrase_is_a_stop_word_or_begins_or_ends_with_a_gap() -> None:
    for phrase in some(itertools.chain.from_iterable(table().values())):
        assert phrase not in STOP_WORDS
        assert all(part.strip() for part in phrase.split(GAP)), phrase


def test_a_phrase_has_room_for_determiners_and_where_it_has_a_gap_for_more() -> None:
    assert found("throw the old xyzzy away") == ["throw away"]
    assert found("hit that enter") == ["hit enter"]
    assert "throw away" not in found(f"throw {'xyzzy ' * (MOST_BETWEEN + 1)}away")


def test_a_word_beside_a_phrase_is_there_in_its_form_and_is_no_part_of_it() -> None:
    assert found("open a bug") == ["open a", "bug"]
    assert found("the past commits") == ["past"]
    assert found("the past commit") == []


def test_phrases_do_not_overlap_and_the_longer_one_is_taken() -> None:
    assert found("get rid of it") == ["get rid of"]


@tried(50)
@given(st.lists(st.sampled_from([*WORDS, "throw", "away", "the", "out", "of"]), max_size=12))
def test_each_word_is_in_one_phrase_at_most(words: list[str]) -> None:
    matches = EVERYDAY.matches(words, [STEMS[word] for word in words])
    places = [place for found, _ in matches for place in found]
    assert len(places) == len(set(places))
    assert all(0 <= place < len(words) for place in places)
