"""`pipeguard auth`: what it shows of logins that are there, and whom a name means."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeguard.auth.place import Place
from pipeguard.auth.store import LoginStore, Registration, Secrets, StoredLogin
from pipeguard.cli.auth import command
from pipeguard.errors import InputError

URL = "https://mcp.example.com/mcp?a=1&b=2"
LOGIN = StoredLogin(
    server=URL, name="notes", issuer="https://auth.example.com", place=Place.FILE,
    client={"client_id": "c"}, registration=Registration.GIVEN, metadata=None,
    resource_metadata=None, scope="read", wanted="", obtained_at=0.0, expires_at=None,
)  # fmt: skip
TOKEN = Secrets("access")
BOTH = Secrets("access", "refresh")
LATER = 4e9  # the year 2096


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path))


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(command, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_nobody_is_logged_in_at_first() -> None:
    result = run("status")
    assert result.exit_code == 0
    assert result.stderr == "You are not logged in to any server.\n"
    assert json.loads(run("status", "--json").stdout) == []


@pytest.mark.parametrize(
    ("expires_at", "secrets", "told", "needs_login"),
    [
        (None, TOKEN, "good until it is refused", False),
        (None, BOTH, "good, renewed automatically", False),
        (LATER, TOKEN, "good until 2096-10-02T07:06:40Z, not renewed", False),
        (LATER, BOTH, "good until 2096-10-02T07:06:40Z, renewed automatically", False),
        (1.0, TOKEN, "ended 1970-01-01T00:00:01Z; log in again:  pipeguard auth login '", True),
        (1.0, BOTH, "renewed when needed", False),
    ],
)
def test_a_token_s_state_is_told(
    expires_at: float | None, secrets: Secrets, told: str, *, needs_login: bool
) -> None:
    LoginStore().save(replace(LOGIN, expires_at=expires_at), secrets)
    assert told in run("status").stdout
    (fields,) = json.loads(run("status", "--json").stdout)
    assert fields["needs_login"] is needs_login
    assert "access" not in run("status", "--json").stdout


def test_what_a_server_wants_is_told_safely() -> None:
    LoginStore().save(replace(LOGIN, name="no\x1b[2J", wanted="write\x1b[2J"), TOKEN)
    result = run("status")
    assert "\x1b" not in result.stdout
    assert f"Grant it:  pipeguard auth login '{URL}'" in result.stdout
    assert json.loads(run("status", "--json").stdout)[0]["needs_login"] is True


def test_a_name_means_one_server() -> None:
    store = LoginStore()
    store.save(LOGIN, TOKEN)
    store.save(replace(LOGIN, server="https://other.example/mcp"), TOKEN)
    with pytest.raises(InputError, match=r"several[^|]*\n  https://mcp[^|]*\n  https://other"):
        run("logout", "notes")
    result = run("logout", "HTTPS://OTHER.example:443/mcp")
    assert "Logged out of https://other.example/mcp" in result.stdout
    assert "does not revoke tokens" in result.stderr
    assert "Logged out" in run("logout", "notes").stdout
    assert store.logins() == []


def test_a_secret_comes_from_a_variable_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH", raising=False)
    with pytest.raises(InputError, match="'NO_SUCH' is not set"):
        run("login", URL, "--client-id", "c", "--client-secret-env", "NO_SUCH")


def test_status_needs_nothing_that_is_slow_to_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK takes half a second to load, and is not needed."""
    import sys

    LoginStore().save(LOGIN, TOKEN)
    for name in ("mcp", "httpx2", "keyring"):
        monkeypatch.setitem(sys.modules, name, None)
    assert run("status").exit_code == 0
