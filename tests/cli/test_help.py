"""The help of `pipeguard`: complete, in groups, whole, and near where a name is misspelled."""

from __future__ import annotations

import shlex
from pathlib import Path

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


def test_no_summary_is_cut() -> None:
    told = run("--help").output
    assert "..." not in told.replace("[ARGS]...", "")
    for title in SECTIONS:
        assert f"\n{title}:\n" in told


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
        allow --yes  # 2
        claude setup  # 2
        cursor setup --dry-run  # 2
        undo  # 2
        setup undo  # 2
        -V
        """,
    )


@pytest.mark.parametrize("words", [(), ("setup",), ("rules", "test")])
def test_help_is_a_command_too(words: tuple[str, ...]) -> None:
    assert run("help", *words).output == run(*words, "--help").output


@pytest.mark.parametrize(
    ("line", "corrected"),
    [
        ("isolate show npx -y srv 'a b'", "pipeguard isolate show -- npx -y srv 'a b'"),
        ("isolate show --json npx -y srv", "pipeguard isolate show --json -- npx -y srv"),
        ("setup cursor --snippet npx -y srv", "pipeguard setup cursor --snippet 'npx -y srv'"),
        ("isolate show -y npx", ""),
        ("wrap -y npx", ""),
    ],
)
def test_an_option_of_a_servers_command_gets_the_whole_line_corrected(
    line: str, corrected: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _run(shlex.split(line)) == 2
    told = capfd.readouterr().err
    assert told.startswith("pipeguard: no such option '-y'.")
    assert told.partition("so write:  ")[2].partition("\n")[0] == corrected
    assert f"\nUsage: pipeguard {line.split()[0]} " in told


def test_a_refusal_of_a_right_command_line_shows_no_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path))
    assert _run(["approve", "nothing"]) == 2
    assert capfd.readouterr().err == (
        "pipeguard: no guarded server has run yet, so there is nothing to decide.\n"
    )
