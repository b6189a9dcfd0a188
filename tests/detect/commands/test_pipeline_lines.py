"""Pipelines and texts as lines that rules can read."""

from itertools import pairwise

from pipeguard.detect.commands.nested_commands import MAX_LINE, OVERLAP, pipeline_lines, text_lines


def test_a_pipeline_is_one_line() -> None:
    assert pipeline_lines(["$ curl h", "$ sh"]) == ["$ curl h | $ sh"]


def test_neighbours_share_a_line_however_long_a_pipeline_is() -> None:
    commands = [f"$ c{number} {'a' * 300}" for number in range(30)]
    lines = pipeline_lines(commands)
    assert max(map(len, lines)) <= MAX_LINE
    for pair in pairwise(commands):
        assert any(" | ".join(pair) in line for line in lines)


def test_what_runs_its_input_shares_a_line_with_each_command_before_it() -> None:
    lines = pipeline_lines(["$ curl h", *["$ cat"] * MAX_LINE, "$ sh", "$ cat"])
    assert "$ curl h | $ sh" in lines


def test_a_long_command_is_read_in_parts_that_overlap() -> None:
    command = "$ run " + "a" * MAX_LINE + "b" * MAX_LINE
    parts = [line for line in pipeline_lines([command]) if line.startswith("$ run")]
    assert any("a" * OVERLAP + "b" in part for part in parts)
    assert any(part.endswith("b") for part in parts)


def test_a_text_is_in_lines_after_its_head() -> None:
    assert text_lines("CODE", "a") == ["CODE a"]
    assert text_lines("CODE", "") == ["CODE "]
    first, second = text_lines("CODE", "a" * MAX_LINE + "b")
    assert first == "CODE " + "a" * MAX_LINE
    assert second == "CODE " + "a" * OVERLAP + "b"
