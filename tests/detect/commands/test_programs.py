"""Programs of a command line and their arguments: which runs which, and on which files."""

import pytest

from pipeguard.detect.commands import programs
from pipeguard.detect.commands.shell_command import GAP
from tests.detect.cases import read_cases
from tests.each import each

CASES = read_cases(__file__)


def test_paths_without_detours() -> None:
    paths = "/./a//b/", "./a", "/*", "~/.*", "a/b/..", "/..", "/"
    assert [*map(programs.tidy_path, paths)] == ["/a/b", "a", "/", "~", "a", "/", "/"]


@each("words, name", CASES["a_program_has_a_name_without_its_folder"])
def test_a_program_has_a_name_without_its_folder(words: str, name: str) -> None:
    assert programs.program_name(words) == name


@each("line, left, of_input", CASES["what_only_runs_a_command_is_taken_away"])
def test_what_only_runs_a_command_is_taken_away(line: str, left: str, of_input: bool) -> None:
    assert programs.unwrap_command(line.split()) == (left.split(), of_input)


def test_a_trap_is_the_script_that_it_sets() -> None:
    assert programs.unwrap_command(["trap", "rm -rf /", "EXIT"])[0] == ["sh", "-c", "rm -rf /"]


@each("line, valued, left", CASES["options_end_where_an_operand_or_two_dashes_stand"])
def test_options_end_where_an_operand_or_two_dashes_stand(
    line: str, valued: str, left: str
) -> None:
    assert programs.skip_options(line.split(), valued) == left.split()


def test_operands_stand_behind_options() -> None:
    words = ["-p", "22", "-v", "host", "cat", "/etc/passwd"]
    assert programs.find_operands(words, "p") == ["host", "cat", "/etc/passwd"]


def test_a_key_to_log_in_with_and_what_is_left_out_are_no_operands() -> None:
    words = ["-i", "key", "-P", "22", "a.txt", "h:/b"]
    assert [*programs.find_files("scp", words)] == words[-2:]
    assert [*programs.find_files("rsync", ["--exclude", "--exclude", "-P", "a"])] == ["a"]


@each("words, script", CASES["a_script_stands_behind_its_option"])
def test_a_script_stands_behind_its_option(words: list[str], script: str) -> None:
    assert programs.find_script(words) == script


def test_each_value_of_an_option_is_acted_on() -> None:
    words = ["psql", "-c", "one", "--command=two", "-c"]
    assert list(programs.option_values(words, ("-c", "--command"))) == ["one", "two"]


@pytest.mark.parametrize(
    ("pattern", "file"),
    [("/etc/pass?d", "/etc/passwd"), ("/b?n/[s]h", "/bin/sh"), ("/tmp/*", "/tmp/*"), ("a?", "a?")],
)
def test_a_pattern_is_the_file_that_it_was_written_for(pattern: str, file: str) -> None:
    assert programs.match_file(pattern) == file


def test_a_word_has_no_space_inside_on_a_line_of_words() -> None:
    assert programs.fill_blanks("a b\tc") == f"a{GAP}b{GAP}c"
    assert programs.fill_blanks("ab") == "ab"


def test_shells_and_interpreters_run_what_they_are_given() -> None:
    assert all(map(programs.is_inner, ("bash", "/usr/bin/python3.11", "perl")))
    assert not programs.is_inner("ls")
