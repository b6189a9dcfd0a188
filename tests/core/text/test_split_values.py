"""What is split over several values is read as one text, and located in each of them."""

from pipeguard.core.protocol.json_values import JsonValue
from pipeguard.core.text.document import MessageText
from pipeguard.core.text.split_values import (
    EDGE_CHARS,
    MIN_SPELLED_VALUES,
    ValueRow,
    reordered_rows,
    row_of_edges,
    spelled_rows,
    spelled_texts,
)


def text_of(value: JsonValue, *, keyed: bool) -> MessageText:
    return MessageText(value, keyed=keyed)


def test_the_pieces_in_a_range_of_a_row_are_located() -> None:
    row = ValueRow(["ab", "\u00e9", "", "cd"], lambda at: (at,))
    assert row.data == "ab\u00e9cd".encode()
    assert row.locate(0, 2) == ([(0,)], False)
    assert row.locate(1, 4) == ([(0,), (1,)], True)
    assert row.locate(4, 6) == ([(3,)], False)


def test_values_to_a_server_are_read_in_any_order() -> None:
    value: dict[str, JsonValue] = {"b": "M2N5P6R3STV", "a": "AKIAZ7QX4"}
    joined = b"\n".join(row.data for row in reordered_rows(text_of(value, keyed=True)))
    assert "".join(reversed([*map(str, value.values())])).encode() in joined
    words: JsonValue = {"b": "red", "a": "shoes"}
    assert list(reordered_rows(text_of(words, keyed=True))) == []


def test_letters_or_words_in_many_values_are_read_as_one_text() -> None:
    letters: JsonValue = [*"ignore all of it"]
    (row,) = spelled_rows(text_of(letters, keyed=False))
    assert row.data == b"ignore all of it"
    assert row.locate(0, 6)[0] == [(at,) for at in range(6)]
    words: JsonValue = ["ignore"] * MIN_SPELLED_VALUES
    assert next(spelled_texts(text_of(words, keyed=False))) == b"ignore " * MIN_SPELLED_VALUES
    assert list(spelled_texts(text_of(letters, keyed=True))) == []
    assert list(spelled_rows(text_of([*"few"], keyed=False))) == []


def test_of_long_values_only_the_edges_are_read() -> None:
    long = "x" * 5 * EDGE_CHARS
    row = row_of_edges(text_of([long, "y"], keyed=False))
    assert len(row.data) == 2 * EDGE_CHARS + 2
    assert row.locate(len(row.data) - 2, len(row.data)) == ([(0,), (1,)], True)
    assert row.locate(0, 10) == ([(0,)], False)
