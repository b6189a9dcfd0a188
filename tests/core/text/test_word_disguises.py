"""Words in another spelling are read where one that is watched stands in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.core.text import word_disguises
from pipeguard.core.text.word_disguises import reverse, rot13, unleet, unleet_l, unspell
from tests.core.text.reading import readings, signs_in
from tests.each import each
from tests.fuzz.budget import tried
from tests.fuzz.disguises import RESPELT, Disguise


@each("disguise", RESPELT)
@each("text", [*word_disguises.WATCHED, *word_disguises.PREFIXES])
def test_each_watched_word_is_read_in_another_spelling(text: str, disguise: Disguise) -> None:
    spelt = disguise(text)
    decoded = readings(f"well, {spelt} it is".encode())
    is_decoded = any(text.encode() in item for item in decoded)
    assert is_decoded or spelt == text or len(text) < word_disguises.MIN_PREFIX


@pytest.mark.parametrize("text", ["the hash_ of", "contract_ and act", "INDIA", "AISAK", "_unpack"])
def test_part_of_a_word_is_no_prefix_in_another_spelling(text: str) -> None:
    assert not {"rot13", "reversed"} & signs_in(text.encode()).keys()


@pytest.mark.parametrize("text", ["1gn0r3 all", "Pr3v10u5 rules", "ign0re", "p@ssword", "SY5TEM"])
def test_digits_are_read_as_letters(text: str) -> None:
    decoded = b"|".join(readings(text.encode())).lower()
    words = (b"ignore", b"previous", b"password", b"system")
    assert any(word in decoded for word in words)


@tried(100)
@given(st.text(max_size=60))
def test_what_is_turned_around_twice_is_as_it_was(text: str) -> None:
    data = text.encode("utf-8", "replace")
    assert reverse(reverse(data)) == data
    assert rot13(rot13(data)) == data
    assert len(unleet(data)) == len(unleet_l(data)) == len(data)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (b"i.g.n.o.r.e all", b"ignore all"),
        (b"i g n o r e   a l l", b"ignore all"),
        (b"i-g-n-o-r-e", b"ignore"),
        (b"a.b c", b"a.b c"),
        (b"e.g. this", b"e.g. this"),
    ],
)
def test_a_separator_after_each_letter_is_taken_away(text: bytes, plain: bytes) -> None:
    assert b" ".join(unspell(text).split()) == plain
