"""Positions of JSON strings, and texts that only look like JSON."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeguard.detect.scanning import extents
from pipeguard.detect.scanning.extents import JsonValues, may_continue
from pipeguard.detect.text.document import MessageText
from tests.detect.cases import read_cases
from tests.each import each
from tests.fuzz.budget import tried

CASES = read_cases(__file__)

SAID = "the boats are moored today"


def strings(text: str) -> list[str]:
    read = MessageText(["before", text], keyed=False)
    data = read.data
    return [data[a:b].decode() for a, b in JsonValues(read).within(0, len(data))]


@pytest.mark.parametrize(
    "value",
    [{"id": 3, "body": SAID}, [SAID], {"a": [{"b": [True, None, -1.5e3, SAID]}]}, {SAID: 1}],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_values_and_keys_of_several_words_are_found(value: object, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    assert strings(text) == [SAID]
    assert strings(f" \n{text}\n{text}\n") == [SAID, SAID], "lines of JSON"


def test_a_quote_that_is_escaped_ends_no_string() -> None:
    said = f'{SAID}, "all of them", and \\'
    assert strings(json.dumps({"body": said})) == [json.dumps(said)[1:-1]]


def test_names_and_short_values_are_none() -> None:
    text = json.dumps({"a_name_of_one_word": "short", "more": SAID})
    read = MessageText(text, keyed=False)
    found = JsonValues(read)
    before, after = found.names(0, len(text))
    assert before == b'{"a_name_of_one_word": "short", "more": "'
    assert after == b'"}'


@each("text", CASES["what_is_not_all_json_has_no_strings"])
def test_what_is_not_all_json_has_no_strings(text: str) -> None:
    assert strings(text) == []


def test_the_string_around_a_range_is_found_even_from_its_quote_on() -> None:
    text = json.dumps({"body": SAID, "next": SAID})
    found = JsonValues(MessageText(text, keyed=False))
    start = text.index(SAID)
    end = start + len(SAID)
    assert found.string_around(start + 4, start + 9) == (start, end)
    assert found.string_around(start - 1, end + 1) == (start, end)
    assert found.string_around(start, end + 9) is None
    assert found.string_around(2, 4) is None


def test_items_of_a_list_and_short_strings_may_continue_each_other() -> None:
    long, marks = (0, 99), [b'"', b'", "by": "', b'"']
    assert may_continue([long, (0, 99)], [b'["', b'", "', b'"]'])
    assert may_continue([(0, 20), (0, 20)], marks)
    assert not may_continue([long, (0, 20)], marks)


PARTS = st.sampled_from([*'[]{}",:\\ \n0é"a\0“', SAID, '{"a":"', "\\\\n", "true", " " * 63])
JSON = st.recursive(
    st.lists(PARTS | st.characters(codec="utf-8"), max_size=9).map("".join),
    lambda inner: st.lists(inner) | st.dictionaries(PARTS, inner) | inner.map(json.dumps),
)


@tried(300)
@given(st.lists(PARTS).map("".join) | JSON.map(json.dumps), PARTS)
@example('["' + "\\" * 99, "")
@example("[" * 9999 + "]" * 9999, " ")
def test_any_text_has_the_same_strings_in_c_in_order_and_within_it(text: str, more: str) -> None:
    read = MessageText([f"[{text}]", text + more, text], keyed=False)
    found, plain = JsonValues(read), JsonValues(read)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extents, "NATIVE", None)
        assert (plain.data, plain.length) == (found.data, found.length)
    spans = found.within(0, len(read.data))
    assert spans == plain.within(0, len(read.data))
    bounds = [0, *(at for span in spans for at in span), len(read.data)]
    assert bounds == sorted(bounds)
