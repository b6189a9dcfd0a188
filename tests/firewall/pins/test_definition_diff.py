"""Differences of two definitions, and the text at each place."""

import json

import pytest

from pipeguard.firewall.pins.definition_diff import SchemaPlace, SchemaRole, differences, read
from pipeguard.firewall.protocol.json_values import ABSENT, JsonValue, Number

Places = list[tuple[str, object, object]]


def places(old: JsonValue, new: JsonValue) -> Places:
    found = differences(old, new)
    return [("/".join(one.path), one.old, one.new) for one in found]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"a": "x"}, {"a": "x"}, []),
        ({"a": "x"}, {"a": "y"}, [("a", "x", "y")]),
        ({"a": "x"}, {"b": "x"}, [("a", "x", ABSENT), ("b", ABSENT, "x")]),
        ({"a": ["x", "y"]}, {"a": ["x"]}, [("a", ["x", "y"], ["x"])]),
        (
            {"a": [{"b": "x"}]},
            {"a": [{"b": "y"}, "z"]},
            [("a/0/b", "x", "y"), ("a/1", ABSENT, "z")],
        ),
        ({"a": "1"}, {"a": Number("1")}, [("a", "1", "1")]),
        ({"a": {"b": "x"}}, {}, [("a", {"b": "x"}, ABSENT)]),
        ({"inputSchema": {"b": "x"}}, {}, [("inputSchema/b", "x", ABSENT)]),
        ({}, {"_meta": {"b": "x"}}, [("_meta/b", ABSENT, "x")]),
    ],
)
def test_each_place_that_differs_is_told_once(
    old: JsonValue, new: JsonValue, expected: Places
) -> None:
    assert places(old, new) == expected


def test_instructions_and_other_values_are_read_as_one_member() -> None:
    assert read('"Be kind."') == {"instructions": "Be kind."}
    assert read("[1]") == {"value": [Number("1")]}


def test_the_arguments_of_a_prompt_are_read_as_a_schema() -> None:
    arguments = [{"name": "a", "description": "x", "required": True}, {"name": "b"}]
    text = json.dumps({"name": "p", "arguments": arguments})
    assert read(text)["arguments"] == {
        "properties": {"a": {"description": "x"}, "b": {}},
        "required": ["a"],
    }
    twice = json.dumps({"arguments": [{"name": "a"}, {"name": "a"}]})
    assert read(twice)["arguments"] == [{"name": "a"}, {"name": "a"}]


def test_the_files_of_a_skill_are_read_by_their_addresses() -> None:
    assert read('{"resources": [{"uri": "a"}]}') == {"resources": {"a": {"uri": "a"}}}
    assert read('{"resources": [1, 2]}') == {"resources": [Number("1"), Number("2")]}


@pytest.mark.parametrize(
    ("path", "role", "label", "keyword"),
    [
        ("", SchemaRole.SUBSCHEMA, "", ""),
        ("properties/note", SchemaRole.PARAMETER, "note", "properties"),
        ("properties/properties", SchemaRole.PARAMETER, "properties", "properties"),
        ("properties/a/properties/b/enum", SchemaRole.KEYWORD, "a.b", "enum"),
        ("properties/a/items/properties/x", SchemaRole.PARAMETER, "a[].x", "properties"),
        ("anyOf/0/const", SchemaRole.KEYWORD, "anyOf[0]", "const"),
        ("$defs/point", SchemaRole.SUBSCHEMA, "$defs.point", "$defs"),
        (
            "additionalProperties",
            SchemaRole.SUBSCHEMA,
            "additionalProperties",
            "additionalProperties",
        ),
        ("properties", SchemaRole.KEYWORD, "", "properties"),
    ],
)
def test_a_path_of_a_schema_is_read(path: str, role: SchemaRole, label: str, keyword: str) -> None:
    place = SchemaPlace()
    for key in filter(None, path.split("/")):
        place = place.enter(key, ABSENT, ABSENT)
    assert (place.role, place.label, place.keyword) == (role, label, keyword)
