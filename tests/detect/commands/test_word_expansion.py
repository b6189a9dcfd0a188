"""Expansion of variables and braces in a word by a shell."""

from pipeguard.detect.commands.shell_command import MAX_VALUE
from pipeguard.detect.commands.word_expansion import (
    MAX_WORDS,
    brace_words,
    expand_parameter,
    expand_variable,
    without_unset,
)
from tests.detect.cases import read_cases
from tests.each import each

CASES = read_cases(__file__)

VALUES = {"x": "abcdef", "y": "x"}


@each("body, value", CASES["a_parameter_is_its_value_or_a_part_of_it"])
def test_a_parameter_is_its_value_or_a_part_of_it(body: str, value: str) -> None:
    assert expand_parameter(VALUES, body) == value


def test_a_variable_that_nobody_set_keeps_its_name() -> None:
    assert expand_variable(VALUES, "x") == "abcdef"
    assert (
        without_unset(f"/{expand_variable({}, 'DIR')}/{expand_parameter({}, 'NAME')}")
        == "/$DIR/$NAME"
    )
    assert without_unset(expand_variable({}, "A") + expand_variable({}, "B")) == "$A$B"


def test_a_variable_that_nobody_set_tears_no_word() -> None:
    assert without_unset(f"wh{expand_variable({}, 'u')}oami") == "whoami"
    assert without_unset(f"wh{expand_variable({}, 'u')}{expand_variable({}, 'v')}oami") == "whoami"


def test_a_value_is_only_so_long() -> None:
    assert len(expand_variable({"x": "a" * 2 * MAX_VALUE}, "x")) == MAX_VALUE


@each("word, words", CASES["braces_make_several_words_of_one"])
def test_braces_make_several_words_of_one(word: str, words: list[str]) -> None:
    assert brace_words(word) == words


def test_braces_make_only_so_many_words() -> None:
    assert len(brace_words("{a,b}" * 20)) <= MAX_WORDS
    assert len(brace_words(f"{{{'a,' * 1000}}}")) == MAX_WORDS
