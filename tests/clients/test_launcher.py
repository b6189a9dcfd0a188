"""The path written into a client's file: absolute, and valid after the next upgrade."""

import sys
import tempfile
from pathlib import Path

import pytest

from pipeguard.clients import launcher as module
from pipeguard.clients.launcher import LauncherError, isolate_launcher, launcher, unstable
from pipeguard.installation import INSTALL
from tests.files import write_program


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide all temporary folders but this one, and Pythons with a pipeguard next to them."""
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    monkeypatch.setattr(module, "_TEMPORARY", ())
    monkeypatch.setattr(sys, "executable", str(write_program(tmp_path / "usr/bin/python3")))
    monkeypatch.setattr(sys, "argv", ["pytest"])


def test_the_link_is_written_and_not_what_it_leads_to(tmp_path: Path) -> None:
    real = write_program(tmp_path / "share/pipx/venvs/mcp-pipeguard/bin/pipeguard")
    link = tmp_path / "bin" / "pipeguard"
    link.parent.mkdir()
    link.symlink_to(real)
    assert launcher(None, {"PATH": str(link.parent)}) == (str(link),)


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("tmp/x/bin/pipeguard", "temporary"),
        (".cache/uv/archive-v0/abc/bin/pipeguard", "cache"),
        (".pyenv/versions/3.12.1/bin/pipeguard", "one version"),
        ("app/.venv/bin/pipeguard", "virtual environment"),
    ],
)
def test_a_path_that_will_not_last_is_not_written(tmp_path: Path, place: str, why: str) -> None:
    path = write_program(tmp_path / place)
    (tmp_path / "app" / ".venv").mkdir(parents=True, exist_ok=True)
    (tmp_path / "app" / ".venv" / "pyvenv.cfg").touch()
    assert why in unstable(path)
    python = (str(tmp_path / "usr/bin/python3"), "-I", "-m", "pipeguard")
    assert launcher(None, {"PATH": str(path.parent)}) == python
    assert launcher(str(path), {}) == (str(path),)  # a person said so


@pytest.mark.parametrize("kept", ["pipx/venvs", "uv/tools", "share/pipeguard"])
def test_the_environment_of_a_tool_lasts(tmp_path: Path, kept: str) -> None:
    path = write_program(tmp_path / kept / "bin" / "pipeguard")
    (path.parent.parent / "pyvenv.cfg").touch()
    assert unstable(path) == ""


def test_where_nothing_lasts_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(write_program(tmp_path / "tmp/v/bin/python")))
    path = write_program(tmp_path / "tmp/v/bin/pipeguard")
    with pytest.raises(LauncherError, match="temporary folder") as told:
        launcher(None, {"PATH": str(path.parent)})
    assert "--launcher PATH" in str(told.value)
    assert INSTALL in str(told.value)


def test_in_a_home_that_is_temporary_the_files_last_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "tmp/home"))
    path = write_program(tmp_path / "tmp/home/.local/bin/pipeguard")
    assert launcher(None, {"PATH": str(path.parent)}) == (str(path),)
    other = write_program(tmp_path / "tmp/other/bin/pipeguard")
    assert str(other) not in launcher(None, {"PATH": str(other.parent)})


def test_a_launcher_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LauncherError, match="is not a program"):
        launcher(str(tmp_path), {})


@pytest.mark.parametrize(
    "head", ["#!{python}\n", "#!/bin/sh\n'''exec' '{python}' \"$0\" \"$@\"\n' '''\n"]
)
def test_a_console_script_is_started_by_its_own_interpreter(head: str, tmp_path: Path) -> None:
    python = write_program(tmp_path / "a b" / "python")
    script = write_program(tmp_path / "pipeguard")
    script.write_text(head.format(python=python))
    words = (str(python), "-E", "-P", "-m", "pipeguard")
    assert isolate_launcher([str(script)]) == words
    assert isolate_launcher(words) == words


@pytest.mark.parametrize("content", [b"#!/bin/sh\nexec true\n", b"\x7fELF", b"", b"#!python\n"])
def test_what_is_no_console_script_is_started_as_it_is(content: bytes, tmp_path: Path) -> None:
    script = write_program(tmp_path / "pipeguard")
    script.write_bytes(content)
    assert isolate_launcher([str(script)]) == (str(script),)
    assert isolate_launcher(["pipeguard"]) == ("pipeguard",)


def test_a_file_in_the_folder_says_nothing_about_a_name_on_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = write_program(tmp_path / "project" / "pipeguard")
    script.write_text(f"#!{write_program(tmp_path / 'project' / 'python3')}\n")
    monkeypatch.chdir(script.parent)
    assert isolate_launcher(["pipeguard"]) == ("pipeguard",)
