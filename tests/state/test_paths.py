"""The state folder: whose it is, and who may write there."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pipeguard.errors import StateError
from pipeguard.state.paths import STATE_DIR_VARIABLE, state_folder, store_path


def test_the_folder_is_made_for_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATE_DIR_VARIABLE, str(tmp_path / "a" / "b"))
    assert state_folder() == tmp_path / "a" / "b"
    assert stat.S_IMODE(state_folder().stat().st_mode) == 0o700
    assert store_path().parent == state_folder()


def test_without_a_choice_it_is_the_systems_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(STATE_DIR_VARIABLE, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert state_folder().name == "pipeguard"
    assert tmp_path in state_folder().parents


def test_a_folder_that_everybody_may_write_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATE_DIR_VARIABLE, str(tmp_path))
    tmp_path.chmod(0o777)
    with pytest.raises(StateError, match="chmod go-w"):
        state_folder()


def test_a_folder_that_cannot_be_made_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(STATE_DIR_VARIABLE, str(tmp_path / "file" / "state"))
    with pytest.raises(StateError, match=STATE_DIR_VARIABLE):
        state_folder()
