"""Both layouts, in Python and in C: which strings they have, and in which order."""

from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeguard.detect.text import layouts
from pipeguard.detect.text.layouts import (
    LONGEST_LISTED,
    LONGEST_NAMED,
    MIN_NUMBER_DIGITS,
    find_keys,
    is_listed,
    lay_out,
    text_of_codes,
)
from pipeguard.firewall.protocol.json_values import JsonValue, Number
from pipeguard.firewall.protocol.places import FIXED_VALUE_KEYS
from tests.detect.cases import read_cases
from tests.detect.model.samples import run_sanitized
from tests.each import each
from tests.fuzz.budget import tried
from tests.fuzz.values import texts, tokens

CASES = read_cases(__file__)

SOURCE = Path(layouts.__file__).with_name("_layout.c")
VARIABLES: JsonValue = {
    "type": "text",
    "note": "first",
    "env": [{"name": "API_KEY", "value": "abc"}, {"name": "COLOUR", "value": "red"}],
    "card": Number("4111111111111111"),
    "count": Number("12"),
}
keys = st.one_of(
    texts, st.sampled_from([*sorted(FIXED_VALUE_KEYS), "api_key", "value", "name", "iban"])
)
values: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | tokens | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=14,
)


@pytest.fixture(scope="session")
def compiled() -> ModuleType:
    """The C form, built if a compiler exists: every test environment has one."""
    assert layouts.NATIVE is not None, "no C compiler? `make environment` builds _layout.c"
    return layouts.NATIVE


def test_the_keyed_layout_has_each_member_and_a_short_number_as_an_empty_string() -> None:
    data, joined, names, _, strings, *_ = lay_out(VARIABLES, keyed=True)
    assert data.startswith(b"type: text\nnote: first\nenv: \nname: API_KEY\n")
    assert strings[-2:] == ["4111111111111111", ""]
    assert joined == ["first", "API_KEY", "abc", "COLOUR", "red", "4111111111111111"]
    assert [*names] == ["type", "note", "env", "name", "value", "card", "count"]


def test_the_unkeyed_layout_repeats_what_has_a_sensitive_key() -> None:
    data, plain, names, _, strings, labels, *_ = lay_out(VARIABLES, keyed=False)
    assert plain == ["first", "API_KEY", "abc", "COLOUR", "red", "4111111111111111"]
    assert strings == [*plain, "abc", "4111111111111111"]
    assert labels == ["API_KEY", "card"]
    assert [*names] == ["type", "text", "note", "env", "name", "value", "card", "count"]
    assert b"\nAPI_KEY: abc\ncard: 4111111111111111\ntype\ntext\n" in data


@tried(400)
@given(values, st.booleans())
@example([[[Number(ord(letter))] for letter in "the quick brown fox"]], True)
@example({"type": Number("123456789"), "name": "password", "value": "é"}, False)
@example({"note": "a" * LONGEST_NAMED, "api_key": "b" * LONGEST_NAMED}, False)
@example({"api_key": "c" * (LONGEST_NAMED + 1), "role": "ß" * LONGEST_LISTED}, False)
@example([{"type": "é" * n, "role": "A" * n} for n in range(LONGEST_LISTED, 15)], True)
@example([Number("1" * n) for n in range(MIN_NUMBER_DIGITS - 1, 11)], False)
def test_both_forms_lay_a_value_out_alike(
    compiled: ModuleType, value: JsonValue, is_keyed: bool
) -> None:
    """Strings and numbers are told apart, which are equal."""
    ours = layouts.lay_out_in_python(value, keyed=is_keyed)
    theirs = compiled.lay_out(value, is_keyed, layouts.READERS)
    assert ours == theirs
    assert [type(each) for each in ours[4]] == [type(each) for each in theirs[4]]


def test_both_forms_refuse_half_a_character_and_end_where_recursion_does(
    compiled: ModuleType,
) -> None:
    deep: JsonValue = []
    for _ in range(5000):
        deep = [deep]
    refused: list[tuple[JsonValue, type[Exception]]]
    refused = [(["\ud800"], UnicodeEncodeError), (deep, RecursionError)]
    for is_keyed in (False, True):
        for value, error in refused:
            with pytest.raises(error):
                layouts.lay_out_in_python(value, keyed=is_keyed)
            with pytest.raises(error):
                compiled.lay_out(value, is_keyed, layouts.READERS)


@pytest.mark.slow
def test_the_c_form_leaves_no_byte_of_its_buffers(tmp_path: Path) -> None:
    """Built with the address and undefined behaviour sanitizers, over random values."""
    run_sanitized(SOURCE, FUZZING, tmp_path, 3000)


FUZZING = """
import _layout
from pipeguard.detect.flows import text_values
from pipeguard.detect.text import layouts
from pipeguard.firewall.protocol.json_values import Number
text_values.NATIVE = None
words = ["text", "api_key", "value", "name", "type", "2.0", "", "é中", "x" * 70, "a1"]
words += [" ID-7 ", "é" * 98 + "a1", "A" * 99 + "1", "y" * 601, "\\ud800"]
def value(depth):
    kind = dice.randrange(8 if depth else 4)
    if kind < 4:
        return dice.choice([None, True, Number("12"), Number("123456789"), *words])
    count = dice.choice([0, 1, 3, 20])
    if kind < 6:
        return [value(depth - 1) for _ in range(count)]
    return {dice.choice(words) + dice.choice(words[:-1]): value(depth - 1) for _ in range(count)}
def read(lay_out, *arguments, **named):
    try:
        return lay_out(*arguments, **named)
    except UnicodeEncodeError:
        return None
for number in range(TRIES):
    made = value(dice.randrange(4))
    for keyed in (False, True):
        ours = read(layouts.lay_out_in_python, made, keyed=keyed)
        assert ours == read(_layout.lay_out, made, keyed, layouts.READERS)
    ours = text_values.list_named_strings(made)
    text_values.NATIVE = _layout
    assert ours == text_values.list_named_strings(made)
    text_values.NATIVE = None
"""

WORDS = "the quick brown fox"


@pytest.mark.parametrize(
    "value",
    [
        [Number(ord(letter)) for letter in WORDS],
        [Number(f"{ord(letter)}.0") for letter in WORDS],
        [[Number(at), Number(ord(letter))] for at, letter in enumerate(WORDS)],
        [{"n": Number(ord(letter))} for letter in WORDS],
        [{"i": Number(at), "c": Number(ord(letter))} for at, letter in enumerate(WORDS)],
        [[Number(ord(letter)) for letter in WORDS[at : at + 5]] for at in range(0, 19, 5)],
    ],
    ids=["numbers", "fractions", "pairs", "members", "objects", "rows"],
)
def test_numbers_of_characters_are_a_text(value: JsonValue) -> None:
    assert WORDS in text_of_codes(value).split("\n")


def test_numbers_of_bytes_are_a_key_only_if_they_begin_as_one() -> None:
    key = bytes.fromhex("302e020100300506032b657004220420") + bytes(range(32))
    image = bytes.fromhex("30ff00aa") + key
    assert text_of_codes([Number(byte) for byte in key]) == key.hex()
    assert text_of_codes([Number(byte) for byte in image]) == ""
    assert text_of_codes([Number(byte * 9) for byte in key]) == ""


def test_a_key_is_located_wherever_it_is_and_so_is_a_value_from_a_fixed_list() -> None:
    paths = find_keys(VARIABLES)
    assert paths["name"] == ("env", 0, "name")
    assert paths["text"] == ("type",)
    assert "first" not in paths


@each(
    "word, expected",
    [*CASES["a_word_of_a_fixed_list_is_short_and_in_small_letters"], (Number("123"), False)],
)
def test_a_word_of_a_fixed_list_is_short_and_in_small_letters(word: str, expected: bool) -> None:
    assert is_listed(word) is expected
