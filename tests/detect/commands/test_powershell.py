"""Commands for PowerShell and cmd, with their disguises undone."""

import re

import pytest

from pipeguard.detect.commands import powershell
from tests.detect.cases import read_cases
from tests.each import each

CASES = read_cases(__file__)


@each("text", CASES["a_name_that_is_put_together_is_one_word"])
def test_a_name_that_is_put_together_is_one_word(text: str) -> None:
    assert "PS powershell x" in powershell.windows_lines(text)


def test_each_command_of_a_line_has_a_line() -> None:
    lines = powershell.windows_lines("dir & del x && echo y\ncls")
    assert lines == ["PS dir", "PS del x", "PS echo y", "PS cls"]


def test_what_is_longer_than_a_line_is_cut() -> None:
    assert [
        len(line) for line in powershell.windows_lines("echo " + "a" * 2 * powershell.MAX_LINE)
    ] == [powershell.MAX_LINE + len("PS ")]


def test_a_text_for_windows_has_words_of_its_own() -> None:
    assert all(map(powershell.is_windows, ("powershell -c x", "Invoke-WebRequest h", "cmd /c dir")))
    assert not any(map(powershell.is_windows, ("", "ls -la /tmp", "git commit -m done")))


# --- signs of commands -------------------------------------------------------------------------


ACTS, WINDOWS = re.compile(powershell.ACTS_SIGN), re.compile(powershell.WINDOWS_SIGN)


@each("text", CASES["what_does_something_has_a_sign"])
def test_what_does_something_has_a_sign(text: str) -> None:
    assert ACTS.search(text)


@pytest.mark.parametrize(
    "text", ["city: Oslo", "title: The run of the mill", "text: this and that", "colour: red"]
)
def test_an_ordinary_call_has_none(text: str) -> None:
    assert not ACTS.search(text)
    assert not WINDOWS.search(text)


def test_each_word_of_windows_is_part_of_the_one_sign() -> None:
    samples = ("powershell x", "cmd.exe /c", "iex x", "rd /s", "net user x", "format c:", "ri -r")
    assert [text for text in samples if not WINDOWS.search(f"x: {text}")] == []
    known = [*powershell.WINDOWS_WORDS, *powershell.WINDOWS_SIGNS]
    assert [text for text in samples if not any(w.search(text) for _, w in known)] == []


@pytest.mark.parametrize("text", ["formatting", "newt user", "regular add", "disciple x"])
def test_a_part_of_a_longer_word_is_none(text: str) -> None:
    assert not WINDOWS.search(text)
    assert not any(word.search(text) for _, word in powershell.WINDOWS_WORDS)
