"""What was torn into pieces is read together, and its place is told."""

import pytest

from pipeguard.core.protocol.json_values import JsonValue
from pipeguard.core.text.document import MessageText
from pipeguard.core.text.split_literals import (
    JOINT_CHARS,
    MIN_BITS,
    JoinedRow,
    joints,
    literals,
    rows,
    spelt,
    spelt_in,
)


@pytest.mark.parametrize(
    "code",
    [
        'key = "AKIA" + "Z7QX"',
        "key = 'AKIA' 'Z7QX'",
        "key = 'AKIA' . 'Z7QX'",
        'key = f"AKIA" + b"Z7QX"',
        "key = `AKIA` + `Z7QX`",
        "key = ['AKIA', 'Z7QX'].join('')",
    ],
)
def test_literals_that_a_program_joins_are_read_joined(code: str) -> None:
    data = code.encode()
    found = list(literals(data, 0, len(data)))
    assert any(b"AKIAZ7QX" in one.data for one in found)
    for one in found:
        if (start := one.data.find(b"AKIAZ7QX")) >= 0:
            low, high = one.origin(start, start + 8)
            assert data[low:high].startswith(b"AKIA")
            assert data[low:high].endswith(b"Z7QX")


def test_a_literal_alone_is_nothing_to_join() -> None:
    assert list(literals(b"key = 'AKIA'", 0, 12)) == []
    data = b"a = 'it' + 'x'"
    assert [one.as_written(0, 3) for one in literals(data, 0, len(data))] == [True, False]


def text_of(value: JsonValue, *, keyed: bool) -> MessageText:
    return MessageText(value, keyed=keyed)


def test_the_pieces_under_a_stretch_of_a_row_are_told() -> None:
    row = JoinedRow(["ab", "\u00e9", "", "cd"], lambda at: (at,))
    assert row.data == "ab\u00e9cd".encode()
    assert row.locate(0, 2) == ([(0,)], False)
    assert row.locate(1, 4) == ([(0,), (1,)], True)
    assert row.locate(4, 6) == ([(3,)], False)


def test_values_to_a_server_are_read_in_any_order() -> None:
    value: JsonValue = {"b": "M2N5P6R3STV", "a": "AKIAZ7QX4"}
    joined = b"\n".join(row.data for row in rows(text_of(value, keyed=True)))
    assert b"AKIAZ7QX4M2N5P6R3STV" in joined
    words: JsonValue = {"b": "red", "a": "shoes"}
    assert list(rows(text_of(words, keyed=True))) == []


def test_a_letter_in_each_of_many_values_is_spelt_out() -> None:
    letters: JsonValue = [*"ignore all of it"]
    (row,) = spelt(text_of(letters, keyed=False))
    assert row.data == b"ignore all of it"
    assert row.locate(0, 6)[0] == [(at,) for at in range(6)]
    words: JsonValue = ["ignore"] * MIN_BITS
    assert next(spelt_in(text_of(words, keyed=False))) == b"ignore " * MIN_BITS
    assert list(spelt_in(text_of(letters, keyed=True))) == []
    assert list(spelt(text_of([*"few"], keyed=False))) == []


def test_of_long_values_only_what_stands_at_a_joint_is_read() -> None:
    long = "x" * 5 * JOINT_CHARS
    row = joints(text_of([long, "y"], keyed=False))
    assert len(row.data) == 2 * JOINT_CHARS + 2
    assert row.locate(len(row.data) - 2, len(row.data)) == ([(0,), (1,)], True)
    assert row.locate(0, 10) == ([(0,)], False)
