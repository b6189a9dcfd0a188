"""Walks of JSON values: each value once, at its path, in the order in which it is written."""

from hypothesis import given

from pipeguard.firewall.protocol.json_values import (
    JsonValue,
    Number,
    serialise,
    walk_strings,
    walk_texts,
    walk_values,
    with_strings,
)
from pipeguard.firewall.protocol.places import get_value
from pipeguard.firewall.protocol.strict_json import parse_json
from tests.each import some
from tests.fuzz.budget import tried
from tests.fuzz.values import equal, values

NESTED: JsonValue = {"a": ["x", {"b": "y", "c": Number("1")}, []], "d": None, "": "z"}


def test_each_value_comes_with_its_path_before_its_members() -> None:
    assert [path for path, _ in walk_values(NESTED)] == [
        (),
        ("a",),
        ("a", 0),
        ("a", 1),
        ("a", 1, "b"),
        ("a", 1, "c"),
        ("a", 2),
        ("d",),
        ("",),
    ]


def test_a_number_and_a_key_are_not_strings() -> None:
    assert list(walk_strings(NESTED)) == [(("a", 0), "x"), (("a", 1, "b"), "y"), (("",), "z")]
    assert list(walk_strings("x")) == [((), "x")]
    assert list(walk_strings(Number("1"))) == []


def test_a_key_comes_before_what_it_names() -> None:
    assert list(walk_texts(NESTED)) == ["a", "x", "b", "y", "c", "d", "", "z"]


@tried(100)
@given(values)
def test_every_value_is_at_its_path(value: JsonValue) -> None:
    for path, item in some(walk_values(value)):
        assert get_value(value, path) is item


@tried(100)
@given(values)
def test_strings_alone_change(value: JsonValue) -> None:
    assert equal(with_strings(value, lambda text: text), value)
    emptied = with_strings(parse_json(serialise(value)), lambda _: "")
    assert all(text == "" for _, text in walk_strings(emptied))
    assert len(list(walk_values(emptied))) == len(list(walk_values(value)))
