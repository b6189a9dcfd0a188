"""Mistakes of models in a tool's name and arguments, and their interpretation."""

import pytest

from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.gateway.tool_calls import _UnclearCallError, find_arguments, find_name
from pipeguard.gateway.tools import CatalogTool, Effect

SCHEMA: JsonObject = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "head": {"type": "integer"}},
    "required": ["path"],
}
READ = CatalogTool(
    0, "files__read", "files", "read", {"name": "read", "inputSchema": SCHEMA}, Effect.READ
)
NAMED = READ._replace(
    definition={"name": "read", "inputSchema": {"properties": {"name": {}, "input": {}}}}
)
NAME: JsonObject = {"name": "files__read"}
PATH: JsonObject = {"path": "a"}


@pytest.mark.parametrize("key", ["name", "tool", "tool_name"])
def test_a_tool_is_named_under_several_keys(key: str) -> None:
    assert find_name({key: "files__read"}) == "files__read"


def test_one_name_twice_is_one_and_two_names_are_unclear() -> None:
    assert find_name({"name": "a", "tool": "a"}) == "a"
    assert find_name({"name": True, "arguments": {}}) == ""
    with pytest.raises(_UnclearCallError, match="several tools: a, b"):
        find_name({"name": "b", "tool": "a"})


@pytest.mark.parametrize(
    "call",
    [
        {"arguments": PATH},
        {"arguments": '{"path": "a"}'},
        {"args": PATH},
        {"parameters": '{"path": "a"}'},
        {"tool_input": PATH},
        PATH,
    ],
)
def test_what_can_be_meant_in_one_way_is_accepted(call: JsonObject) -> None:
    assert find_arguments({**NAME, **call}, READ) == {"path": "a"}


@pytest.mark.parametrize("call", [{}, {"arguments": None}, {"arguments": ""}, {"arguments": "{}"}])
def test_no_arguments_are_none(call: JsonObject) -> None:
    assert find_arguments({**NAME, **call}, READ) == {}


@pytest.mark.parametrize(
    ("call", "why"),
    [
        ({"arguments": "a"}, "not one of a JSON object"),
        ({"arguments": '{"path": "a", "path": "b"}'}, "not one of a JSON object"),
        ({"arguments": "[1]"}, "is not a JSON object"),
        ({"arguments": [1]}, "is not a JSON object"),
        ({"arguments": {}, "path": "a"}, "'path' beside 'arguments'"),
        ({"file": "a"}, "'file' in place of 'arguments'"),
        ({"args": {}, "path": "a"}, "'args' in place of 'arguments'"),
    ],
)
def test_what_cannot_be_told_is_refused(call: JsonObject, why: str) -> None:
    with pytest.raises(_UnclearCallError, match=why):
        find_arguments({**NAME, **call}, READ)


def test_a_parameter_is_taken_for_the_parameter() -> None:
    assert find_arguments({"tool": "files__read", "input": "x"}, NAMED) == {"input": "x"}
    with pytest.raises(_UnclearCallError, match="'input' must be in 'arguments'"):
        find_arguments({"name": "files__read", "input": "x"}, NAMED)
