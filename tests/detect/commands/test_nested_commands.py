"""Commands that other commands run."""

from pipeguard.detect.commands.nested_commands import (
    MAX_LINE,
    OVERLAP,
    NestedKind,
    find_nested,
    text_lines,
)
from tests.detect.cases import read_cases
from tests.each import each

CASES = read_cases(__file__)


def nested(*words: str) -> list[tuple[NestedKind, str]]:
    entries = find_nested(words[0], list(words))
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


def test_find_runs_each_of_its_actions() -> None:
    words = ["find", "/", "-exec", "rm", "{}", "+", "-okdir", "ls", ";", "-exec", "id"]
    commands = ["rm {}", "ls", "id"]
    assert nested(*words) == [(NestedKind.COMMAND, command) for command in commands]


def test_a_text_is_in_lines_after_its_head() -> None:
    assert text_lines("CODE", "a") == ["CODE a"]
    assert text_lines("CODE", "") == ["CODE "]
    first, second = text_lines("CODE", "a" * MAX_LINE + "b")
    assert first == "CODE " + "a" * MAX_LINE
    assert second == "CODE " + "a" * OVERLAP + "b"
