"""The checks of pins, of the audit, and of the store that holds both."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeguard import Direction, Frame, Policy, Session, make_guard
from pipeguard.assess.assessing import assess, report
from pipeguard.assess.target import Contents, make_key
from pipeguard.cli import cli
from pipeguard.identity.server_name import identify_server
from pipeguard.log import Log
from pipeguard.state.recorder import Recorder
from pipeguard.state.store import open_store
from tests.assess.places import machine, of
from tests.fuzz.rulebook import engines
from tests.people import give_token

SERVERS = {"one": {"command": "srv", "args": []}}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder / "pipeguard.db"


def test_a_machine_without_a_store_has_none_afterwards(tmp_path: Path) -> None:
    assess(machine(tmp_path, SERVERS))
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(("entry", "done"), [("b", "Approved b/t"), ("other", "Forgotten b/t")])
def test_what_waits_and_what_nobody_reviewed_until_its_fix_is_run(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch, entry: str, done: str
) -> None:
    with open_store(store) as opened:
        opened.connection.execute(
            "INSERT INTO pins (server, kind, name, approved, approved_fingerprint, approved_at,"
            " held, held_fingerprint, held_at, reason) VALUES"
            " ('a', 'tool', 't', '{}', 'f', '', '{}', 'g', '', 'drift: wording'),"
            """ ('b', 'tool', 't', '{"name": "t"}', 'f', '', NULL, NULL, '', '')"""
        )
    guarded = {"command": "pipeguard", "args": ["wrap", "--name", entry, "--", "srv"]}
    target = machine(tmp_path, {entry: guarded})
    assert [one.fix for one in of(target, "definition-waits")] == [("pipeguard", "diff", "a")]
    (found,) = of(target, "pins-never-reviewed")
    give_token(monkeypatch)
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(store.parent))
    result = CliRunner().invoke(cli, [*found.fix[1:], "--yes"])
    assert (result.exit_code, done in result.output) == (0, True), result.output
    assert of(machine(tmp_path, {entry: guarded}), "pins-never-reviewed") == []


@pytest.mark.parametrize("is_started", [False, True])
def test_a_server_that_was_started_and_showed_nothing_is_not_to_be_started_once(
    tmp_path: Path, store: Path, *, is_started: bool
) -> None:
    guarded = {"command": "pipeguard", "args": ["wrap", "--name", "one", "--", "srv"]}
    with open_store(store) as opened:
        if is_started:
            opened.name_server("one", identify_server(["srv"]))
    target = machine(tmp_path, {"one": guarded})
    (found,) = of(target, "pins-missing")
    assert found.fix == (("pipeguard", "assess", "--connect") if is_started else ())
    assert "--connect" in report("table", assess(target))
    asked = replace(target, contents={make_key(target.servers[0]): Contents("It hung up.")})
    assert "--connect" not in report("table", assess(asked)), "it says why already"
    assert ("was started" in found.message) is is_started


def test_an_audit_that_is_whole_and_one_that_is_not(tmp_path: Path, store: Path) -> None:
    recorder = Recorder(str(store), "a", "RUN", log=Log("off", None))
    session = Session(make_guard("a", engines(), Policy(), {}), "RUN")
    frame = b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}'
    for now in (0.0, 1.0):
        recorder.record(session.take(Frame(Direction.TO_SERVER, frame, now)))
    recorder.close()
    target = machine(tmp_path, SERVERS)
    assert of(target, "audit-broken") == []
    with sqlite3.connect(store) as connection:
        connection.execute("UPDATE audit SET method = 'tools/call'")
    connection.close()
    (found,) = of(target, "audit-broken")
    assert found.message == "RUN: row 1 was changed or moved, and 1 more problem."


def test_a_store_that_is_damaged(tmp_path: Path, store: Path) -> None:
    store.write_bytes(b"no database at all" * 100)
    assert len(of(machine(tmp_path, SERVERS), "store-unreadable")) == 1
