"""Commands that other commands run."""

from itertools import pairwise

from pipeguard.detect.commands.nested_commands import (
    MAX_ACTIONS,
    MAX_LINE,
    MAX_ROOTS,
    OVERLAP,
    NestedKind,
    find_nested,
    pipeline_lines,
    text_lines,
)
from pipeguard.detect.commands.shell_command import ScriptBudget
from tests.detect.cases import read_cases
from tests.each import each

CASES = read_cases(__file__)


def nested(*words: str) -> list[tuple[NestedKind, str]]:
    entries = find_nested(words[0], list(words), ScriptBudget())
    return [(entry.kind, entry.text or " ".join(entry.words)) for entry in entries]


@each("line, kind, text", CASES["a_script_a_program_or_a_statement_in_an_argument"])
def test_a_script_a_program_or_a_statement_in_an_argument(line: str, kind: str, text: str) -> None:
    assert nested(*line.split()) == [(NestedKind[kind], text)]


def test_a_statement_for_a_client_is_one_argument() -> None:
    statement = "drop table a"
    for words in (("psql", "-c", statement), ("sqlite3", "f.db", statement)):
        assert nested(*words) == [(NestedKind.SQL, f"SQL {statement}")]


@each("line", ["ls -l", "ssh h", "python3 a.py x", "grep python3 -c"])
def test_other_arguments_are_not_run(line: str) -> None:
    assert nested(*line.split()) == []


def test_find_does_it_with_whole_folders() -> None:
    assert nested("find", "/", "-delete") == [(NestedKind.REMOVAL, "/")]
    assert nested("find", "-delete") == [(NestedKind.REMOVAL, ".")]
    assert nested("find", "/a", "/b", "-type", "f", "-exec", "rm", "{}", ";", "-print") == [
        (NestedKind.COMMAND, "rm -r /a"),
        (NestedKind.COMMAND, "rm -r /b"),
    ]


def test_find_that_is_narrowed_does_it_with_some_files() -> None:
    assert nested("find", "/", "-name", "*.tmp", "-delete") == []
    assert nested("find", "/", "-name", "*.tmp", "-exec", "rm", "{}", "+") == [
        (NestedKind.COMMAND, "rm {}")
    ]


def test_find_has_only_so_many_folders_and_actions() -> None:
    folders = [f"/{number}" for number in range(2 * MAX_ROOTS)]
    assert len(nested("find", *folders, "-delete")) == MAX_ROOTS
    budget = ScriptBudget()
    words = ["find", "/", *["-delete"] * (MAX_ACTIONS + 1)]
    assert list(find_nested("find", words, budget)) == []
    assert budget.is_exceeded


# --- pipelines as lines ------------------------------------------------------------------------


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
