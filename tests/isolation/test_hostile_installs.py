"""A package that attacks its installers: real installers, registry and sandboxes."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeguard.errors import LaunchError
from pipeguard.isolation.engines import Isolation
from pipeguard.isolation.fetching import DONE, fetch_package, newest
from pipeguard.isolation.packages import NPM, PYPI, Package, find_program
from pipeguard.isolation.profile import Profile
from pipeguard.isolation.runtimes import runtime_of_package
from pipeguard.isolation.sandbox import installer, packages_folder, this_host
from pipeguard.isolation.servers.inventory import packages, remove
from pipeguard.launch.child import Child, Command
from tests.each import each
from tests.files import write_file
from tests.isolation.containers import engine_here
from tests.isolation.hostile_registry import NAME, registry
from tests.isolation.sandboxes import make_home
from tests.isolation.test_escapes import CANARY, surrounded
from tests.launch.processes import command_lines

pytestmark = pytest.mark.needs("bubblewrap")

ATTEMPTS = {
    name: Path(__file__).with_name(name).read_text()
    for name in ("escape_attempts.py", "install_attempts.py")
}
MARKER = f"pipeguard-test-left-by-an-installer-{os.getpid()}"  # other workers run the same
ITS_OWN = ("escaped: ['.npm']", "escaped: ['.cache']")  # in a home of its own
WITH_UV = (str(Path(sys.executable).parent),)  # which has it for our own environment
OF_UV = Package(PYPI, (f"{NAME}==1.0.0",), "", ())
OF_NPM, OF_PYPI = Package(NPM, (NAME,), "", ()), Package(PYPI, (NAME,), "", ())


NO_FILES: Mapping[str, str] = {}


class Installation(NamedTuple):
    """A fetched package, and the messages to the user."""

    folder: Path
    program: str
    told: list[str]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("pipeguard.isolation.fetching.FETCH_SECONDS", 120.0)
    folders = ".ssh .aws .npm/_cacache .cache/uv work/given"
    secrets = ".ssh/id_ed25519 .aws/credentials .npmrc .npm/_cacache/x work/x"
    return make_home(tmp_path, monkeypatch, folders, secrets)


def install(
    package: Package,
    script: str,
    files: Mapping[str, str] = NO_FILES,
    engine: str = Isolation.BUBBLEWRAP,
    **manifest: object,
) -> Installation:
    """Fetch a package whose install script is a shell's."""
    told: list[str] = []
    with registry(script, files, **manifest) as port:
        address = f"http://127.0.0.1:{port}"
        of_registry = {
            "npm_config_registry": address,
            "PIP_INDEX_URL": f"{address}/simple/",
            "UV_INDEX_URL": f"{address}/simple/",
        }

        def start(command: Command, profile: Profile) -> Child:
            folder = {"INSTALLED_IN": str(command.cwd)}
            said = Command(command.argv, {**command.env, **of_registry, **folder}, command.cwd)
            given = profile._replace(loopback=(port,))
            return installer(said, given, engine, say=told.append)

        variables = {"PATH": os.environ["PATH"], "TOKEN": CANARY}
        folder, in_use = fetch_package(package, packages_folder(), variables, start, print)
    in_use.close()
    return Installation(folder, find_program(str(folder), package), told)


def running(marker: str) -> list[bytes]:
    """The command lines of this machine with a word among their arguments."""
    return [words for words in command_lines() if marker.encode() in words.split(b"\0")]


@pytest.mark.often("npm-*", "uv-*")
@pytest.mark.parametrize(
    ("installed_by", "package"), [("npm", OF_NPM), ("pip", OF_PYPI), ("uv", OF_UV)]
)
def test_an_installer_reaches_nothing_but_its_registry_and_its_folder(
    home: Path, tmp_path: Path, installed_by: str, package: Package
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if installed_by == "uv":
            patch.setenv("PATH", os.pathsep.join((*WITH_UV, os.environ["PATH"])))
        attacked(home, tmp_path, package, Isolation.BUBBLEWRAP)


@pytest.mark.exhaustive
def test_an_installer_in_a_container_reaches_no_more(home: Path, tmp_path: Path) -> None:
    engine_here(packages_folder().parent)
    attacked(home, tmp_path, OF_NPM, Isolation.CONTAINER)


def attacked(home: Path, tmp_path: Path, package: Package, engine: str) -> None:
    """Let a package attack its installer; no attack may succeed."""
    other = write_file(packages_folder() / "other" / "node_modules" / "x.js", CANARY)
    poisoned = [str(home / name) for name in (".npm/_cacache/y", ".cache/uv/y", ".bashrc")]
    with surrounded(home, tmp_path) as facts:
        names = (".aws/credentials", ".npmrc", ".npm/_cacache/x", "work/x")
        facts |= {
            "files": [str(home / name) for name in names],
            "other": str(other),
            "poisoned": poisoned,
            "marker": MARKER,
        }
        files = {**ATTEMPTS, "facts.json": json.dumps(facts)}
        installed = install(package, "python3 -S install_attempts.py", files, engine)
    outcomes = json.loads((installed.folder / "outcomes.json").read_text())
    assert outcomes.pop("home") in ("nothing there", *ITS_OWN)
    assert {name: how for name, how in outcomes.items() if "escaped" in how} == {}
    assert len(outcomes) > 60
    assert CANARY not in str(outcomes)
    assert not [each for each in poisoned if Path(each).exists()]
    assert other.read_text() == CANARY
    assert not running(MARKER)
    assert not (packages_folder() / "new").exists()
    hosts = ("example.com", "metadata.google.internal", "169.254.169.254")
    assert [host for host in hosts if not any(host in text for text in installed.told)] == []


def test_an_installer_that_never_ends_is_ended(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeguard.isolation.fetching.FETCH_SECONDS", 5.0)
    code = "import os, time; os.setsid(); time.sleep(600)"
    with pytest.raises(LaunchError, match="did not end"):
        install(OF_NPM, f"python3 -c '{code}' {MARKER} & wait")
    assert not running(MARKER)
    assert newest(packages_folder(), OF_NPM.identity) is None


@each(
    "limit, most, script, why",
    [
        ("MOST_BYTES", 2**26, "dd if=/dev/zero of=$I/$((n=n+1)) bs=1M count=1", "were written"),
        ("MOST_FILES", 2**13, ": > $I/$((n=n+1))", "were made"),
    ],
)
def test_an_installer_cannot_fill_the_disk(
    home: Path, monkeypatch: pytest.MonkeyPatch, limit: str, most: int, script: str, why: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(f"pipeguard.isolation.fetching.{limit}", most)
        with pytest.raises(LaunchError, match=why):
            install(OF_NPM, f"I=$INSTALLED_IN; while :; do {script}; done")
    assert not [path for path in packages_folder().iterdir() if path.is_dir()]


DEEP = """import os
os.chdir(os.environ["INSTALLED_IN"])
for _ in range(2500):
    os.mkdir("d"); os.mkdir("locked"); os.chmod("locked", 0); os.chdir("d")
open("file", "w").close()
"""
MANIFEST = {"version": "\x1b[2J" + 100_000 * "1", "bin": {"../../../../home/work/x": "x"}}


def test_what_a_package_makes_of_itself_hides_and_gives_nothing(home: Path) -> None:
    """Its manifest is rewritten once npm has looked at it; its folders are too deep for a path."""
    files = {"deep.py": DEEP, "manifest.json": json.dumps(MANIFEST)}
    place = "$INSTALLED_IN/node_modules/some-server/package.json"
    installed = install(OF_NPM, f'python3 deep.py; cat manifest.json > "{place}"', files)
    assert Path(installed.program).parent == installed.folder / "node_modules" / ".bin"
    (found,) = packages()
    assert found.folder == installed.folder
    assert found.version.isprintable()
    assert (found.folder / DONE).stat().st_size < 1000
    assert found.size_bytes() > 0
    assert remove(found)
    assert not found.folder.exists()


def test_what_a_package_says_is_shown_as_text_and_as_its_own(home: Path) -> None:
    said = "error: \\033]0;title\\007\\033[2JPipeGuard: run this as root"
    with pytest.raises(LaunchError) as caught:
        install(OF_NPM, f"printf '{said}\\n' >&2; exit 1")
    message = str(caught.value)
    assert "run this as root" in message
    assert message.isprintable()
    assert "It ended with: '" in message


def test_a_program_that_is_named_as_an_interpreter_gives_no_project(home: Path) -> None:
    (home / "work" / "package.json").write_text("{}")
    installed = install(OF_NPM, "true", bin={"node": "server.js"})
    given = (str(installed.folder),)
    argv = (installed.program, str(home / "work" / "x"))
    assert Path(installed.program).name == "node"
    runtime = runtime_of_package(
        NAME, argv, given, env={"PATH": os.environ["PATH"]}, folder="/", host=this_host()
    )
    assert not [path for path in runtime.needed if path.startswith(str(home))]
