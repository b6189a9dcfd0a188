"""`pipeguard tokens`: made by a person, listed without the token, revoked at once."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeguard.cli.tokens import command
from pipeguard.errors import PipeGuardError
from pipeguard.gateway.sources import usual_file
from pipeguard.state.paths import store_path
from tests.people import be_nobody, give_token


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    give_token(monkeypatch)


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(command, arguments)
    if isinstance(result.exception, PipeGuardError):
        raise result.exception
    return result


def test_a_token_is_printed_alone_on_stdout() -> None:
    made = run("create", "laptop")
    assert made.exit_code == 0
    (token,) = made.stdout.split()
    assert token.startswith("pgt_")
    assert token not in made.stderr
    assert token not in run("list").stdout
    assert json.loads(run("create", "ci", "--json").stdout).keys() == {"name", "token"}


def test_a_server_that_nobody_knows_is_told_and_the_token_is_made() -> None:
    assert "No server" not in run("create", "early", "--server", "typo").stderr, "none is known yet"
    file = Path(usual_file())
    file.write_text("servers: {github: {command: x}}\n")
    file.chmod(0o600)
    made = run("create", "ci", "--server", "githb", "--server", "git*")
    assert "No server is called githb yet. There are: github" in made.stderr
    assert "git*" not in made.stderr
    assert made.stdout.startswith("pgt_")


def test_a_list_shows_scopes_and_ends() -> None:
    run("create", "all")
    run(
        *("create", "ci", "--server", "git*", "--tool", "git/get_*", "--effect", "read"),
        *("--expires", "30d", "--per-minute", "60"),
    )
    whole, scoped = json.loads(run("list", "--json").stdout)
    assert (whole["servers"], whole["tools"], whole["effect"]) == (["*"], ["*"], "destructive")
    assert (whole["expires"], whole["per_minute"]) == (None, None)
    assert (scoped["servers"], scoped["tools"]) == (["git*"], ["git/get_*"])
    assert (scoped["effect"], scoped["per_minute"], scoped["is_expired"]) == ("read", 60, False)
    assert "ci: servers git*; tools git/get_*; up to read; 60 calls a minute" in run("list").stdout


def test_an_exchanged_token_and_a_revoked_one_are_gone() -> None:
    first = run("create", "ci").stdout
    assert run("rotate", "ci").stdout != first
    assert run("revoke", "ci").stdout == "Revoked ci.\n"
    assert "There is no token" in run("list").stderr
    for verb in ("rotate", "revoke"):
        with pytest.raises(PipeGuardError, match="there is no token ci"):
            run(verb, "ci")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("-x-",), "No such option"),
        (("two words",), "at most 50 letters"),
        (("ci", "--expires", "soon"), "12h, 30d or 8w"),
        (("ci", "--expires", "0d"), "12h, 30d or 8w"),
        (("ci", "--effect", "admin"), "Invalid value"),
    ],
)
def test_wrong_input_is_told_and_makes_nothing(arguments: tuple[str, ...], told: str) -> None:
    result = CliRunner().invoke(command, ("create", *arguments))
    assert result.exit_code != 0
    assert told in result.stderr + str(result.exception)
    assert not store_path().exists()


def test_a_person_ends_the_need_for_tokens() -> None:
    run("create", "ci")
    assert "no longer need a token" in run("reset").stdout
    assert json.loads(run("list", "--json").stdout) == []


def test_an_agent_makes_none_and_may_end_one(monkeypatch: pytest.MonkeyPatch) -> None:
    run("create", "ci")
    be_nobody(monkeypatch)
    for words in (("create", "b"), ("rotate", "ci"), ("reset",)):
        with pytest.raises(PipeGuardError, match="there is no terminal"):
            run(*words)
    assert run("revoke", "ci").exit_code == 0
