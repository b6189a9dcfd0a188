"""What a pipeline prints, where the script alone says it."""

import pytest

from pipeguard.detect.commands.shell_command import MAX_VALUE, ShellCommand
from pipeguard.detect.commands.shell_output import escapes, output


def printed(*commands: str, stdin: str | None = None) -> str | None:
    return output([ShellCommand(words.split(" "), [], stdin) for words in commands])


def test_escapes() -> None:
    assert escapes(r"\x72\155\n\u0041\q") == "rm\nAq"


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        (["echo a b"], "a b\n"),
        (["echo -n a"], "a"),
        ([r"echo -e \x61"], "a\n"),
        ([r"printf %s-%s a b"], "a-b"),
        ([r"printf %s, a b"], "a,b,"),
        (["echo cm0K", "base64 -d"], "rm\n"),
        (["echo cm0K", "base64 --decode"], "rm\n"),
        (["echo mr", "rev"], "rm\n"),
        (["echo 726d0", "xxd -r -p"], "rm"),
        (["echo a", "cat", "tee b"], "a\n"),
        (["echo a", "printf b"], "a\nb"),
        (["echo a", "echo b", r"tr -d \n"], "ab"),
    ],
)
def test_what_the_script_says_is_printed(commands: list[str], expected: str) -> None:
    assert printed(*commands) == expected


@pytest.mark.parametrize(
    "commands",
    [
        ["date"],
        ["cat"],
        ["echo a", "sort"],
        ["echo a", "base64"],
        ["base64 -d"],
        ["rev"],
        ["echo 726d", "xxd -p"],
        ["xxd -rp"],
        ["printf"],
        ["ls", "cat"],
        ["echo a", "tr a b"],
    ],
)
def test_what_only_the_machine_knows_is_not(commands: list[str]) -> None:
    assert printed(*commands) is None


def test_a_redirected_input_comes_before_what_was_printed() -> None:
    assert printed("cat", stdin="a") == "a"


def test_only_so_much_is_printed() -> None:
    assert printed("echo " + "a" * 2 * MAX_VALUE) == "a" * MAX_VALUE
