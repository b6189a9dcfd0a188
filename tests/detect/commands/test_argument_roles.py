"""The role of an argument, by its name and by that of its tool."""

import pytest

from pipeguard.detect.commands.argument_roles import (
    ArgumentRole,
    called_tool,
    is_of_database,
    is_shell,
    path_signs,
    role,
    writes_file,
)
from pipeguard.firewall.protocol.json_values import JsonValue
from tests.detect.cases import read_cases
from tests.each import each

CASES = read_cases(__file__)


@each("tool, path, expected", CASES["what_an_argument_is_for"])
def test_what_an_argument_is_for(tool: str | None, path: list[str | int], expected: str) -> None:
    assert role(tool, tuple(path)) is ArgumentRole[expected]


def test_which_tools_write() -> None:
    assert path_signs("write_file", "path") == (">",)
    assert path_signs("x", "destination") == (">",)
    assert path_signs("read_file", "path") == ("<",)
    assert path_signs("copy_file", "source") == ("<",)
    assert path_signs("move_file", "source") == ("<", "OFF")


@each("tool", ["create_item", "look_up"])
def test_a_nested_value_is_one_whatever_the_names_of_its_tool_and_its_object(tool: str) -> None:
    assert role(tool, ("fields", "colour")) is ArgumentRole.VALUE
    assert role(tool, ("data", 3, "x")) is ArgumentRole.VALUE
    assert role(tool, ("fields", "text")) is ArgumentRole.WRITTEN
    assert role("run", ("a", "command")) is ArgumentRole.COMMAND


def test_tools_are_told_by_words_of_their_names() -> None:
    assert all(map(is_shell, ("bash", "runShell")))
    assert not any(map(is_shell, ("web_search", None)))
    assert is_of_database("pg_query")
    assert not any(map(is_of_database, ("SQLite", "fetch", None)))


def test_a_file_is_written_by_a_tool_of_files_or_by_an_argument_for_a_path() -> None:
    assert writes_file("edit_file", [])
    assert writes_file("x", ["filePath"])
    assert not writes_file("x", ["colour"])


@each("value, tool", CASES["the_tool_of_a_call_is_its_name"])
def test_the_tool_of_a_call_is_its_name(value: JsonValue, tool: str | None) -> None:
    assert called_tool(value) == tool


@pytest.mark.parametrize("tool", ["neo4j", "run-neo4j", "neo4jRead"])
def test_a_database_is_known_whose_name_has_a_digit_in_it(tool: str) -> None:
    assert is_of_database(tool)
    assert role(tool, ("query",)) is ArgumentRole.STATEMENT
