"""The help of `pipeguard`: complete, in groups, whole, and near where a name is misspelled."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner, Result

from pipeguard.cli import SECTIONS, cli
from pipeguard.version import VERSION


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, words, prog_name="pipeguard")


def test_each_command_stands_in_one_section() -> None:
    named = [name for names in SECTIONS.values() for name in names]
    assert sorted(named) == cli.list_commands(click.Context(cli))


def test_no_summary_is_cut() -> None:
    told = run("--help").output
    assert "..." not in told.replace("[ARGS]...", "")
    for title in SECTIONS:
        assert f"\n{title}:\n" in told


@pytest.mark.parametrize(
    ("words", "near"),
    [(("alow",), "allow"), (("rules", "lst"), "list"), (("allow", "--untl"), "--until")],
)
def test_a_misspelled_name_gets_the_nearest(words: tuple[str, ...], near: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert f"Did you mean '{near}'?" in result.output


@pytest.mark.parametrize("words", [(), ("setup",), ("rules", "test")])
def test_help_is_a_command_too(words: tuple[str, ...]) -> None:
    assert run("help", *words).output == run(*words, "--help").output


def test_help_on_what_there_is_not_says_so() -> None:
    result = run("help", "alow")
    assert result.exit_code == 2
    assert "Did you mean 'allow'?" in result.output


def test_the_version_has_a_short_option() -> None:
    assert run("-V").output == f"pipeguard, version {VERSION}\n"


def test_a_pack_that_there_is_not_is_an_error_that_names_those_there_are() -> None:
    result = run("rules", "list", "--pack", "nope")
    assert result.exit_code != 0
    assert "injection, paths" in str(result.exception)
