"""Observations as a file. isolation/learning/observed.py."""

import json
from pathlib import Path

import pytest

from pipeguard.errors import StateError
from pipeguard.isolation.learning.observed import (
    MAX_FILES,
    READ,
    WRITTEN,
    Observed,
    forget,
    learned_names,
    load,
    save,
)
from tests.each import each

NAMES = ["files", "a/b", "..", "ünï 🙂", "x" * 50]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def some() -> Observed:
    return Observed(5, "npm:x", {"/a": READ}, ["h", "h:22"], [3], is_cut=True)


@each("name", NAMES[:2] + NAMES[3:])
def test_what_is_saved_is_loaded(name: str, state: Path) -> None:
    save(name, some())
    found = load(name)
    assert found is not None
    (file,) = (state / "learned").glob("*.json")
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    found.last = 5
    assert found == some()
    assert list(learned_names()) == [name]
    assert [path.parent for path in state.rglob("*.json")] == [state / "learned"]
    forget(name)
    assert load(name) is None
    forget(name)


def test_a_name_leads_to_no_other_folder() -> None:
    with pytest.raises(StateError, match="not a valid name for learning"):
        save("..", some())
    with pytest.raises(StateError, match="not a valid name for learning"):
        save("x" * 300, some())


def test_nothing_is_there_before_something_was_learned(state: Path) -> None:
    assert list(learned_names()) == []
    assert load("files") is None
    assert not (state / "learned").exists()


def test_the_most_that_was_done_counts() -> None:
    seen = Observed()
    for use in (READ, WRITTEN, READ):
        seen.add_file("/a", use)
    assert seen.files == {"/a": WRITTEN}


@each(
    "change",
    [
        *({"version": 2}, {"last": "1"}, {"package": None}, {"files": []}, {"hosts": [1]}),
        *({"files": {"no": READ}}, {"files": {"/a": "eaten"}}, {"hosts": {"h": ["x"]}}),
        {"loopback": ["x"]},
    ],
)
def test_a_file_that_we_did_not_write_is_an_error(state: Path, change: dict[str, object]) -> None:
    save("files", some())
    file = state / "learned" / "files.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(StateError, match="isolate forget files"):
        load("files")


def test_what_is_full_can_still_be_read() -> None:
    seen = Observed()
    for number in range(MAX_FILES):
        seen.add_file("/" + f"{number:06}" + "\udc80" * 160, READ)
    assert not seen.is_cut
    for path in ("/" + "x" * 2000, "/more"):
        seen.is_cut = False
        seen.add_file(path, READ)
        assert seen.is_cut
    save("files", seen)
    found = load("files")
    assert found is not None
    assert len(found.files) == MAX_FILES
