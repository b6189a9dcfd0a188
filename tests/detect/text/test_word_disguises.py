"""Words in another spelling are read if a watched word is among them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.text import word_disguises
from pipeguard.detect.text.word_disguises import ENCODINGS, reverse, rot13, unleet, unleet_l
from pipeguard.detect.words import disguises
from pipeguard.firewall.budgets import DecodingBudget
from tests.detect.cases import read_cases
from tests.detect.text.reading import readings, signs_in
from tests.each import each
from tests.fuzz.budget import tried
from tests.fuzz.disguises import RESPELT, Disguise

CASES = read_cases(__file__)


@each("disguise", RESPELT)
def test_each_watched_word_is_read_in_another_spelling(disguise: Disguise) -> None:
    missed = []
    for text in (*word_disguises.watched_words(), *disguises.in_order("PREFIXES")):
        spelt = disguise(text)
        if len(text) >= word_disguises.MIN_PREFIX and spelt != text:
            decoded = readings(f"well, {spelt} it is".encode())
            missed += [] if any(text.encode() in item for item in decoded) else [text]
    assert missed == []


@pytest.mark.parametrize("text", ["the hash_ of", "contract_ and act", "INDIA", "AISAK", "_unpack"])
def test_part_of_a_word_is_no_prefix_in_another_spelling(text: str) -> None:
    assert not {"rot13", "reversed"} & signs_in(text.encode()).keys()


@tried(100)
@given(st.text(max_size=60))
def test_what_is_turned_around_twice_is_as_it_was(text: str) -> None:
    data = text.encode("utf-8", "replace")
    assert reverse(reverse(data)) == data
    assert rot13(rot13(data)) == data
    assert len(unleet(data)) == len(unleet_l(data)) == len(data)


@each("text, plain", CASES["a_separator_after_each_letter_is_taken_away"])
def test_a_separator_after_each_letter_is_taken_away(text: str, plain: str | None) -> None:
    data = text.encode()
    decoded = [*ENCODINGS["spelled"].decode(data, 0, len(data), DecodingBudget())]
    found = [b" ".join(part.data.split()).decode() for part in decoded]
    assert found == ([] if plain is None else [plain])


@pytest.mark.parametrize(("start", "plain"), [(0, b"by ignore"), (1, b"y ignore"), (4, b"gnore")])
def test_a_letter_stands_alone_whatever_range_begins_there(start: int, plain: bytes) -> None:
    data = b"by i.g.n.o.r.e"
    decoded = [*ENCODINGS["spelled"].decode(data, start, len(data), DecodingBudget())]
    assert [part.data.lstrip(b".") for part in decoded] == [plain]


@each("row", ["{}:{} ", "{}. {}\n", "{},{}\n", "|{}|{}|\n", '"{}": "{}", ', "{}) {}; "])
@each("plain", ["ghp_1a2b3c4d5678", "0123456789ab", "x1.56-78_9Z.0a12"])
def test_the_cells_of_a_numbered_list_are_joined(row: str, plain: str) -> None:
    data = "".join(row.format(number, letter) for number, letter in enumerate(plain * 2))
    assert (plain * 2).encode() in readings(f"v: {data}".encode())


@each("text", CASES["a_numbered_list_of_words_has_no_cells"])
def test_a_numbered_list_of_words_has_no_cells(text: str) -> None:
    data = text.encode()
    assert [*ENCODINGS["numbered"].decode(data, 0, len(data), DecodingBudget(1000))] == []


@each("text, plain", CASES["a_long_name_is_read_as_words"])
def test_a_long_name_is_read_as_words(text: str, plain: str | None) -> None:
    data = text.encode()
    decoded = [*ENCODINGS["name"].decode(data, 0, len(data), DecodingBudget())]
    assert [part.data.decode() for part in decoded] == ([] if plain is None else [plain])
    assert plain is None or "name" in signs_in(data)


@each("repeated", ["password=", "sk-ant-"])
@each("count", [3, 400])
def test_a_beginning_of_keys_over_and_over_is_joined_a_few_times(repeated: str, count: int) -> None:
    data = f"{repeated * count}s-e-c-r-e-t-1-2-3-4 and more".encode()
    decoded = [*ENCODINGS["pieces"].decode(data, 0, len(data), DecodingBudget())]
    assert any(part.data == f"{repeated}secret1234".encode() for part in decoded)
    assert sum(len(part.data) for part in decoded) <= 25 * len(data)
