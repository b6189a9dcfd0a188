"""The effects of a script, a list of words or a program, one a line."""

from functools import partial

from pipeguard.detect.commands import interpret
from pipeguard.detect.commands.shell_command import MAX_STEPS, ScriptBudget
from tests.detect.cases import read_cases
from tests.each import each

CASES = read_cases(__file__)


@each("text", CASES["one_removal_in_many_words"])
def test_one_removal_in_many_words(text: str) -> None:
    assert "$ rm -r /" in interpret.command_lines(text)


@each("text", CASES["what_is_only_mentioned_is_not_done"])
def test_what_is_only_mentioned_is_not_done(text: str) -> None:
    assert "$ rm -r /" not in interpret.command_lines(text)


def test_words_of_a_list_are_one_command() -> None:
    lines = partial(interpret.argument_lines, budget=ScriptBudget())
    assert "$ rm -r /etc" in lines(["sudo", "rm", "-rf", "/etc"])
    assert "$ rm -r ~" in lines(["sh", "-c", "rm -rf ~"])
    assert "$ rm -r /" not in lines(["echo", "rm -rf /"])


@each("text, line", CASES["what_else_a_command_does"])
def test_what_else_a_command_does(text: str, line: str) -> None:
    assert line in interpret.command_lines(text)


@each("text", CASES["a_command_whose_letters_are_together_is_made_of_nothing"])
def test_a_command_whose_letters_are_together_is_made_of_nothing(text: str) -> None:
    assert not [line for line in interpret.command_lines(text) if line.startswith("MADE")]


def test_code_that_calls_a_shell() -> None:
    for text in ("subprocess.run(['rm', '-rf', '/'])", "child_process.execSync('rm -rf /')"):
        assert "$ rm -r /" in interpret.code_lines(text, budget=ScriptBudget())


def test_a_script_that_costs_more_than_is_left_is_cut_and_says_so() -> None:
    budget = ScriptBudget()
    budget.steps = 10
    assert "$ rm -r /" not in interpret.command_lines("ls; " * 100 + "rm -rf /", budget=budget)
    assert budget.is_exceeded


# --- programs in other languages ---------------------------------------------------------------


@each("text, call", CASES["a_call_of_a_shell_is_its_script_or_its_words"])
def test_a_call_of_a_shell_is_its_script_or_its_words(text: str, call: str | list[str]) -> None:
    assert list(interpret.shell_calls(text)) == [call]


def test_another_call_is_none() -> None:
    assert list(interpret.shell_calls("print('rm -rf /'); f(['a'])")) == []


@each("text, line", CASES["a_file_is_read_or_written"])
def test_a_file_is_read_or_written(text: str, line: str) -> None:
    assert list(interpret.opened_file_lines(text)) == [line]


def test_a_name_without_a_folder_is_no_path() -> None:
    assert list(interpret.opened_file_lines("open('notes.txt')")) == []


def test_a_budget_is_spent_once_and_for_all() -> None:
    budget = ScriptBudget()
    budget.steps = 3
    assert [budget.spend(2), budget.spend(2), budget.spend()] == [True, False, False]
    assert budget.is_exceeded


def test_a_longer_script_may_cost_more() -> None:
    budget = ScriptBudget(100)
    assert budget.spend(MAX_STEPS + 100)
    assert not budget.is_exceeded
    assert not budget.spend()


def test_paths_do_not_grow_with_each_folder() -> None:
    for times, path in ((3, "a/a/a/x"), (9000, "a/" * 511)):
        removed = interpret.command_lines("cd a;" * times + "rm x")[-1]
        assert removed.startswith(f"$ rm {path}")
        assert len(removed) < 1100
