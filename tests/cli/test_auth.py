"""`pipeguard auth`: the list of logins, and the login that a name means."""

import json
from dataclasses import replace

import pytest

from pipeguard.auth.place import Place
from pipeguard.auth.store import LoginStore, Registration, Secrets, StoredLogin
from tests.snapshot import Snapshot

URL = "https://mcp.example.com/mcp?a=1&b=2"
LOGIN = StoredLogin(
    server=URL, name="notes", issuer="https://auth.example.com", place=Place.FILE,
    client={"client_id": "c"}, registration=Registration.GIVEN, metadata=None,
    resource_metadata=None, scope="read", wanted="", obtained_at=0.0, expires_at=None,
)  # fmt: skip
TOKEN = Secrets("access")
BOTH = Secrets("access", "refresh")
LATER = 4e9  # the year 2096
STATES = {
    "unknown": (None, TOKEN, False),
    "unknown-renewed": (None, BOTH, False),
    "good": (LATER, TOKEN, False),
    "good-renewed": (LATER, BOTH, False),
    "ended": (1.0, TOKEN, True),
    "ended-renewed": (1.0, BOTH, False),
}


def test_a_token_s_state_is_shown(snapshot: Snapshot) -> None:
    snapshot.commands("auth-status-none", "auth status\nauth status --json")
    for name, (expires_at, secrets, needs_login) in STATES.items():
        login = replace(LOGIN, name=name, server=f"{URL}&name={name}", expires_at=expires_at)
        LoginStore().save(login, secrets)
        told = json.loads(snapshot.run("auth status --json").out)
        assert [one["needs_login"] for one in told if one["name"] == name] == [needs_login]
    LoginStore().save(replace(LOGIN, name="no\x1b[2J", wanted="write\x1b[2J"), TOKEN)
    shown = snapshot.run("auth status")
    assert "\x1b" not in shown.out
    assert "access" not in snapshot.run("auth status --json").out
    snapshot.commands("auth-status", "auth status\nauth status --json")


def test_a_name_means_one_server(snapshot: Snapshot) -> None:
    store = LoginStore()
    store.save(LOGIN, TOKEN)
    store.save(replace(LOGIN, server="https://other.example/mcp"), TOKEN)
    snapshot.commands(
        "auth-logout",
        """
        auth logout notes  # 2
        auth logout HTTPS://OTHER.example:443/mcp
        auth logout notes
        """,
    )
    assert store.logins() == []


def test_a_secret_comes_from_a_variable_that_is_there(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH", raising=False)
    snapshot.commands(
        "auth-login-no-variable",
        "auth login https://x.test --client-id c --client-secret-env NO_SUCH  # 2",
    )


def test_status_needs_nothing_that_is_slow_to_load(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK takes half a second to load, and is not needed."""
    import sys

    LoginStore().save(LOGIN, TOKEN)
    for name in ("mcp", "httpx2", "keyring"):
        monkeypatch.setitem(sys.modules, name, None)
    assert snapshot.run("auth status").code == 0
