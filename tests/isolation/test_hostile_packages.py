"""A package that wants more than its folder: installers and programs in real sandboxes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeguard.errors import LaunchError
from pipeguard.isolation.fetching import DONE, fetch_package, newest
from pipeguard.isolation.packages import NPM, PYPI, Package
from pipeguard.isolation.profile import Profile
from pipeguard.isolation.sandbox import installer, packages_folder
from pipeguard.launch.child import Child, Command
from tests.isolation.sandboxes import make_home
from tests.isolation.test_escapes import CANARY

pytestmark = pytest.mark.needs("bubblewrap")

PACKAGE = Package(NPM, ("some-server",), "", ())
OF_PYTHON = Package(PYPI, ("some-server",), "", ())
PROGRAM = "node_modules/.bin/some-server"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make_home(tmp_path, monkeypatch, "private", ".bashrc private/x")


def install(script: str, package: Package = PACKAGE, before: str = "") -> Path:
    """Fetch a package; a shell script plays its install scripts."""
    scripts = [script] if package.registry == NPM else [before, script]

    def start(command: Command, profile: Profile) -> Child:
        said = Command(["/bin/sh", "-c", scripts.pop(0)], command.env, command.cwd)
        return installer(said, profile)

    folder, in_use = fetch_package(
        package, packages_folder(), {"PATH": os.defpath}, start, lambda _: None
    )
    in_use.close()
    return folder


def ran(*argv: str) -> str:
    """Run a fetched server in a process of its own, because it holds its package."""
    code = "import sys; from tests.isolation.sandboxes import printed; print(printed(sys.argv[1:]))"
    made = [sys.executable, "-c", code, *argv]
    return subprocess.run(made, capture_output=True, text=True, check=True).stdout


def test_what_an_installer_leaves_is_not_written_through(home: Path) -> None:
    link = f"rm -f {DONE}; ln -sf {home}/.bashrc {DONE}; mv {DONE} x; echo 1 > {DONE}"
    folder = install(f"{link}; mkdir -p node_modules/.bin; echo > {PROGRAM}")
    assert (home / ".bashrc").read_text() == CANARY
    assert not (folder / DONE).is_symlink()
    assert json.loads((folder / DONE).read_text())["specs"] == ["some-server"]


def test_an_installer_cannot_say_that_it_is_done(home: Path) -> None:
    with pytest.raises(LaunchError, match="Read-only"):
        install(f"echo '{{}}' > {DONE} || exit 3")
    half = packages_folder() / PACKAGE.identity
    half.mkdir(parents=True)
    (half / DONE).touch()
    assert newest(packages_folder(), PACKAGE.identity) is None


def test_what_a_package_says_of_itself_is_read_in_its_folder_alone(home: Path) -> None:
    (home / "private" / "package.json").write_text(json.dumps({"version": CANARY}))
    script = f"mkdir -p node_modules/.bin; echo > {PROGRAM}; ln -s {home}/private"
    folder = install(f"{script} node_modules/some-server")
    assert CANARY not in (folder / DONE).read_text()
    again = Package(NPM, ("some-server", "other"), "some-server", ())
    script = "mkdir -p node_modules/.bin node_modules/some-server node_modules/other"
    script += f"; echo > {PROGRAM}; mkfifo node_modules/some-server/package.json"
    assert install(f"{script}; echo [] > node_modules/other/package.json", again).is_dir()


def test_first_lines_of_a_package_give_it_nothing(home: Path) -> None:
    text = f"#!/usr/bin/env -S -u {home}/private sh\\ncat {home}/private/x 2>&1\\ntrue\\n"
    install(f"mkdir -p node_modules/.bin; printf '{text}' > {PROGRAM}; chmod +x {PROGRAM}")
    assert "No such file" in ran("npx", "some-server")


def test_environments_of_a_package_give_it_nothing(home: Path) -> None:
    text = f"#!/bin/sh\\ncat {home}/private/x 2>&1\\ntrue\\n"
    site = "lib/python3.12/site-packages"
    install(
        f"echo 'home = {home}/private' > pyvenv.cfg; echo {home}/private > {site}/x.pth;"
        f" printf '{text}' > bin/some-server; chmod +x bin/some-server",
        OF_PYTHON,
        f"mkdir -p bin {site}; ln -s /bin/sh bin/python; echo 'home = /usr/bin' > pyvenv.cfg",
    )
    assert "No such file" in ran("uvx", "some-server")
