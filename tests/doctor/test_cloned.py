"""A freshly cloned folder: typing our commands in it runs nothing from it."""

import json
import os
import sys
from pathlib import Path

import pytest

from pipeguard.clients.launcher import launcher, programs
from pipeguard.doctor.installation import read_version
from pipeguard.version import VERSION
from tests.clients.test_sharing import pipeguard
from tests.files import write_file, write_program

pytestmark = pytest.mark.skipif(os.name != "posix", reason="scripts with a shebang")
PROGRAMS = (
    *("git", "sh", "bash", "env", "npx", "npm", "node", "python", "python3", "uv", "uvx", "cc"),
    *("gcc", "ld", "ldconfig", "uname", "file", "which", "xdg-open", "xdg-settings", "open"),
    *("security", "dbus-launch", "ssh", "gpg", "less", "vi", "pipeguard", "srv", "ip", "tput"),
)
# A module that stands in a current folder is found before all others, unless we see to it.
MODULES = ("json", "yaml", "click", "sitecustomize", "usercustomize", "keyring", "platform", "git")
VERBS = (
    ["doctor"],
    ["assess", "."],
    ["setup", "--check"],
    ["setup", "--all", "--yes", "--scope", "all", "--launcher", "/bin/true"],
    ["setup", "--undo", "--all", "--yes", "--scope", "all"],
    ["scan", "mcp.json"],
)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Make a folder full of programs, modules and settings that would leave a canary."""
    root = tmp_path / "clone"
    canary = f"echo $0 >> '{tmp_path / 'canary'}'\n"
    for name in PROGRAMS:
        for folder in (root, root / "node_modules" / ".bin"):
            text = f"#!/bin/sh\n{canary}echo pipeguard, version {VERSION}\n"
            write_program(folder / name, text)
    spoiled = f"open({str(tmp_path / 'canary')!r}, 'a').write(__file__ + chr(10))\n"
    for name in MODULES:
        (root / f"{name}.py").write_text(spoiled)
    for package in ("pipeguard", "mcp"):
        inner = root / "lib" / package
        inner.mkdir(parents=True)
        (inner / "__init__.py").write_text(spoiled)
        (inner / "__main__.py").write_text(spoiled)
    (root / ".npmrc").write_text("script-shell=./sh\nnode-options=--require ./evil.js\n")
    (root / "package.json").write_text('{"scripts": {"preinstall": "./sh"}, "bin": "./sh"}')
    (root / "pyproject.toml").write_text('[tool.uv]\nindex-url = "file:///nowhere"\n')
    servers = json.dumps({"mcpServers": {"one": {"command": "./srv"}, "two": {"command": "srv"}}})
    for name in (".mcp.json", "mcp.json", ".cursor/mcp.json", ".vscode/mcp.json"):
        write_file(root / name, servers)
    return root


def guarded(home: Path, *launcher: str) -> None:
    """A server in a file of the user's own, guarded by these words."""
    file = home / ".cursor" / "mcp.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    words = [*launcher, "wrap", "--", "srv"]
    entry = {"command": words[0], "args": words[1:]}
    file.write_text(json.dumps({"mcpServers": {"mine": entry}}))


def test_no_command_runs_what_is_in_a_clone(tmp_path: Path, clone: Path) -> None:
    home, canary = tmp_path / "home", tmp_path / "canary"
    home.mkdir()
    guarded(home, "pipeguard")
    variables = {name: str(clone / "less") for name in ("PAGER", "GIT_PAGER", "EDITOR", "BROWSER")}
    variables |= {"PYTHONPATH": "", "GIT_DIR": str(clone), "GIT_EXTERNAL_DIFF": str(clone / "git")}
    relative = (".", "", "node_modules/.bin", os.environ["PATH"])
    for verb in VERBS:
        # `doctor` asks the launcher on PATH for its version; the others look for no program.
        places = relative if verb == ["doctor"] else (str(clone), *relative)
        variables["PATH"] = os.pathsep.join(places)
        pipeguard(*verb, cwd=clone, home=home, **variables)
        assert not canary.exists(), (verb, canary.read_text())


@pytest.mark.parametrize(
    "words",
    [("pipeguard",), ("python3", "-m", "pipeguard"), ("./pipeguard",), ("npx", "pipeguard")],
    ids=" ".join,
)
def test_a_launcher_is_not_taken_from_the_current_folder(
    tmp_path: Path, clone: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").mkdir()
    (clone / "lib/pipeguard").rename(clone / "sub")
    (clone / "pipeguard").unlink()
    (clone / "sub").rename(clone / "pipeguard")
    monkeypatch.chdir(clone)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", os.pathsep.join((".", "", "node_modules/.bin", "/usr/bin", "/bin")))
    assert read_version(words) == ""
    assert not (tmp_path / "canary").exists()


def test_an_installed_launcher_says_its_version(
    tmp_path: Path, clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"#!/bin/sh\necho pipeguard, version {VERSION}\n"
    there = write_program(tmp_path / "bin" / "pipeguard", text)
    monkeypatch.chdir(clone)
    monkeypatch.setenv("PATH", os.pathsep.join((".", str(there.parent), "/usr/bin", "/bin")))
    assert read_version(("pipeguard",)) == VERSION
    assert read_version((str(there),)) == VERSION
    assert read_version((sys.executable, "-I", "-m", "pipeguard")) == VERSION
    assert not (tmp_path / "canary").exists()


def test_no_client_is_given_a_program_of_the_current_folder(
    tmp_path: Path, clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(clone)
    monkeypatch.setattr(sys, "argv", ["pipeguard"])
    path = os.pathsep.join((".", "", "node_modules/.bin"))
    assert list(programs("pipeguard", path)) == []
    assert str(clone) not in launcher("/bin/true", {"PATH": path})[0]
    assert not str(launcher_or_nothing(path)).startswith(str(clone))


def launcher_or_nothing(path: str) -> str:
    from pipeguard.clients.launcher import LauncherError

    try:
        return launcher(None, {"PATH": path})[0]
    except LauncherError as error:
        return error.path
