"""The options of `wrap`: both readers read them alike. options.py, cli/wrap.py."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeguard.cli import cli
from pipeguard.config.options import NEVER_EMPTY, TABLE, WrapOptions, read
from pipeguard.runtime import start
from pipeguard.runtime.transports import transport_names

SERVER = ["npx", "-y", "server", "--name", "not-ours", "--"]
PLAIN = [
    [],
    ["--name", "x"],
    ["--name=x"],
    ["--env", "A", "--env", "B=c d", "--env=C=1=2"],
    ["--cwd", "/a b", "--policy", "p.yaml", "--trust", "review", "--grace", "0.5"],
    ["--name", "first", "--name", "last"],
]


def fields(options: WrapOptions) -> tuple[object, ...]:
    return options.command, options.values, options.lists, options.flags


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[WrapOptions]:
    """Collect the options that the full parser passes to `wrap.run`, which does not run."""
    seen: list[WrapOptions] = []

    def run(options: WrapOptions) -> int:
        seen.append(options)
        return 7

    monkeypatch.setattr(start, "run", run)
    return seen


@pytest.mark.parametrize("arguments", PLAIN, ids=" ".join)
def test_both_readers_agree(arguments: list[str], parsed: list[WrapOptions]) -> None:
    short = read([*arguments, "--", *SERVER])
    outcome = CliRunner().invoke(cli, ["wrap", *arguments, "--", *SERVER])
    assert outcome.exit_code == 7, outcome.output
    assert short is not None
    assert fields(short) == fields(parsed[0])
    assert short.command == tuple(SERVER)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--"],
        ["--help"],
        ["--no-such", "--", "npx"],
        ["--name", "--", "npx"],
        ["--observe=yes", "--", "npx"],
        ["--grace", "-1", "--", "npx"],
    ],
    ids=" ".join,
)
def test_what_is_not_plain_is_left_to_the_full_parser(arguments: list[str]) -> None:
    assert read(arguments) is None


def test_without_dashes_the_first_word_begins_the_command(parsed: list[WrapOptions]) -> None:
    outcome = CliRunner().invoke(cli, ["wrap", "--name", "x", "npx", "-y", "server", "--name", "y"])
    assert outcome.exit_code == 7, outcome.output
    assert parsed[0].command == ("npx", "-y", "server", "--name", "y")
    assert parsed[0].values == {"--name": "x"}


def test_without_a_command_it_says_what_to_give(parsed: list[WrapOptions]) -> None:
    outcome = CliRunner().invoke(cli, ["wrap", "--observe"])
    assert outcome.exit_code == 2
    assert "give the server's command after --" in outcome.output
    assert parsed == []


def test_help_names_every_option_with_its_words() -> None:
    outcome = CliRunner().invoke(cli, ["wrap", "--help"])
    assert outcome.exit_code == 0
    told = " ".join(outcome.output.split())
    for name, metavar, _, text in TABLE:
        assert f"{name} {metavar}".strip() in told
        assert " ".join(text.partition("{")[0].split()) in told
    assert [name for name in transport_names() if name not in told] == []


def test_the_pages_name_every_option() -> None:
    docs = Path(__file__).parents[2] / "docs"
    pages = "".join((docs / name).read_text(encoding="utf-8") for name in ("wrap.md", "http.md"))
    assert [name for name, *_ in TABLE if f"`{name}" not in pages] == []


WITH_VALUE = [name for name, metavar, _, _ in TABLE if metavar]


@pytest.mark.parametrize("name", WITH_VALUE)
@pytest.mark.parametrize(
    "after", [["--"], ["--observe", "--"], ["--read", "x", "--"]], ids=" ".join
)
def test_a_value_that_was_left_out_is_told(
    name: str, after: list[str], parsed: list[WrapOptions]
) -> None:
    arguments = [name, *after, "server"]
    assert read(arguments) is None
    outcome = CliRunner().invoke(cli, ["wrap", *arguments])
    assert outcome.exit_code == 2
    assert f"{name} needs a value after it" in outcome.output
    assert not parsed


@pytest.mark.parametrize("name", sorted(NEVER_EMPTY - {"--keep-home"}))
@pytest.mark.parametrize("joined", [True, False])
def test_what_holds_a_server_is_never_empty(
    name: str, joined: bool, parsed: list[WrapOptions]
) -> None:
    arguments = [f"{name}=" if joined else name, *([] if joined else [""]), "--", "server"]
    assert read(arguments) is None
    assert CliRunner().invoke(cli, ["wrap", *arguments]).exit_code == 2
    assert not parsed
