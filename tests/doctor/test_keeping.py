"""Stored data, broken for real: folder, store, audit, pins, keyring, logins."""

import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend

from pipeguard.auth import ring
from pipeguard.auth.place import Place
from pipeguard.auth.store import LoginStore as Logins
from pipeguard.auth.store import Secrets, StoredLogin
from pipeguard.clients.machine import Machine
from pipeguard.doctor import keeping
from pipeguard.doctor.diagnosis import DiagnosisState
from pipeguard.state.audit import Audit
from pipeguard.state.pins import Store
from pipeguard.state.store import open_store
from tests.auth.conftest import KEYRING
from tests.cli.test_auth import LOGIN as NOTES
from tests.commands import run_command
from tests.doctor.examined import RUN, Person
from tests.people import share
from tests.snapshot import Snapshot
from tests.state.samples import audit_entry, held, seen

URL = "https://mcp.example.com/mcp"
TOKEN = "token-" + "q7" * 20
LOGIN = replace(NOTES, server=URL)
ENTRY = audit_entry("", action="allow")


def opened(person: Person) -> Store:
    person.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    return open_store(person.state / "pipeguard.db")


def keep(person: Person, login: StoredLogin, secrets: Secrets) -> None:
    Logins(person.state / "auth").save(login, secrets)


def test_where_nothing_is_kept_all_is_good_and_nothing_is_made(person: Person) -> None:
    result = person.examined("audit", "pins", "logins")
    assert result.code == 0
    assert {told.state for told in result.checks.values()} == {"good"}
    assert list(person.state.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="rights of folders are POSIX's")
def test_a_state_folder_that_others_may_write_is_closed_by_its_command(person: Person) -> None:
    for mode, state, code in ((0o770, "wrong", 4), (0o755, "good", 0), (0o777, "wrong", 4)):
        person.state.mkdir(parents=True, exist_ok=True)
        share(person.state)
        person.state.chmod(mode)
        result = person.examined("state")
        assert (result.of("state").state, result.code) == (state, code), oct(mode)
        person.fix(result.of("state").fix or "true")
        assert person.examined("state").of("state").state != "wrong"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/sys takes no file, not even root's")
def test_what_cannot_be_used_is_told(person: Person, snapshot: Snapshot) -> None:
    checks = "doctor audit pins  # 4"
    with person.here():
        person.state.mkdir(mode=0o700, parents=True)
        (person.state / "pipeguard.db").write_text("no database at all, " * 99)
        snapshot.commands("doctor-store-none", checks)
        (person.state / "pipeguard.db").unlink()
        with opened(person) as store:
            store.connection.execute("PRAGMA user_version = 99")
        snapshot.commands("doctor-store-newer", checks)
        shutil.rmtree(person.home / ".local")
        (person.home / ".local").write_text("in the way")
        snapshot.commands("doctor-state-in-the-way", checks)
    person.environment["PIPEGUARD_STATE_DIR"] = "/proc/sys"
    with person.here():
        snapshot.commands("doctor-state-read-only", checks)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a small disk in a namespace of its own")
def test_a_disk_without_room_for_a_store_is_told(person: Person) -> None:
    person.state.mkdir(mode=0o700, parents=True)
    mount = f"mount -t tmpfs -o size=64k,mode=700 none {shlex.quote(str(person.state))}"
    apart = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    if subprocess.run([*apart, mount], capture_output=True, check=False).returncode:
        pytest.skip("no namespaces here")
    done = run_command([*apart, f"{mount} && exec {shlex.join(RUN)} state"], env=person.environment)
    assert done.returncode == 4, done
    assert "cannot be written: no space left on device" in done.stdout
    assert "do:  Name a folder with some room in PIPEGUARD_STATE_DIR." in done.stdout


def test_a_store_that_is_damaged_inside_is_told(person: Person) -> None:
    with opened(person) as store:
        Audit(store, "RUN1", "weather", "").append_many([ENTRY] * 500)
        store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path = person.state / "pipeguard.db"
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 8192] = os.urandom(8192)
    path.write_bytes(content)
    result = person.examined("store")
    assert (result.code, result.of("store").state) == (4, "wrong")
    assert "malformed" in result.of("store").what or "damaged" in result.of("store").what
    path.unlink()
    path.mkdir()
    assert person.examined("store").code == 4, "nor is a folder in its place a store"


def test_what_is_kept_is_counted_and_changes_told(person: Person, snapshot: Snapshot) -> None:
    with opened(person) as store:
        Audit(store, "RUN1", "weather", "").append_many([ENTRY] * 3)
        store.remember("weather", [seen()])
        store.remember("weather\x1b[2J", [held()])
    with person.here():
        snapshot.commands("doctor-kept", "doctor audit pins\ndoctor audit pins --json")
        with closing(sqlite3.connect(person.state / "pipeguard.db")) as changed:
            changed.execute("UPDATE audit SET action = 'block' WHERE seq = 2")
            changed.commit()
        snapshot.commands("doctor-changed", "doctor audit  # 1")


def test_a_login_is_told_of_with_the_command_that_renews_it(person: Person) -> None:
    for login, code, state, fix in (
        (replace(LOGIN, expires_at=4e9), 0, "good", ""),
        (replace(LOGIN, expires_at=1.0), 1, "wrong", f"pipeguard auth login {URL}"),
        (replace(LOGIN, wanted="write"), 0, "note", f"pipeguard auth login {URL}"),
    ):
        keep(person, login, Secrets(TOKEN))
        result = person.examined("logins")
        assert (result.code, result.of("logins").state) == (code, state)
        assert result.of("logins").fix == fix
        assert TOKEN not in result.stdout
    (file,) = (person.state / "auth").glob("*.json")
    file.write_text("{")
    assert person.examined("logins").of("logins").state == "wrong"
    file.unlink()
    keep(person, replace(LOGIN, server=f"{URL}?key={TOKEN}", expires_at=1.0), Secrets(TOKEN))
    result = person.examined("logins")
    assert TOKEN not in result.stdout, "an address that has a secret is not shown"
    assert result.of("logins").fix == "pipeguard auth login notes"


def test_without_a_keyring_only_who_keeps_a_login_in_it_is_wrong(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = person.examined("keyring")
    assert (result.code, result.of("keyring").state) == (0, "note")
    monkeypatch.setenv("XDG_DATA_HOME", person.environment["XDG_DATA_HOME"])
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", KEYRING)
    monkeypatch.setattr(ring, "_chosen", False)
    keep(person, replace(LOGIN, place=Place.KEYRING), Secrets(TOKEN))
    result = person.examined("keyring")
    assert (result.code, result.of("keyring").state) == (1, "wrong")


def test_a_keyring_that_works_keeps_nothing_of_the_trial(person: Person) -> None:
    person.environment["PYTHON_KEYRING_BACKEND"] = KEYRING
    assert person.examined("keyring").of("keyring").state == "good"
    kept = [path for path in person.home.rglob("*keyring*") if path.is_file()]
    assert all("doctor" not in path.read_text() or "=" not in path.read_text() for path in kept)


class _Locked(KeyringBackend):
    """A keyring that waits for a person who is absent."""

    priority = -1.0  # so that the library never chooses it for another test
    unlocked = threading.Event()

    def __init__(self) -> None:
        """Skip the library's own, which has no types, and reads settings."""

    def get_password(self, service: str, username: str) -> str | None:
        self.unlocked.wait()
        return None

    def set_password(self, service: str, username: str, password: str) -> None:
        self.unlocked.wait()

    def delete_password(self, service: str, username: str) -> None:
        self.unlocked.wait()


def test_a_keyring_that_waits_for_a_person_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = _Locked()
    before = keyring.get_keyring()
    monkeypatch.setattr(ring, "_chosen", True)
    monkeypatch.setattr(keeping, "KEYRING_SECONDS", 0.2)
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path))
    keyring.set_keyring(locked)
    try:
        (told,) = keeping.keyring(Machine.here())
    finally:
        locked.unlocked.set()
        keyring.set_keyring(before)
    assert told.state is DiagnosisState.NOTE
    assert "did not answer" in told.what
