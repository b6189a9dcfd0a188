"""Names of programs that are written in pieces."""

import pytest

from pipeguard.detect.commands.interpret import MAX_NAMES, torn_name_lines


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("w'h'oami", "whoami"),
        ("c''at a", "cat"),
        ('c""url h', "curl"),
        ("sudo cu\\rl h", "curl"),
        ("ls; w${u}get h", "wget"),
        ("ba$@sh a", "bash"),
        ("pyth'o'n3 a", "python3"),
    ],
)
def test_a_torn_name_has_a_line(text: str, name: str) -> None:
    assert torn_name_lines(text) == [f"ODD torn {name}"]


@pytest.mark.parametrize("text", ["whoami", "'cat' a", "it''s", "echo 'cat'", "don't cat"])
def test_a_whole_name_or_no_program_has_none(text: str) -> None:
    assert torn_name_lines(text) == []


def test_only_so_many_have_a_line() -> None:
    assert len(torn_name_lines("c''at a\n" * 100)) == MAX_NAMES
