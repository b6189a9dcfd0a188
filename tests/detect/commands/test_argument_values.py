"""Values that are not commands, with commands smuggled into them."""

import pytest

from pipeguard.detect.commands.argument_values import (
    MAX_VALUE,
    MAX_VALUE_LINES,
    fold_value,
    injects_command,
    read_options,
    read_value,
)
from pipeguard.detect.commands.shell_command import ScriptBudget
from tests.detect.cases import read_cases
from tests.each import each

CASES = read_cases(__file__)


def lines(value: str, *, tool: str | None = None, key: str = "name") -> list[str]:
    return read_value(tool, key, value, ScriptBudget())


@each("value, key, expected", CASES["what_is_smuggled_into_a_value"])
def test_what_is_smuggled_into_a_value(value: str, key: str, expected: str) -> None:
    assert expected in lines(value, key=key)


def test_a_statement_is_one_only_in_a_database() -> None:
    statement = "drop table a;"
    assert lines(statement, tool="query_database") == ["SQL drop table a"]
    assert lines(statement) == ["VAL drop table a;"]


@pytest.mark.parametrize("value", ["", "Oslo", "Rock & Roll", "-5"])
def test_an_ordinary_value_does_nothing(value: str) -> None:
    assert lines(value) == []


def test_a_condition_is_no_part_of_a_statement() -> None:
    assert lines("status = 'open'", key="jql") == []


def test_a_long_value_is_read_part_by_part() -> None:
    assert "$ rm -r /" in lines("a " * 2 * MAX_VALUE + "; rm -rf /")
    assert "OUT or 1=1" in lines("a ''" * MAX_VALUE + "' or 1=1")
    assert "OUT or 1=1" in lines(";" * 100 + " a" * MAX_VALUE + "' or 1=1")
    assert lines("\n".join("a " * MAX_VALUE for _ in range(MAX_VALUE_LINES + 2))) == []
    assert lines("a" * 2 * MAX_VALUE) == []


def test_a_list_of_options_has_options() -> None:
    assert read_options("args", "--flag") == []
    assert read_options("name", "-") == []


def test_look_alikes_are_plain_letters() -> None:
    assert fold_value("\uff52\uff4d") == "rm"
    assert fold_value("rm") == "rm"


@each("value, expected", CASES["words_of_look_alikes_in_a_command"])
def test_words_of_look_alikes_in_a_command(value: str, expected: str) -> None:
    assert fold_value(value) == expected


# --- values that go on as a command ------------------------------------------------------------


@each("value", CASES["a_command_behind_a_value"])
def test_a_command_behind_a_value(value: str) -> None:
    assert injects_command(value)


@each("value", CASES["prose_and_tables_are_none"])
def test_prose_and_tables_are_none(value: str) -> None:
    assert not injects_command(value)
