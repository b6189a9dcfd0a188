"""The files that the commands of a script read, write, fetch and run."""

from pipeguard.detect.commands.file_access import FEW_ADDRESSES, FileAccess
from pipeguard.detect.commands.shell_command import ShellCommand
from tests.detect.cases import read_cases
from tests.each import each

CASES = read_cases(__file__)


def lines(*commands: str, folder: str = "") -> list[str]:
    """Return the lines of commands, one after another."""
    files = FileAccess([])
    files.folder = folder
    for command in commands:
        words = command.split(" ")
        files.follow(words[0], words)
        files.run(words[0], words)
    return files.lines


@each("command, expected", CASES["files_among_the_arguments"])
def test_files_among_the_arguments(command: str, expected: list[str]) -> None:
    assert lines(command) == expected


@each("fetch, run", CASES["what_was_fetched_is_run"])
def test_what_was_fetched_is_run(fetch: str, run: str) -> None:
    assert any(line.startswith("RUN a.sh") for line in lines(fetch, run))
    assert not any(line.startswith("RUN") for line in lines(run))


@each(
    "fetches, expected",
    [
        *CASES["what_is_run_names_where_it_came_from"],
        (["curl -o a.sh https://h/b"] * (FEW_ADDRESSES + 1), "RUN a.sh"),
        (["curl -o a.sh " + "https://h/b " * (FEW_ADDRESSES + 1)], "RUN a.sh"),
    ],
)
def test_what_is_run_names_where_it_came_from(fetches: list[str], expected: str) -> None:
    assert lines(*fetches, "sh a.sh")[-1] == expected


def test_a_path_is_resolved_from_the_folder_that_the_script_went_to() -> None:
    assert lines("cat a /b ~/c", folder="/x") == ["< /x/a", "< /b", "< ~/c"]


def test_redirects_read_write_and_fetch() -> None:
    files = FileAccess([])
    redirects = [(">", "a"), ("<", "b c"), (">>", "d")]
    assert files.redirect(ShellCommand(["echo"], redirects, None)) == " > a < b\x1fc > d"
    assert files.lines == ["> a", "< b\x1fc", "> d"]
    files.redirect(ShellCommand(["curl", "h"], [(">", "e")], None))
    assert files.fetched == [("e", "")]


def test_what_was_fetched_by_a_redirect_in_a_folder_is_run_there() -> None:
    files = FileAccess([])
    files.folder = "x"
    files.redirect(ShellCommand(["curl", "h"], [(">", "a.sh")], None))
    files.run("sh", ["sh", "a.sh"])
    assert files.lines == ["> x/a.sh", "RUN x/a.sh"]
