"""A call that does something has a sign of it, and an ordinary one has none."""

import re

import pytest

from pipeguard.detect.commands.powershell import (
    ACTS_SIGN,
    WINDOWS_SIGN,
    WINDOWS_SIGNS,
    WINDOWS_WORDS,
)

ACTS, WINDOWS = re.compile(ACTS_SIGN), re.compile(WINDOWS_SIGN)


@pytest.mark.parametrize(
    "text",
    [
        "command: ls",
        "name: run_shell",
        "host: 8.8.8.8; cat /etc/passwd",
        "name: $(curl x)",
        "path: ../../x",
        "path: ..%2fx",
        "file: ~/.ssh/id_rsa",
        "id: 1' or '1'='1",
        "q: x; drop table users",
        "branch: --upload-pack=x",
    ],
)
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
    known = [*WINDOWS_WORDS, *WINDOWS_SIGNS]
    assert [text for text in samples if not any(w.search(text) for _, w in known)] == []


@pytest.mark.parametrize("text", ["formatting", "newt user", "regular add", "disciple x"])
def test_a_part_of_a_longer_word_is_none(text: str) -> None:
    assert not WINDOWS.search(text)
    assert not any(word.search(text) for _, word in WINDOWS_WORDS)
