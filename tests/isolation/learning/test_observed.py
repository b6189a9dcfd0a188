"""What was seen, as a file. isolation/learning/observed.py, names.py."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeguard.errors import StateError
from pipeguard.isolation.learning.observed import (
    MAX_FILES,
    MAX_HOSTS,
    READ,
    WRITTEN,
    Observed,
    forget,
    learned_names,
    load,
    save_more,
)
from pipeguard.isolation.learning.tracer import _HostNames
from tests.each import each

NAMES = ["files", "a/b", "..", "ünï 🙂", "x" * 50]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def some() -> Observed:
    return Observed(
        1, 5, "npm:x", {"/a": READ}, {"h": {1, 2}}, {"n"}, {3}, {4}, {"/run/s"}, is_cut=True
    )


@each("name", NAMES[:2] + NAMES[3:])
def test_what_is_saved_is_loaded(name: str, state: Path) -> None:
    save_more(name, some())
    found = load(name)
    assert found is not None
    found.last = 5
    assert found == some()
    assert list(learned_names()) == [name]
    assert [path.parent for path in state.rglob("*.json")] == [state / "learned"]
    assert forget(name)
    assert load(name) is None
    assert not forget(name)


def test_a_name_leads_to_no_other_folder() -> None:
    with pytest.raises(StateError, match="not a valid name for learning"):
        save_more("..", some())
    with pytest.raises(StateError, match="not a valid name for learning"):
        save_more("x" * 300, some())


def test_nothing_is_there_before_something_was_learned(state: Path) -> None:
    assert list(learned_names()) == []
    assert load("files") is None
    assert not (state / "learned").exists()


def test_the_most_that_was_done_counts() -> None:
    seen = Observed()
    for use in (READ, WRITTEN, READ):
        seen.add_file("/a", use)
    assert seen.files == {"/a": WRITTEN}


def test_there_is_room_for_so_much_and_no_more() -> None:
    seen = Observed()
    for number in range(MAX_FILES):
        seen.add_file(f"/{number}", READ)
    for number in range(MAX_HOSTS):
        seen.add_host(f"{number}.example", 443)
    seen.add_file("/0", WRITTEN)
    seen.add_host("0.example", 80)
    whole = replace(seen, files=dict(seen.files), hosts=dict(seen.hosts))
    seen.add_file("/more", READ)
    whole.add_host("more.example", 443)
    assert (seen.is_cut, whole.is_cut) == (True, True)
    assert (len(seen.files), len(whole.hosts)) == (MAX_FILES, MAX_HOSTS)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"runs": "1"},
        {"files": {"relative": READ}},
        {"files": {"/a": "eaten"}},
        {"hosts": {"h": ["x"]}},
        {"loopback": 1},
        {"cut": 0},
    ],
)
def test_a_file_that_we_did_not_write_is_an_error(state: Path, change: dict[str, object]) -> None:
    save_more("files", some())
    file = state / "learned" / "files.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(StateError, match="isolate forget files"):
        load("files")


def test_an_address_gets_the_name_that_was_asked_for() -> None:
    known = {"api.example.com": ["198.51.100.1"], "other.example": ["198.51.100.2"]}
    names = _HostNames(known.__getitem__)
    for name in ("api.example.com", "API.example.com.", "host", "1.0.0.127.in-addr.arpa", "a b"):
        names.take_question(name)
    names.take_connection("198.51.100.1", 443)
    names.take_connection("198.51.100.9", 22)
    seen = Observed()
    names.settle(seen, is_end=True)
    assert seen.hosts == {"api.example.com": {443}, "198.51.100.9": {22}}
    assert seen.names == {"api.example.com"}


def test_what_is_full_can_still_be_read() -> None:
    seen = Observed()
    for number in range(MAX_FILES):
        seen.add_file("/" + f"{number:06}" + "\udc80" * 160, READ)
    seen.add_file("/" + "x" * 2000, READ)
    assert seen.is_cut
    save_more("files", seen)
    found = load("files")
    assert found is not None
    assert len(found.files) == MAX_FILES
