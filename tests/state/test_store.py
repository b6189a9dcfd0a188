"""Pins on disk: trusted, held, approved, and shared by processes."""

import os
import sqlite3
import stat
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from pipeguard.errors import StateError
from pipeguard.firewall.pins.fingerprint import Pin
from pipeguard.identity.server_name import Launched, identify_server
from pipeguard.state import database
from pipeguard.state.pins import Store
from pipeguard.state.store import open_store
from pipeguard.state.timestamps import utc_text
from tests.commands import run_command
from tests.state.samples import FORECAST, POISONED, decide_all, held, seen

ROOT = Path(__file__).parents[2]
TOOL = ("tool", "get_forecast")
OTHER = {"name": "other", "description": "x"}


def test_first_use_is_trusted_and_outlives_the_process(store: Store, path: Path) -> None:
    store.remember("weather", [seen()])
    with open_store(path) as again:
        pin = again.pins("weather")[TOOL]
        assert again.servers() == ("weather",)
    assert pin == Pin(*TOOL, seen().definition, seen().fingerprint, None, None, "")
    assert pin.approved_at.endswith("Z")


def test_a_drift_is_held_beside_what_is_trusted(store: Store) -> None:
    store.remember("weather", [seen()])
    store.remember("weather", [held()])
    pin = store.pins("weather")[TOOL]
    definitions = seen().definition, held().definition
    assert (pin.approved_definition, pin.held_definition) == definitions
    assert pin.reason == "drift: wording"


def test_the_newest_definition_is_the_one_that_is_held(store: Store) -> None:
    newest = held({"name": "get_forecast", "description": "Third."}, reason="review")
    store.remember("weather", [held(), newest])
    pin = store.pins("weather")[TOOL]
    assert (pin.held_definition, pin.reason) == (newest.definition, "review")
    assert pin.approved_definition is None


def test_first_use_never_replaces_what_another_session_pinned(store: Store) -> None:
    store.remember("weather", [seen(FORECAST)])
    store.remember("weather", [seen(POISONED)])
    pin = store.pins("weather")[TOOL]
    assert pin.approved_definition == seen(FORECAST).definition
    assert pin.held_definition == seen(POISONED).definition
    assert "another session" in pin.reason


def test_what_goes_back_to_the_approved_words_is_held_no_more(store: Store) -> None:
    store.remember("weather", [seen()])
    since = store.pins("weather")[TOOL].approved_at
    store.remember("weather", [held(), seen()])
    pin = store.pins("weather")[TOOL]
    assert (pin.held_definition, pin.approved_at) == (None, since)


def test_what_a_person_approved_meanwhile_is_not_held_again(store: Store) -> None:
    store.remember("weather", [seen(), held()])
    store.approve("weather", store.pins("weather")[TOOL])
    store.remember("weather", [held()])
    assert store.pins("weather")[TOOL].held_definition is None


def test_approval_trusts_what_is_held(store: Store) -> None:
    store.remember("weather", [seen(), held(), seen(kind="prompt")])
    assert decide_all(store.approve, store, "weather") == 1
    approved = Pin(*TOOL, held().definition, held().fingerprint, None, None, "")
    assert store.pins("weather")[TOOL] == approved
    assert not store.approve("weather", approved)


def test_a_first_sight_waits_for_a_run_under_review_until_a_person_decides(store: Store) -> None:
    store.remember("weather", [seen(), seen(kind="prompt"), held(OTHER)])
    store.remember("pages", [seen(kind="content")])
    for server in ("weather", "pages"):
        store.hold_unreviewed(server)
    assert not any(pin.waits for pin in store.pins("pages").values()), "its definition was approved"
    store.remember("weather", [seen()])  # a run without review does not end the wait
    first = store.pins("weather")
    waiting = {seen().fingerprint, held(OTHER).fingerprint}
    assert {pin.held_fingerprint for pin in first.values()} == waiting
    assert not any(pin.is_reviewed for pin in first.values())
    assert store.approve("weather", first[TOOL])
    assert store.reject("weather", first["prompt", "get_forecast"])
    store.hold_unreviewed("weather")
    pins = store.pins("weather")
    assert [key for key, pin in pins.items() if pin.waits] == [("tool", "other")]
    assert (pins[TOOL].held_fingerprint, bool(pins[TOOL].is_reviewed)) == (None, True)


def test_only_what_was_shown_is_approved(store: Store) -> None:
    store.remember("weather", [held()])
    shown = store.pins("weather")[TOOL]
    store.remember("weather", [held({"name": "get_forecast", "description": "Swapped."})])
    assert not store.approve("weather", shown)
    assert not store.reject("weather", shown)
    assert store.pins("weather")[TOOL].approved_definition is None


def test_what_was_rejected_waits_again_only_once_it_is_changed_or_forgotten(store: Store) -> None:
    store.remember("weather", [seen(), held(), held(OTHER)])
    assert decide_all(store.reject, store, "weather") == 2
    store.remember("weather", [held(), held(OTHER)])
    pins = store.pins("weather")
    assert [pin.is_rejected for pin in pins.values()] == [True, True]
    assert pins[TOOL].approved_definition is not None
    store.forget("weather", "tool", "other")
    store.remember("weather", [held(OTHER), held({"name": "get_forecast", "description": "x"})])
    assert [pin.waits for pin in store.pins("weather").values()] == [True, True]


def test_what_is_forgotten_is_seen_for_the_first_time_again(store: Store) -> None:
    store.remember("weather", [seen()])
    assert store.forget("weather", *TOOL)
    store.remember("weather", [seen(POISONED)])
    assert store.pins("weather")[TOOL].approved_definition == seen(POISONED).definition


def test_a_failed_transaction_changes_nothing(store: Store) -> None:
    def two_steps() -> None:
        with store.transaction():
            store.remember("weather", [seen()])
            raise LookupError

    with pytest.raises(LookupError):
        two_steps()
    assert store.pins("weather") == {}


def test_the_counter_moves_when_another_connection_writes(store: Store, path: Path) -> None:
    before = store.change_counter()
    store.remember("weather", [seen()])
    assert store.change_counter() == before
    with open_store(path) as other:
        other.remember("weather", [held()])
    assert store.change_counter() != before


def test_the_file_and_its_journal_are_the_owners_alone(store: Store, path: Path) -> None:
    store.remember("weather", [seen()])
    files = list(path.parent.iterdir())
    assert len(files) == 3
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_file_that_others_could_read_is_closed_to_them(path: Path) -> None:
    path.touch(0o644)
    path.chmod(0o644)
    open_store(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_of_a_newer_version_is_left_alone(path: Path) -> None:
    open_store(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StateError, match="another version"):
        open_store(path)


@pytest.mark.skipif(os.name != "posix", reason="the command is one of a POSIX shell")
def test_a_file_that_is_no_store_is_told_with_the_command_that_moves_it(path: Path) -> None:
    for part in (path, Path(f"{path}-wal")):
        part.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StateError, match="Move it away:  ") as told:
        open_store(path)
    subprocess.run(str(told.value).rpartition(":  ")[2], shell=True, check=True)  # noqa: S602  as a person does
    with open_store(path) as store:
        assert store.servers() == ()
    left = [file.read_bytes() for file in path.parent.iterdir() if file.is_file()]
    assert not any(b"not a database" in content for content in left)
    assert Path(f"{path}.damaged", path.name).exists()


def test_a_damaged_store_is_told(store: Store, path: Path) -> None:
    store.remember("weather", [seen()])
    store.close()
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 60_000)
    with pytest.raises(StateError, match=r"pipeguard\.db"), open_store(path) as damaged:
        damaged.pins("weather")


def test_a_place_without_a_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="PIPEGUARD_STATE_DIR"):
        open_store(tmp_path / "absent" / "pipeguard.db")


def test_a_locked_store_is_told(store: Store, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    with open_store(path) as second, store.transaction():
        store.remember("weather", [seen()])
        with pytest.raises(StateError, match="has it locked"):
            second.remember("weather", [seen()])


@pytest.mark.parametrize(
    ("hours", "text"), [(0, "2026-03-02T10:00:00.120Z"), (2, "2026-03-02T08:00:00.120Z")]
)
def test_a_moment_is_kept_in_one_spelling_of_utc(hours: int, text: str) -> None:
    zone = timezone(timedelta(hours=hours))
    assert utc_text(datetime(2026, 3, 2, 10, 0, 0, 120_999, zone)) == text


# --- who has a name ---------------------------------------------------------------------

ONE, TWO = (identify_server(["npx", "-y", f"@{who}/mcp-x"]) for who in ("one", "two"))


def test_a_name_is_that_of_the_first_and_another_is_kept_beside_it(store: Store) -> None:
    assert (store.name_server("x", ONE), store.find_namesake("x")) == ("x", None)
    other = store.name_server("x", TWO)
    namesake = store.find_namesake(other)
    assert namesake is not None
    assert (other[:2], len(other), namesake[:2]) == ("x-", 8, ("x", "npm @one/mcp-x"))
    assert namesake.since.startswith("20")
    assert store.name_server("x", identify_server(["bunx", "@one/mcp-x@2"])) == "x"
    assert store.name_server("x", TWO) == other
    assert store.name_server("y", TWO) == "y"


def test_a_server_without_a_requested_name_has_its_only_stored_one(store: Store) -> None:
    assert store.name_server("", ONE, register=False) == ONE.name
    store.name_server("mine", ONE)
    assert store.name_server("", ONE) == "mine"
    assert store.name_server("", TWO) == TWO.name
    store.name_server("yours", ONE)
    assert store.name_server("", ONE) not in ("mine", "yours")


def test_pins_without_a_command_are_taken_over_by_the_first(store: Store) -> None:
    store.remember("weather", [seen()])
    assert store.name_server("weather", ONE) == "weather"
    assert store.name_server("weather", TWO) != "weather"
    assert TOOL in store.pins("weather")


def test_what_is_only_looked_up_is_not_kept(store: Store) -> None:
    assert store.name_server("x", ONE, register=False) == "x"
    assert store.name_server("x", TWO) == "x"


def test_a_name_that_was_made_up_for_another_is_not_given_twice(store: Store) -> None:
    store.name_server("x", ONE)
    made = store.name_server("x", TWO)
    assert store.name_server(made, ONE) not in ("x", made)


def test_a_name_is_free_once_nothing_is_kept_of_its_server(store: Store) -> None:
    store.name_server("weather", ONE)
    store.remember("weather", [seen()])
    assert not store.forget("weather", "tool", "nothing")
    assert store.name_server("weather", TWO) != "weather"
    store.forget("weather", *TOOL)
    three = identify_server(["uvx", "mcp-x"])
    assert store.name_server("weather", three) == "weather"


def test_a_launch_is_forgotten_and_pins_stay(store: Store) -> None:
    store.name_server("weather", ONE)
    store.remember("weather", [seen()])
    store.name_server("weather", TWO)
    assert store.release_name("weather") == ("npm @one/mcp-x", "npm @two/mcp-x")
    assert store.name_server("weather", TWO) == "weather"
    assert TOOL in store.pins("weather")


def test_what_is_launched_is_kept_as_a_hash(store: Store, path: Path) -> None:
    store.name_server("x", Launched("x", "url\nhost/with-a-key-in-it", "url host"))
    store.close()
    assert all(b"with-a-key" not in file.read_bytes() for file in path.parent.iterdir())


FULL = """
mount -t tmpfs -o size=260k none "$1" && mkdir -m 700 "$1/state" "$1/policy" || exit 100
export PIPEGUARD_STATE_DIR="$1/state" PIPEGUARD_POLICY="$1/policy/policy.yaml"
"$2" -E -P -m pipeguard audit list
dd if=/dev/zero of="$1/fill" bs=1k count=1000 status=none
for words in "audit list" "policy init"; do "$2" -E -P -m pipeguard $words; done
rm "$1"/state/*
"$2" -E -P -m pipeguard audit list
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it takes namespaces of Linux")
def test_a_full_disk_is_called_full_whatever_is_written_first(tmp_path: Path) -> None:
    """SQLite calls some writes that find no room `disk I/O error`."""
    words = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", FULL, "sh")
    done = run_command([*words, str(tmp_path), sys.executable])
    if done.returncode == 100 or "unshare failed" in done.stderr:
        pytest.skip("no user may mount here")
    failed = done.stderr.split("pipeguard: ")[1:]
    assert len(failed) == 3, done.stderr
    assert [each for each in failed if "The disk is full: free some space" not in each] == []
