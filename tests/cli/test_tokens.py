"""`pipeguard tokens`: made by a person, listed without the token, revoked at once."""

import pytest
from click.testing import CliRunner

from pipeguard.cli import cli
from pipeguard.launch.person import Person
from pipeguard.runtime import start
from pipeguard.state.paths import store_path
from tests.people import be_nobody, give_token
from tests.snapshot import Snapshot


@pytest.fixture(autouse=True)
def _state(monkeypatch: pytest.MonkeyPatch) -> None:
    give_token(monkeypatch)


def test_a_token_is_printed_alone_on_stdout(snapshot: Snapshot) -> None:
    made = snapshot.run("tokens create laptop")
    (token,) = made.out.split()
    assert token not in made.err
    assert token not in snapshot.run("tokens list").out
    assert snapshot.run("tokens rotate laptop").out.strip() != token


def test_what_is_shown(snapshot: Snapshot) -> None:
    snapshot.commands(
        "tokens",
        """
        tokens list
        tokens create ci --server githb --server git*
        tokens create do --server git* --tool git/get_* --effect read --expires 30d --per-minute 60
        tokens create json --json
        tokens list
        tokens list --json
        tokens rotate ci
        tokens revoke ci
        tokens revoke ci  # 2
        tokens rotate ci  # 2
        tokens reset
        tokens list
        """,
    )


@pytest.mark.parametrize(("words", "scheme"), [(("--tls-cert", "c.pem"), "https"), ((), "http")])
def test_a_gateway_with_tls_is_named_by_https(
    words: tuple[str, ...], scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = start.RunningGuard("1", "serve", "127.0.0.1:8080", ("pipeguard", "serve", *words))
    monkeypatch.setattr(start, "running_guards", lambda: iter([gateway]))
    made = CliRunner().invoke(cli, ["tokens", "create", "ci", "--server", "one"])
    assert f" --upstream {scheme}://HOST:PORT/mcp" in made.stderr


def test_wrong_input_makes_nothing(snapshot: Snapshot) -> None:
    snapshot.commands(
        "tokens-wrong",
        """
        tokens create -x-  # 2
        tokens create 'two words'  # 2
        tokens create ci --expires soon  # 2
        tokens create ci --expires 0d  # 2
        tokens create ci --effect admin  # 2
        """,
    )
    assert not store_path().exists()


def test_an_agent_makes_none_and_may_end_one(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot.run("tokens create ci")
    be_nobody(monkeypatch)
    snapshot.commands(
        "tokens-agent",
        "tokens create b  # 2\ntokens rotate ci  # 2\ntokens reset  # 2\ntokens revoke ci",
    )


def test_a_taken_or_missing_name_is_told_before_anything_is_asked(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot.run("tokens create ci")
    monkeypatch.setattr(Person, "here", lambda: pytest.fail("it asked"))
    assert "ci already" in snapshot.run("tokens create ci").err
    assert "no token nosuch. Available: ci." in snapshot.run("tokens rotate nosuch").err
