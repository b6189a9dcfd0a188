"""One word of a script after the other."""

import pytest

from pipeguard.detect.commands.posix_shell import WordReader
from pipeguard.detect.commands.script_budget import ScriptBudget


def reader(text: str, values: dict[str, str] | None = None) -> WordReader:
    return WordReader(text, values or {}, ScriptBudget(), lambda script: f"<{script}>")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a", ["a"]),
        ("a'b'\"c\"d", ["abcd"]),
        (r"a\ b", ["a b"]),
        ('"x\\$y\\z"', [r"x$y\z"]),
        ("''", [""]),
        ("a{1,2}b", ["a1b", "a2b"]),
        ("'a{1,2}'", ["a{1,2}"]),
        (r"$'\x61b'", ["ab"]),
        ('$"a b"', ["a b"]),
        ("$((1+2))", ["1"]),
        ("a$1b", ["ab"]),
        ("a$", ["a$"]),
        ("$(ls -l)", ["<ls", "-l>"]),
        ('"$(ls ")")"', ['<ls ")">']),
        ("`ls`", ["<ls>"]),
        ('"`ls`"', ["<ls>"]),
        ("<(ls)", ["<<ls>"]),
        ("${HOME}", ["$HOME"]),
    ],
)
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


@pytest.mark.parametrize("text", ["a b", "a;b", "a|b", "a>b", "a\nb"])
def test_a_word_ends_before_what_is_none(text: str) -> None:
    word_reader = reader(text)
    assert word_reader.words() == ["a"]
    assert word_reader.at == 1


def test_where_no_word_begins_a_character_is_skipped() -> None:
    word_reader = reader(";a")
    assert word_reader.words() == []
    assert word_reader.at == 1


@pytest.mark.parametrize("text", ["'a", '"a', "`a", "$(a", "${a", "$'a", "a\\"])
def test_what_is_never_closed_ends_with_the_script(text: str) -> None:
    word_reader = reader(text)
    word_reader.words()
    assert word_reader.at >= len(text)
