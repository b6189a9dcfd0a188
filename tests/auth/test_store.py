"""Stored logins: written whole or not at all, for the owner's eyes only, one writer at a time."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import keyring
import pytest
from keyring.backends.fail import Keyring as NoKeyring

from pipeguard.auth import ring
from pipeguard.auth.place import Place
from pipeguard.auth.store import LoginStore, Registration, Secrets, StoredLogin
from pipeguard.errors import AuthError, PipeGuardError, StateError
from tests.auth.conftest import KEYRING

URL = "https://mcp.example.com/mcp"
SECRETS = Secrets("access-" + "a" * 3000, "refresh-é", "client")


@pytest.fixture(autouse=True)
def _own_keyring(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", KEYRING)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(ring, "_chosen", False)


def secrets_in(store: LoginStore, server: str = URL) -> Secrets:
    found = store.read(server)
    assert found is not None
    return found[1]


def login(server: str = URL, place: Place = Place.KEYRING) -> StoredLogin:
    return StoredLogin(
        server=server, name="notes", issuer="https://auth.example.com", place=place,
        client={"client_id": "c"}, registration=Registration.GIVEN, metadata=None,
        resource_metadata=None, scope="read", wanted="", obtained_at=1.0, expires_at=None,
    )  # fmt: skip


@pytest.fixture(params=Place)
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.param
    return found


def test_what_was_kept_comes_back(tmp_path: Path, place: Place) -> None:
    store = LoginStore(tmp_path)
    assert store.read(URL) is None
    assert store.stamp(URL) is None
    store.save(login(place=place), SECRETS)
    first = store.stamp(URL)
    assert store.read(URL) == (replace(login(place=place), has_refresh=True), SECRETS)
    store.save(login(place=place), Secrets("other"))
    assert store.stamp(URL) != first
    assert store.read(URL) == (login(place=place), Secrets("other"))
    (listed,) = store.logins()
    assert listed == login(place=place)
    assert not listed.has_refresh
    assert store.forget(URL)
    assert not store.forget(URL)
    assert store.logins() == []


def entries(tmp_path: Path) -> list[str]:
    """Return the entries in the keyring's own file."""
    (file,) = tmp_path.rglob("keyring_pass.cfg")
    lines = file.read_text().splitlines()
    return [line for line in lines if " =" in line]


def test_nothing_old_stays_in_the_keyring(tmp_path: Path) -> None:
    store = LoginStore(tmp_path / "auth", part_chars=1200)
    for _ in range(3):
        store.save(login(), SECRETS)
    assert len(entries(tmp_path)) == 3
    assert secrets_in(store) == SECRETS
    store.save(login(place=Place.FILE), SECRETS)
    assert entries(tmp_path) == []
    store.save(login(), SECRETS)
    store.forget(URL)
    assert entries(tmp_path) == []


def test_a_login_moves_into_a_file_where_the_keyring_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LoginStore(tmp_path)
    store.save(login(), SECRETS)
    monkeypatch.setattr(keyring.core, "_keyring_backend", NoKeyring())  # type: ignore[no-untyped-call]
    store.save(login(place=Place.FILE), SECRETS)
    assert secrets_in(store) == SECRETS


def test_a_part_that_is_gone_is_told(tmp_path: Path) -> None:
    store = LoginStore(tmp_path / "auth")
    store.save(login(), SECRETS)
    (tmp_path / "data").rename(tmp_path / "gone")
    with pytest.raises(AuthError, match="has lost the last one"):
        store.read(URL)
    assert store.forget(URL)


def test_logins_of_several_servers_do_not_mix(tmp_path: Path, place: Place) -> None:
    store = LoginStore(tmp_path)
    for number in range(3):
        store.save(login(f"{URL}/{number}", place), Secrets(f"token{number}"))
    for number in range(3):
        assert secrets_in(store, f"{URL}/{number}").access_token == f"token{number}"
    store.forget(f"{URL}/1")
    assert [one.server for one in store.logins()] == [f"{URL}/0", f"{URL}/2"]


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such mode")
def test_a_file_that_others_may_read_is_not_believed(tmp_path: Path, place: Place) -> None:
    store = LoginStore(tmp_path)
    store.save(login(place=place), SECRETS)
    (file,) = tmp_path.glob("*.json")
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o644)
    with pytest.raises(StateError, match="chmod 600"):
        store.read(URL)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: "[]",
        lambda text: text[:-20],
        lambda text: text.replace('"version": 1', '"version": 2'),
        lambda text: text.replace('"scope"', '"scopes"'),
        lambda text: text.replace('"file"', '"elsewhere"'),
        lambda text: text.replace('"access_token": "', '"access_token": 7, "x": "'),
        lambda text: "[" * 100_000,
    ],
)
def test_a_damaged_file_is_told(tmp_path: Path, damage: object) -> None:
    store = LoginStore(tmp_path)
    store.save(login(place=Place.FILE), SECRETS)
    (file,) = tmp_path.glob("*.json")
    assert callable(damage)
    file.write_text(damage(file.read_text()))
    with pytest.raises(StateError, match="log in again") as failed:
        store.read(URL)
    assert SECRETS.access_token not in str(failed.value)


def test_a_secret_is_in_no_repr() -> None:
    assert "access-" not in repr(SECRETS)


def test_no_keyring_is_told_before_anybody_logs_in(monkeypatch: pytest.MonkeyPatch) -> None:
    ring.must_work()
    monkeypatch.setattr(keyring.core, "_keyring_backend", NoKeyring())  # type: ignore[no-untyped-call]
    with pytest.raises(AuthError, match="--store file"):
        ring.must_work()
    monkeypatch.setattr(ring, "_chosen", False)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "no.such.module")
    with pytest.raises(AuthError, match="keyring failed"):
        ring.must_work()


def test_a_file_in_clear_is_a_keyring_only_if_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHON_KEYRING_BACKEND")
    if type(keyring.get_keyring()).__module__.startswith("keyrings.alt"):
        monkeypatch.setattr(keyring.core, "_keyring_backend", None)
    try:
        ring.must_work()
    except AuthError:
        return
    assert not type(keyring.get_keyring()).__module__.startswith("keyrings.alt")


HOLD = """
import sys
from pathlib import Path
from pipeguard.auth.store import LoginStore
with LoginStore(Path(sys.argv[1])).lock(sys.argv[2]):
    print("held", flush=True)
    input()
"""


def test_one_process_writes_at_a_time_and_a_dead_one_keeps_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeguard.auth.store.LOCK_SECONDS", 0.1)
    store = LoginStore(tmp_path)
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), URL],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with store.lock(f"{URL}/other"):
            pass
        began = time.monotonic()
        with pytest.raises(PipeGuardError, match="locked"), store.lock(URL):
            pass
        assert time.monotonic() - began < 30
        other.kill()
    with store.lock(URL):
        pass
