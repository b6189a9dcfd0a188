"""The output of a pipeline, if it follows from the script."""

from pipeguard.detect.commands.shell_command import MAX_VALUE, ShellCommand
from pipeguard.detect.commands.shell_output import expand_escapes, find_output
from tests.detect.cases import read_cases
from tests.each import each

CASES = read_cases(__file__)


def printed(*commands: str, stdin: str | None = None) -> str | None:
    return find_output([ShellCommand(words.split(" "), [], stdin) for words in commands])


def test_escapes() -> None:
    assert expand_escapes(r"\x72\155\n\u0041\q") == "rm\nAq"


@each("commands, expected", CASES["what_the_script_says_is_printed"])
def test_what_the_script_says_is_printed(commands: list[str], expected: str) -> None:
    assert printed(*commands) == expected


@each("commands", CASES["what_only_the_machine_knows_is_not"])
def test_what_only_the_machine_knows_is_not(commands: str) -> None:
    assert printed(*commands.split(" | ")) is None


def test_a_redirected_input_comes_before_what_was_printed() -> None:
    assert printed("cat", stdin="a") == "a"


def test_only_so_much_is_printed() -> None:
    assert printed("echo " + "a" * 2 * MAX_VALUE) == "a" * MAX_VALUE
