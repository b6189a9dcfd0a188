"""Words of a shell as the shell would see them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.commands.posix_shell import MAX_DEPTH, Shell, WordReader
from pipeguard.detect.commands.shell_command import Pipeline, ScriptBudget
from pipeguard.detect.commands.word_expansion import MAX_WORDS
from tests.detect.cases import read_cases
from tests.each import each
from tests.fuzz.budget import tried

CASES = read_cases(__file__)


def read(script: str) -> list[list[list[str]]]:
    """Return the words of each command of each pipeline."""
    pipelines = Shell(lambda _: None, ScriptBudget()).pipelines(script)
    return [[command.words for command in pipeline] for pipeline in pipelines]


def words(script: str) -> list[str]:
    ((command,),) = read(script)
    return command


@each("script, expected", CASES["what_the_script_sets_is_put_in_its_place"])
def test_what_the_script_sets_is_put_in_its_place(script: str, expected: list[str]) -> None:
    assert read(script)[-1][-1] == expected


def test_commands_end_at_operators_and_pipelines_at_others() -> None:
    assert read("a | b && c; d\ne & f || g") == [
        *([["a"], ["b"]], [["c"]], [["d"]], [["e"]], [["f"]], [["g"]])
    ]
    assert read("a ';' b '|' c") == [[["a", ";", "b", "|", "c"]]]


def test_what_is_in_a_group_comes_out_of_it() -> None:
    assert read("(a; b) | c")[-1][-1] == ["c"]
    assert [["a"], ["b"], ["c"]] in read("(a; b) | c")


def test_redirects_and_here_documents_are_no_words() -> None:
    ((command,),) = Shell(lambda _: None, ScriptBudget()).pipelines("a b > c 2>/dev/null < d\n")
    assert command.words == ["a", "b"]
    assert command.redirects == [(">", "c"), ("<", "d")]
    (first,), (second,) = Shell(lambda _: None, ScriptBudget()).pipelines("cat <<E\nx; y\nE\nz")
    assert (first.words, first.stdin) == (["cat"], "x; y")
    assert second.words == ["z"]
    (((here),),) = Shell(lambda _: None, ScriptBudget()).pipelines("sh <<< 'x y'")
    assert here.stdin == "x y"


def test_what_only_the_machine_knows_stays_as_it_is_written() -> None:
    assert words("echo $(date)")[1].startswith("$(")
    assert "NAME" in words("echo $NAME")[1]


def test_each_script_in_a_substitution_is_reported() -> None:
    seen: list[Pipeline] = []
    Shell(seen.extend, ScriptBudget()).pipelines("echo $(curl x | sh) `rm y`")
    assert [command.words for pipeline in seen for command in pipeline] == [
        *(["curl", "x"], ["sh"], ["rm", "y"])
    ]


def test_only_so_many_scripts_stand_inside_each_other() -> None:
    budget = ScriptBudget()
    Shell(lambda _: None, budget).pipelines("$(" * MAX_DEPTH + "a" + ")" * MAX_DEPTH)
    assert budget.is_exceeded
    budget = ScriptBudget()
    Shell(lambda _: None, budget).pipelines("$(" * (MAX_DEPTH - 1) + "a" + ")" * (MAX_DEPTH - 1))
    assert not budget.is_exceeded


@tried(200)
@given(st.text("ab$(){}'\"`\\|&;<>#=*?~ \n", max_size=80))
def test_no_more_is_read_than_there_is(script: str) -> None:
    budget = ScriptBudget(len(script))
    pipelines = Shell(lambda _: None, budget).pipelines(script)
    words = [word for pipeline in pipelines for command in pipeline for word in command.words]
    assert len(words) <= MAX_WORDS * (len(script) + 1)
    assert not budget.is_exceeded or script.count("(") + script.count("`") > MAX_DEPTH


# --- one word after the other ------------------------------------------------------------------


def reader(text: str, values: dict[str, str] | None = None) -> WordReader:
    return WordReader(text, values or {}, ScriptBudget(), lambda script: f"<{script}>")


@each("text, words", CASES["quotes_escapes_and_substitutions_are_undone"])
def test_quotes_escapes_and_substitutions_are_undone(text: str, words: list[str]) -> None:
    word_reader = reader(text)
    assert word_reader.words() == words
    assert word_reader.at == len(text)


def test_an_unquoted_value_is_divided() -> None:
    values = {"x": "rm -rf", "y": "rm,-rf", "IFS": ","}
    assert reader("$x", values).words() == ["rm", "-rf"]
    assert reader('"$x"', values).words() == ["rm -rf"]
    assert reader("$y", values).words() == ["rm", "-rf"]
    assert reader("a=$x", values).words() == ["a=rm -rf"]


@pytest.mark.parametrize("text", ["a b", "a;b", "a|b", "a>b", "a\nb", ";a"])
def test_a_word_ends_before_what_is_none_of_which_a_character_is_skipped(text: str) -> None:
    word_reader = reader(text)
    assert word_reader.words() == ["a"] * text.startswith("a")
    assert word_reader.at == 1


@pytest.mark.parametrize("text", ["'a", '"a', "`a", "$(a", "${a", "$'a", "a\\"])
def test_what_is_never_closed_ends_with_the_script(text: str) -> None:
    word_reader = reader(text)
    word_reader.words()
    assert word_reader.at >= len(text)
