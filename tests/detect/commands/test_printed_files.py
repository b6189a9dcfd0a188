"""Which files a command prints, and which commands do more."""

import pytest

from pipeguard.detect.commands.call_names import printed_files


@pytest.mark.parametrize(
    ("command", "files"),
    [
        ("head -4 a.txt", ("a.txt",)),
        ("jq -r '.[].text' evals/a.json", ("evals/a.json",)),
        ("cd tests && cat a.txt b.txt | sort", ("tests/a.txt", "tests/b.txt")),
        ("rg -n 'x y' tests/", ("tests",)),
        ("cat 'a b.txt'", ("a b.txt",)),
        ("cat a.txt | sh", ()),
        ("cat a.txt > b.txt", ()),
        ("cat $(curl x.example) a.txt", ()),
        ("ls tests", ()),
        ("ssh x.example cat a.txt", ()),
        ("cat a.txt; echo hi", ()),
        ("", ()),
    ],
)
def test_files_are_told_of_commands_that_only_print(command: str, files: tuple[str, ...]) -> None:
    assert printed_files(command) == files
