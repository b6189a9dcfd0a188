"""Places of clients' files: all places of every client, on every system."""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeguard.clients.catalog import SYSTEMS, Client, ConfigScope, client, clients
from pipeguard.clients.entries import read_config
from pipeguard.clients.machine import Machine, find, find_in_repository, is_present
from tests.each import each
from tests.files import write_file

PLACES = {
    f"{one.id}-{number}-{system}-{place}": (one, system, place)
    for one in clients().values()
    for number, spec in enumerate(one.files)
    for system, places in spec.places.items()
    for place in places
}
FOLDERS = {  # what the reference of each system calls them, below the home folder
    "linux": {"config": ".config", "xdg": ".config", "unix": ".config"},
    "macos": {"config": "Library/Application Support", "xdg": ".config", "unix": ".config"},
    "windows": {
        "config": "AppData/Roaming",
        "xdg": ".config",
        "unix": "AppData/Roaming",
        "appdata": "AppData/Roaming",
        "localappdata": "AppData/Local",
    },
}


def paths(machine: Machine, one: Client) -> list[str]:
    return [str(found.path) for found in find(machine, [one])]


@each("one, system, place", PLACES)
def test_every_place_of_every_client_is_found(
    one: Client, system: str, place: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("home")
    project = home / "work" / "app"
    folders = {name: str(home / path) for name, path in FOLDERS[system].items()}
    folders |= {"home": str(home), "project": str(project)}
    environment: dict[str, str] = {}

    def variable(match: re.Match[str]) -> str:
        environment[match[1]] = str(home / "by-variable")
        return environment[match[1]]

    def folder(match: re.Match[str]) -> str:
        if match[1] in folders:
            return folders[match[1]]
        named = one.folders[match[1]][system][-1]  # without any variable the last one holds
        return re.sub(r"\{([a-z]+)\}", lambda inner: folders[inner[1]], named)

    path = re.sub(r"\$([A-Z_]+)", variable, re.sub(r"\{([a-z]+)\}", folder, place))
    path = path.replace("*", "some")
    project.mkdir(parents=True)
    wanted = write_file(Path(path))
    machine = Machine(system, home, environment, project)
    assert str(wanted) in paths(machine, one)
    assert is_present(machine, one)


@each("one", clients())
@each("system", SYSTEMS)
def test_on_an_empty_machine_nothing_is_found(one: Client, system: str, tmp_path: Path) -> None:
    machine = Machine(system, tmp_path, {}, tmp_path / "project")
    assert find(machine, [one]) == []
    assert not is_present(machine, one)


@pytest.mark.parametrize(
    ("name", "variable", "below", "usually"),
    [
        ("codex", "CODEX_HOME", "config.toml", ".codex/config.toml"),
        ("claude-code", "CLAUDE_CONFIG_DIR", ".claude.json", ".claude.json"),
        ("gemini-cli", "GEMINI_CLI_HOME", ".gemini/settings.json", ".gemini/settings.json"),
        ("copilot-cli", "COPILOT_HOME", "mcp-config.json", ".copilot/mcp-config.json"),
    ],
)
def test_a_variable_moves_the_file_and_the_usual_one_is_dead(
    name: str, variable: str, below: str, usually: str, tmp_path: Path
) -> None:
    one = client(name)
    usual = Machine("linux", tmp_path, {})
    moved = write_file(tmp_path / "moved" / below)
    dead = write_file(tmp_path / usually)
    assert set(paths(usual, one)) == {str(dead)}
    there = Machine("linux", tmp_path, {variable: str(tmp_path / "moved")})
    assert set(paths(there, one)) == {str(moved)}


def test_a_shadowed_file_is_not_read(tmp_path: Path) -> None:
    write_file(tmp_path / ".config/opencode/opencode.json")
    live = write_file(tmp_path / ".config/opencode/opencode.jsonc")
    assert paths(Machine("linux", tmp_path, {}), client("opencode")) == [str(live)]


def test_the_library_folder_of_zed_on_macos_is_dead(tmp_path: Path) -> None:
    write_file(tmp_path / "Library/Application Support/Zed/settings.json")
    assert paths(Machine("macos", tmp_path, {}), client("zed")) == []


def test_project_files_are_looked_for_up_to_the_top_of_the_repository(tmp_path: Path) -> None:
    top = tmp_path / "outside" / "repo"
    deep = top / "a" / "b"
    deep.mkdir(parents=True)
    (top / ".git").mkdir()
    wanted = {str(write_file(folder / ".cursor" / "mcp.json")) for folder in (top, deep)}
    write_file(top.parent / ".cursor" / "mcp.json")
    machine = Machine("linux", tmp_path / "home", {}, deep)
    assert set(paths(machine, client("cursor"))) == wanted


def test_a_repository_is_searched_with_all_that_is_below(tmp_path: Path) -> None:
    wanted = {
        str(write_file(tmp_path / ".mcp.json")),
        str(write_file(tmp_path / "packages" / "a" / ".vscode" / "mcp.json")),
        str(write_file(tmp_path / "packages" / "a" / ".codex" / "config.toml", "")),
    }
    write_file(tmp_path / "node_modules" / "x" / ".mcp.json")
    write_file(tmp_path / ".claude.json")  # a user's, and no user is here
    found = find_in_repository(tmp_path)
    assert {str(one.path) for one in found} == wanted
    assert {spec.scope for one in found for spec in one.specs} == {ConfigScope.PROJECT}


@contextmanager
def as_nobody() -> Iterator[Path]:
    """Make a home folder of a user without privileges; root may read everything."""
    user = 65534 if os.geteuid() == 0 else os.geteuid()
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, user, -1)
        before = os.geteuid()
        os.seteuid(user)
        try:
            yield Path(folder)
        finally:
            os.seteuid(before)


@pytest.mark.skipif(sys.platform == "win32", reason="folders are closed in another way there")
def test_a_file_in_a_folder_that_may_not_be_entered_is_not_taken_for_none() -> None:
    """Its client may read it; otherwise its servers would silently be missing."""
    with as_nobody() as home:
        path = write_file(
            home / ".cursor" / "mcp.json", '{"mcpServers": {"it": {"command": "srv"}}}'
        )
        path.parent.chmod(0)
        machine = Machine("linux", home, {}, None)
        (found,) = find(machine, [client("cursor")])
        assert found.path == path
        assert "Permission denied" in read_config(found).problem
        assert paths(machine, client("zed")) == []  # its folder does not exist
        path.parent.chmod(0o700)


def test_the_client_whose_file_it_is_comes_first(tmp_path: Path) -> None:
    """Visual Studio reads the files of others too."""
    for folder in (".vscode", ".cursor"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mcp.json").write_text("{}")
    found = {file.path.parent.name: file.specs for file in find_in_repository(tmp_path)}
    assert [spec.client for spec in found[".vscode"]] == ["vscode", "visual-studio"]
    assert [spec.client for spec in found[".cursor"]] == ["cursor", "visual-studio"]
