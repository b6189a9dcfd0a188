"""`pipeguard serve --check`: all that a start reads is checked, and nothing is started."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeguard.cli.serve import command
from pipeguard.state.paths import existing_store, store_path
from pipeguard.state.store import Store
from pipeguard.state.tokens import TokenScope, create_token


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of servers, with state of its own."""
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = tmp_path / "pipeguard.yaml"
    path.write_text(
        "mode: auto\nservers:\n  one: {command: node, args: [/a/b/c.js, --api-key, hunter2]}\n"
    )
    path.chmod(0o600)
    return path


def check(file: Path, *options: str) -> Result:
    return CliRunner().invoke(command, ["--config", str(file), "--check", *options])


def test_servers_are_shown_without_secrets_and_with_how_they_are_served(file: Path) -> None:
    shown = check(file)
    assert shown.stdout == "one: node /a/b/c.js --api-key ****\n"
    assert "1 server, in mode auto over stdio" in shown.stderr
    at = check(file, "--mode", "direct", "--listen", "127.0.0.1:8080").stderr
    assert "in mode direct at 127.0.0.1:8080" in at
    assert existing_store() is None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--listen", "here"), "HOST:PORT"),
        (("--listen", "0.0.0.0:80"), "clients need a token, and there is none"),
        (("--listen", "127.0.0.1:80", "--token-env", "NOT_SET_HERE"), "not set"),
        (("--listen", "127.0.0.1:80", "--tls-key", "key.pem"), "--tls-cert"),
        (("--listen", "127.0.0.1:80", "--max-sessions", "many"), "--max-sessions"),
        (("--policy", "missing.yaml"), "missing.yaml"),
        (("--token-env", "X"), "--listen"),
    ],
)
def test_what_a_start_would_refuse_is_refused(
    file: Path, options: tuple[str, ...], told: str
) -> None:
    refused = check(file, *options)
    assert refused.exit_code != 0
    assert told in f"{refused.exception} {refused.stderr}"
    assert "nothing was started" not in refused.stderr


def test_a_stored_token_is_enough_for_an_address_that_others_reach(file: Path) -> None:
    with Store.open(store_path()) as store:
        create_token(store, "ci", TokenScope())
    assert "at 0.0.0.0:80" in check(file, "--listen", "0.0.0.0:80").stderr


def test_what_no_isolated_server_can_be_given_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "pipeguard.yaml"
    file.write_text("servers:\n  a:\n    command: cat\n    isolate: {hosts: ['http://a.com']}\n")
    refused = str(check(file).exception)
    assert "line 4" in refused
    assert "servers.a.isolate.hosts[0]: 'http://a.com'" in refused
    file.write_text("servers:\n  a: {command: cat, isolate: {read: [/gone/for/good]}}\n")
    noted = check(file)
    assert noted.exit_code == 0
    assert "the server a: isolate, read: /gone/for/good: there is no such file" in noted.stderr
