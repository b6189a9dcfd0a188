"""A JSON value is written on one line, with its numbers as they were."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeguard.firewall.protocol import json_values
from pipeguard.firewall.protocol.json_values import (
    MOST_BYTES,
    JsonValue,
    Number,
    serialise,
    serialise_short,
    write_text,
)
from pipeguard.firewall.protocol.strict_json import MAX_DEPTH, parse_json
from tests.fuzz.budget import tried
from tests.fuzz.values import long_texts, values


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, b"null"),
        (True, b"true"),
        (False, b"false"),
        (Number("1.50e+3"), b"1.50e+3"),
        ("1", b'"1"'),
        ([], b"[]"),
        ({}, b"{}"),
        ([None, [Number("1")]], b"[null,[1]]"),
        ({"b": "x", "a": {}}, b'{"b":"x","a":{}}'),
        ('"\\\n', rb'"\"\\\n"'),
    ],
)
def test_a_value_keeps_its_digits_and_the_keys_order(value: JsonValue, written: bytes) -> None:
    assert serialise(value) == written


@pytest.mark.parametrize("end", ["\x85", "\u2028", "\u2029"])
def test_what_some_readers_take_for_the_end_of_a_line_is_escaped(end: str) -> None:
    assert serialise({"a": end}) == f'{{"a":"\\u{ord(end):04x}"}}'.encode()


@tried(200)
@given(values)
def test_what_is_written_is_one_line_and_reads_again(value: JsonValue) -> None:
    written = serialise(value)
    assert len(written.decode().splitlines()) == 1
    assert parse_json(written) == value
    assert serialise(parse_json(written)) == written


@tried(500)
@given(values | st.dictionaries(long_texts, long_texts), st.integers(0, 200))
@example("".join(map(chr, range(0x800))), 0)
@example("\u2027\u2028\u2029\u202a\u2128\x84\x85\x86\xc2\xe2\U00010085", 0)
def test_both_forms_write_the_same(value: JsonValue, most_bytes: int) -> None:
    written = write_text(value)
    assert serialise_short(value, MOST_BYTES) == written
    assert serialise_short(value, len(written)) == written
    assert serialise_short(value, len(written) - 1) is None
    assert serialise_short(value, most_bytes) == (written if len(written) <= most_bytes else None)


@pytest.mark.parametrize("is_list", [True, False])
def test_the_form_in_c_writes_no_deeper_than_frames_are_read(*, is_list: bool) -> None:
    value: JsonValue = None
    for _ in range(MAX_DEPTH):
        value = [value] if is_list else {"a": value}
    assert serialise_short(value, MOST_BYTES) == write_text(value)
    assert serialise_short([value], MOST_BYTES) is None
    assert serialise([value]) == b"[" + write_text(value) + b"]"


@pytest.mark.parametrize("is_key", [True, False])
def test_half_a_character_is_not_written(*, is_key: bool) -> None:
    with pytest.raises(UnicodeEncodeError):
        serialise({"\ud800": None} if is_key else ["\ud800"])


def test_without_the_form_in_c_the_same_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = serialise({"a": [Number("1"), "\x85\n"]})
    monkeypatch.setattr(json_values, "NATIVE", None)
    assert serialise({"a": [Number("1"), "\x85\n"]}) == expected
