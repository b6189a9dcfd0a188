"""Fetched packages and kept homes: found, refetched, removed. isolation/servers/inventory.py."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeguard.errors import LaunchError
from pipeguard.isolation.fetching import DONE, newest, package_folders
from pipeguard.isolation.packages import NPM, Package
from pipeguard.isolation.profile import Profile
from pipeguard.isolation.sandbox import packages_folder
from pipeguard.isolation.servers.inventory import Installed, Inventory, packages, remove, update
from pipeguard.launch.child import Child, Command, start
from tests.files import write_file
from tests.isolation.test_wrapped import Isolated

PACKAGE = Package(NPM, ("some-server@^1",), "", ())
HOLD = (
    "import sys; from pathlib import Path; from pipeguard.isolation.fetching import use;"
    " held = use(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    return packages_folder()


def put(root: Path, name: str, version: str, when: int = 1) -> Path:
    """Store a fetched package."""
    folder = root / name
    write_file(folder / "node_modules" / ".bin" / "some-server", "")
    specs = list(PACKAGE.specs)
    facts = {"registry": NPM, "specs": specs, "fetched": when, "version": version}
    (folder / DONE).write_text(json.dumps(facts))
    return folder


def installing(version: str) -> Callable[[Command, Profile], Child]:
    """Return a fake installer: a shell that writes the files that npm would."""

    def run(command: Command, profile: Profile) -> Child:
        (folder,) = profile.write
        script = (
            f'mkdir -p "{folder}/node_modules/some-server" && echo \'{{"version": "{version}"}}\''
            f' > "{folder}/node_modules/some-server/package.json"'
        )
        return start(Command(["/bin/sh", "-c", script if version else "exit 1"], command.env))

    return run


def only() -> Installed:
    (found,) = packages()
    return found


def test_the_newest_folder_counts_and_a_half_one_does_not(root: Path) -> None:
    identity = PACKAGE.identity
    for name, version in (
        (identity, "1.0.0"),
        (f"{identity}-2", "1.1.0"),
        (f"{identity}-10", "2.0"),
    ):
        put(root, name, version)
    (root / f"{identity}-11").mkdir()
    assert [folder.name for folder in package_folders(root, identity)] == [
        identity,
        *(f"{identity}-{number}" for number in (2, 10, 11)),
    ]
    found = newest(root, identity)
    assert found is not None
    assert found.name == f"{identity}-10"
    assert (only().name, only().version) == ("some-server", "2.0")


def test_what_others_wrote_there_is_no_package(root: Path) -> None:
    for number, content in enumerate(("", "[]", '{"registry": "npm"}', "{}")):
        (root / f"x{number}").mkdir(parents=True)
        (root / f"x{number}" / DONE).write_text(content)
    folder = put(root, "another-name", "1")
    assert (folder / DONE).exists()
    assert packages() == ()


def test_an_update_replaces_what_nobody_runs(root: Path) -> None:
    old = put(root, PACKAGE.identity, "1.0.0")
    new = update(only(), os.environ, installing("1.2.0"))
    assert (new.version, only().version) == ("1.2.0", "1.2.0")
    assert new.folder != old
    assert not old.exists()


def test_an_update_that_fails_changes_nothing(root: Path) -> None:
    old = put(root, PACKAGE.identity, "1.0.0")
    with pytest.raises(LaunchError, match="could not be fetched"):
        update(only(), os.environ, installing(""))
    assert only().version == "1.0.0"
    assert [folder for folder in root.iterdir() if folder.is_dir()] == [old]


def test_a_server_that_runs_keeps_the_old_one(root: Path) -> None:
    old = put(root, PACKAGE.identity, "1.0.0")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(old)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"held\n"
        update(only(), os.environ, installing("1.2.0"))
        assert only().version == "1.2.0"
        assert old.exists()
        assert not remove(only())
        assert old.exists()
        server.communicate()
    assert remove(Installed(PACKAGE, old, 1, ""))
    assert packages() == ()


@pytest.mark.needs("bubblewrap")
def test_a_kept_home_is_its_server_s(tmp_path: Path) -> None:
    with Isolated(tmp_path, "--isolate", "auto", "--keep-home") as run:
        run.ready().call("write", tmp_path / "home" / "kept")
        run.hang_up()
        run.code()
    assert Inventory.read().owners == ("reacher",)
    kept = Inventory.read().select("reacher")
    assert (kept.homes[0][0] / "home" / "kept").read_text() == "written"
    assert Inventory.read().select("another") == Inventory()
    assert kept.remove() == ()
    assert Inventory.read().owners == ()
