"""A JSON value is written on one line, with its numbers as they were."""

import pytest
from hypothesis import given

from pipeguard.firewall.protocol.json_values import JsonValue, Number, serialise
from pipeguard.firewall.protocol.strict_json import parse_json
from tests.fuzz.budget import tried
from tests.fuzz.values import values


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
def test_a_value_is_written_with_its_digits_and_the_order_of_its_keys(
    value: JsonValue, written: bytes
) -> None:
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
