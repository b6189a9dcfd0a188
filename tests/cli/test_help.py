"""The help of `pipeguard`: complete, in groups, whole, and helpful for misspelled names."""

import click
import pytest
from click.testing import CliRunner, Result

from pipeguard.__main__ import _run
from pipeguard.cli import SECTIONS, cli
from tests.snapshot import Snapshot


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, words, prog_name="pipeguard")


def test_each_command_stands_in_one_section() -> None:
    named = [name for names in SECTIONS.values() for name in names]
    assert sorted(named) == cli.list_commands(click.Context(cli))


def test_each_command_has_its_help(snapshot: Snapshot) -> None:
    context = click.Context(cli)
    lines = ["--help"]
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        verbs = command.commands if isinstance(command, click.Group) else {}
        lines += [f"{name} --help", *(f"{name} {verb} --help" for verb in sorted(verbs))]
        for each in (command, *verbs.values()):
            each._help_option = None  # of a test that called it without the group
    snapshot.commands("help", "\n".join(lines))


def test_a_misspelled_name_gets_the_nearest(snapshot: Snapshot) -> None:
    snapshot.commands(
        "help-misspelled",
        """
        alow  # 2
        rules lst  # 2
        assess --sarif  # 2
        allow --untl  # 2
        help alow  # 2
        -V
        """,
    )


@pytest.mark.parametrize("words", [(), ("setup",), ("rules", "test")])
def test_help_is_a_command_too(words: tuple[str, ...]) -> None:
    assert run("help", *words).output == run(*words, "--help").output


def test_a_refusal_of_a_right_command_line_shows_no_usage(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert _run(["approve", "nothing"]) == 2
    assert capfd.readouterr().err == (
        "pipeguard: there is no server 'nothing'; known servers: none.\n"
    )
