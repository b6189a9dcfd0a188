"""The profiles of known servers. isolation/shipped.py, profiles.json."""

import json
import os
import sys
from pathlib import Path

import pytest

from pipeguard.isolation.egress.hosts import HostRules
from pipeguard.isolation.packages import find_package
from pipeguard.isolation.sandbox import packages_folder
from pipeguard.isolation.servers.inventory import packages, remove
from pipeguard.isolation.servers.sources import named_paths
from pipeguard.isolation.shipped import all_shipped, find_profile
from tests.each import each, some
from tests.files import write_program
from tests.isolation.test_wrapped import Isolated
from tests.wrap.wrapped import Object

MEMORY = "npm:@modelcontextprotocol/server-memory"


def test_each_profile_is_found_by_each_of_its_packages_and_by_no_other() -> None:
    keys = [key for profile in all_shipped() for key in profile.packages]
    assert len(keys) == len(set(keys))
    for profile in some(all_shipped()):
        for key in profile.packages:
            assert find_profile(key) == profile
            assert find_profile(f"{key}x") is None


def test_each_profile_says_what_can_be_given() -> None:
    for profile in some(all_shipped()):
        HostRules.parse(profile.hosts)
        assert not profile.npm_parts or all(key.startswith("pypi:") for key in profile.packages)
        of_home = [name for name, value in profile.variables.items() if value.startswith("~/")]
        assert not of_home or profile.keeps_home


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Make the command of a known package that is installed already, so that nothing is fetched."""
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    command = ("npx", "-y", MEMORY.removeprefix("npm:"))
    package = find_package(command)
    assert package is not None
    folder = packages_folder() / package.identity
    program = folder / "node_modules" / ".bin" / "server-memory"
    server = Path(__file__).with_name("reacher.py").read_text()
    # A package does not choose its interpreter's path, only its name.
    python = Path(sys.executable)
    monkeypatch.setenv("PATH", f"{python.parent}:{os.environ['PATH']}")
    write_program(program, f"#!/usr/bin/env {python.name}\n{server}")
    facts = {"registry": "npm", "specs": list(package.specs), "fetched": 1, "version": ""}
    (folder / "pipeguard.json").write_text(json.dumps(facts))
    return command


@pytest.mark.needs("bubblewrap")
def test_a_profile_counts_below_what_is_named(tmp_path: Path, words: tuple[str, ...]) -> None:
    own = str(tmp_path / "home" / "memory.jsonl")
    with Isolated(tmp_path, "--isolate", "auto", command=words) as run:
        assert run.ready().call("environment", "MEMORY_FILE_PATH") == own
    notes = tmp_path / "home" / "notes"
    options = ("--isolate", "auto", "--env", f"MEMORY_FILE_PATH={notes}/one")
    with Isolated(tmp_path, *options, command=words) as run:
        assert run.ready().call("environment", "MEMORY_FILE_PATH") == f"{notes}/one"
        assert run.call("read", notes / "one") == "first note"
        assert run.call("write", notes / "one.tmp") == "written"
    assert (notes / "one.tmp").exists()


NAMED = {
    "data": ({"DATA_DIR": "/d", "DB_PATH": "/d/x.db"}, ["/d", "/d/x.db"]),
    "no path": ({"MODE": "fast"}, []),
    "secrets": ({"SSH_KEY_PATH": "/d/id", "APP_CREDENTIALS": "/d/c", "DB_PASSWORD": "/d"}, []),
    "programs": ({"PATH": "/d/bin", "JAVA_HOME": "/d/java", "PYTHONPATH": "/d/lib"}, []),
    "a file that it replaces": ({"MEMORY_FILE_PATH": "/d/m"}, ["/d/m", "/d"]),
    "that file in /tmp": ({"MEMORY_FILE_PATH": "/tmp/m"}, ["/tmp/m"]),
}


@each("variables, paths", NAMED)
def test_paths_in_variables_are_named_and_no_secrets(
    variables: dict[str, str], paths: list[str]
) -> None:
    assert [*named_paths(variables, find_profile(MEMORY))] == paths


@pytest.mark.needs("bubblewrap")
@pytest.mark.often("auto")
@pytest.mark.parametrize("how", ["auto", "learn"])
def test_a_package_stays_while_a_server_runs_from_it(
    tmp_path: Path, words: tuple[str, ...], how: str
) -> None:
    (installed,) = packages()
    with Isolated(tmp_path, "--isolate", how, command=words) as run:
        run.ready()
        assert not remove(installed)
        assert run.call("environment", "TOKEN") == "not set"
    assert remove(installed)
    assert not installed.folder.exists()


@pytest.mark.exhaustive
@pytest.mark.needs("bubblewrap")
@pytest.mark.real
def test_a_known_server_works_with_auto_alone(tmp_path: Path) -> None:
    command = ("npx", "-y", MEMORY.removeprefix("npm:"))
    ada: Object = {"name": "Ada", "entityType": "person", "observations": []}
    arguments: Object = {"entities": [ada]}
    answers = []
    for _ in range(2):  # the second time nothing is fetched
        with Isolated(tmp_path, "--isolate", "auto", command=command) as run:
            run.ready()
            answers.append(run.ask("tools/call", name="create_entities", arguments=arguments))
            assert "was refused" not in run.said()
            run.hang_up()
            run.code()
    assert "Ada" in str(answers[0]["result"])
    assert "Ada" not in str(answers[1]["result"])  # it is there already: its home was kept
    (file,) = (tmp_path / "state" / "isolation").glob("*/home/memory.jsonl")
    assert "Ada" in file.read_text()


@pytest.mark.needs("bubblewrap")
def test_a_package_may_change_each_folder_among_its_arguments(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    folders = [tmp_path.resolve() / "home" / name for name in ("first", "second", "third")]
    for folder in folders:
        folder.mkdir(parents=True)
    held = ("--read", str(folders[2]))
    command = (*words, *map(str, folders))
    with Isolated(tmp_path, "--isolate", "auto", *held, command=command) as run:
        run.ready()
        said = [run.call("write", folder / "new") for folder in folders]
    assert said == ["written", "written", "OSError"]
    assert [(folder / "new").exists() for folder in folders] == [True, True, False]
