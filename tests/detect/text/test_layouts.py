"""Each layout has its strings in one order, whether they are collected or located."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.text.layouts import (
    Member,
    collect_members,
    collect_values,
    find_keys,
    is_listed,
    locate_members,
    locate_values,
    text_of_codes,
)
from pipeguard.firewall.protocol.json_values import JsonValue, Number
from pipeguard.firewall.protocol.places import FIXED_VALUE_KEYS
from tests.fuzz.budget import tried
from tests.fuzz.values import texts, tokens

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


def keyed(value: JsonValue) -> tuple[list[Member], list[str], list[str]]:
    members: list[Member] = []
    joined: list[str] = []
    names: dict[str, None] = {}
    collect_members(value, members, joined, names)
    return members, joined, [*names]


def unkeyed(value: JsonValue) -> tuple[list[str], list[str], list[str]]:
    plain: list[str] = []
    named: list[str] = []
    names: dict[str, None] = {}
    collect_values(value, plain, named, names)
    return plain, named, [*names]


def test_the_keyed_layout_has_each_member_and_a_short_number_as_an_empty_string() -> None:
    members, joined, names = keyed(VARIABLES)
    assert members[:4] == [("type", "text"), ("note", "first"), ("env", ""), ("name", "API_KEY")]
    assert members[-2:] == [("card", "4111111111111111"), ("count", "")]
    assert joined == ["first", "API_KEY", "abc", "COLOUR", "red", "4111111111111111"]
    assert names == ["type", "note", "env", "name", "value", "card", "count"]


def test_the_unkeyed_layout_repeats_what_has_a_sensitive_key() -> None:
    plain, named, names = unkeyed(VARIABLES)
    assert plain == ["first", "API_KEY", "abc", "COLOUR", "red", "4111111111111111"]
    assert named == ["API_KEY: abc", "card: 4111111111111111"]
    assert names == ["type", "text", "note", "env", "name", "value", "card", "count"]


@tried(200)
@given(values)
def test_strings_are_located_in_the_order_in_which_they_are_collected(value: JsonValue) -> None:
    members, _, _ = keyed(value)
    assert [string for _, _, string in locate_members(value)] == [string for _, string in members]
    plain, named, _ = unkeyed(value)
    located = [*locate_values(value)]
    assert [string for _, _, string in located[: len(plain)]] == plain
    assert len(located) == len(plain) + len(named)
    for (_, skipped, string), line in zip(located[len(plain) :], named, strict=True):
        assert line[skipped - 2 : skipped] == ": "
        assert line[skipped:] == string


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


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("text", True),
        ("image/png", True),
        ("2.0", True),
        ("", False),
        ("AKIAZ7QX4", False),
        ("a-word-that-is-long", False),
        (Number("123"), False),
    ],
)
def test_a_word_of_a_fixed_list_is_short_and_in_small_letters(word: str, expected: bool) -> None:
    assert is_listed(word) is expected
