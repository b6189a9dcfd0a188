"""What an argument is for, by the names of it and of its tool."""

import pytest

from pipeguard.core.commands.argument_roles import ArgumentRole, is_of_database, role


@pytest.mark.parametrize("tool", ["neo4j", "run-neo4j", "neo4jRead"])
def test_a_database_is_known_whose_name_has_a_digit_in_it(tool: str) -> None:
    assert is_of_database(tool)
    assert role(tool, ("query",)) is ArgumentRole.STATEMENT
