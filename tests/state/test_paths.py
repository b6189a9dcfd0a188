"""The state folder: whose it is, and who may write there."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pipeguard.config.options import WrapOptions
from pipeguard.detect.commands import OWN_NAMES
from pipeguard.detect.commands.argument_usage import Uses
from pipeguard.detect.commands.effects import find_effects
from pipeguard.detect.text.document import MessageText
from pipeguard.errors import StateError
from pipeguard.state.paths import (
    STATE_DIR_VARIABLE,
    existing_store,
    note_own_paths,
    state_folder,
    store_path,
)
from pipeguard.state.store import open_store
from tests.people import share

posix = pytest.mark.skipif(os.name != "posix", reason="rights of POSIX files")


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


def test_the_lines_of_a_call_name_its_files_wherever_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATE_DIR_VARIABLE, str(tmp_path / "my state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "a"))
    before = set(OWN_NAMES)
    (policy := tmp_path / "my.yaml").touch()
    given = {"--policy": str(policy), "--record": "/p/r"}
    note_own_paths(WrapOptions(["npx", str(tmp_path / "a")], given, {}, []))
    for path, is_own in (
        (f"{tmp_path}/my state/pipeguard.db", True),
        (f"{tmp_path}/a/pipeguard/rules", True),
        ("pipeguard/rules", True),  # where the server was started
        (f"{tmp_path}/my.yaml", True),
        ("/p/r/a-R1.jsonl", True),
        (f"{sys.prefix}/bin/pipeguard", True),
        ("src/pipeguard/rules", False),
        (f"{tmp_path}/my state", True),
    ):
        text = MessageText({"params": {"arguments": {"path": path}}}, keyed=True)
        effects, _ = find_effects(Uses(text, "write_file"))
        assert any(b"\nOWN " in effect.data for effect in effects) is is_own, path
    OWN_NAMES.clear()
    OWN_NAMES.update(before)


@posix
@pytest.mark.parametrize("mode", [0o770, 0o777, 0o1777, 0o702])
def test_a_folder_that_others_may_write_is_refused_and_the_command_fixes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    folder = tmp_path / "it's mine"
    folder.mkdir()
    share(folder)
    folder.chmod(mode)
    link = tmp_path / "link"
    link.symlink_to(folder)
    for name in (folder, link):
        monkeypatch.setenv(STATE_DIR_VARIABLE, str(name))
        with pytest.raises(StateError, match="prove nothing"):
            state_folder()
    with pytest.raises(StateError) as refused:
        state_folder()
    command = str(refused.value).partition("Close it:")[2]
    subprocess.run(["sh", "-c", command], check=True)
    assert state_folder() == link


@posix
@pytest.mark.parametrize("mode", [0o700, 0o750, 0o755])
def test_a_folder_that_others_may_only_read_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    tmp_path.chmod(mode)
    monkeypatch.setenv(STATE_DIR_VARIABLE, str(tmp_path))
    assert state_folder() == tmp_path


@posix
def test_a_folder_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATE_DIR_VARIABLE, str(tmp_path))
    tmp_path.chmod(0o700)
    status = list(tmp_path.stat())
    status[4] = os.geteuid() + 1
    monkeypatch.setattr(os, "stat", lambda _: os.stat_result(status))
    with pytest.raises(StateError, match=r"another user[^\n]*\n[^\n]*chown"):
        state_folder()


@posix
@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_a_store_that_others_could_have_written_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "pipeguard.db"
    with open_store(path):
        part = Path(f"{path}{suffix}")
        share(part)
        part.chmod(0o660)
        with pytest.raises(StateError, match="chmod go-w"):
            open_store(path)
        part.chmod(0o644)
        open_store(path).close()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_folder_that_cannot_be_made_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(STATE_DIR_VARIABLE, str(tmp_path / "file" / "state"))
    with pytest.raises(StateError, match=STATE_DIR_VARIABLE):
        state_folder()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="folders by XDG")
@pytest.mark.parametrize("home", [None, ".", "relative"])
def test_without_a_home_nothing_of_the_current_folder_is_believed(
    tmp_path: Path, home: str | None
) -> None:
    """A container may run as a user that has no entry and no HOME; a clone may hold a `~`."""
    tmp_path.chmod(0o777)
    for planted in ("~", ".", "relative"):
        policy = tmp_path / planted / ".config" / "pipeguard" / "policy.yaml"
        policy.parent.mkdir(parents=True)
        policy.write_text("mode: observe\n")
    asked = (
        "from pipeguard.config.directories import cache_folder, config_folder, usual_state_folder\n"
        "for ask in (cache_folder, config_folder, usual_state_folder):\n"
        "    try:\n        print(ask())\n"
        "    except Exception as error:\n"
        "        print(type(error).__name__, 'HOME=' in str(error))\n"
    )
    environment = {"PATH": os.environ["PATH"]} | ({} if home is None else {"HOME": home})
    becomes = "import os, pwd\npwd.getpwuid = {}.__getitem__\n"  # nobody has an entry
    command = [sys.executable, "-c", becomes + asked]
    told = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert told.stdout.decode().splitlines() == ["StateError True"] * 3


def test_a_folder_that_cannot_be_read_is_an_error_of_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setenv(STATE_DIR_VARIABLE, str(tmp_path))
    monkeypatch.setattr(Path, "exists", refuse)
    with pytest.raises(StateError, match="cannot be read: Permission denied"):
        existing_store()
