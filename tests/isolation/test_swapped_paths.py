"""The checked path is the mounted one, whoever swaps paths in between. isolation/staging.py."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeguard.errors import LaunchError, PipeGuardError
from pipeguard.isolation.profile import Profile, parse_path
from pipeguard.isolation.sandbox import Sandbox
from pipeguard.launch.child import Command
from tests.each import each
from tests.isolation.sandboxes import make_home
from tests.isolation.test_escapes import CANARY
from tests.launch.processes import read_all

pytestmark = pytest.mark.needs("bubblewrap")

STARTS = 12
# Exchanges two names until it is ended: renameat2(RENAME_EXCHANGE), so that neither is ever gone.
SWAPS = """
import ctypes, sys
call = ctypes.CDLL(None).renameat2
first, second = (name.encode() for name in sys.argv[1:])
print("ready", flush=True)
while True:
    call(-100, first, -100, second, 2)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folders = ".ssh .config/gcloud work/data/deep work/.git/hooks other/deep"
    folder = make_home(tmp_path, monkeypatch, folders, ".ssh/id .config/gcloud/id")
    (folder / "work" / "data" / "deep" / "own").write_text("own")
    return folder


@contextmanager
def swapped(first: Path, second: Path) -> Iterator[None]:
    """Another process exchanges two names all the time."""
    words = [sys.executable, "-I", "-S", "-c", SWAPS, str(first), str(second)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield
        finally:
            process.kill()


def started(profile: Profile, script: str, argument: str = "x") -> str:
    """Start a server while paths change; return its output, or the reason for a refusal."""
    command = Command(["/bin/sh", "-c", f"exec 2>&1; {script}", argument], {"PATH": os.defpath})
    try:
        child = Sandbox("swapped", command, profile).start()
    except PipeGuardError as error:
        return f"refused: {error}"
    try:
        child.wait_started()
        return read_all(child.stdout_fd).decode() + read_all(child.stderr_fd).decode()
    except LaunchError as error:
        return f"refused: {error}"
    finally:
        child.close()


@pytest.mark.often("work/data-write", "work-read")
@pytest.mark.parametrize("kind", ["read", "write"])
@pytest.mark.parametrize("place", ["work/data", "work"])
def test_a_given_folder_that_becomes_a_link_gives_nothing(
    kind: str, place: str, home: Path
) -> None:
    trap = home / "work" / "trap" if place == "work/data" else home / "trap"
    trap.symlink_to(home / (".ssh" if place == "work/data" else "elsewhere"))
    (home / "elsewhere").mkdir()
    (home / "elsewhere" / "data").symlink_to(home / ".ssh")
    path = f"{home}/work/data"
    said = []
    with swapped(home / place, trap):
        for _ in range(STARTS):
            try:
                given = parse_path(path, "/", str(home))
            except PipeGuardError as error:
                said.append(f"refused: {error}")
                continue
            profile = Profile(read=(given,)) if kind == "read" else Profile(write=(given,))
            said.append(started(profile, f"cat {path}/id {given}/id; ls {path} {given}"))
    assert not [text for text in said if CANARY in text or "\nid\n" in text]
    assert [text for text in said if "refused" in text]


@each("change", ["keys appear", "it is removed"])
def test_what_changed_meanwhile_is_told(change: str, home: Path) -> None:
    given = Profile(write=(str(home),)) if change == "keys appear" else Profile((f"{home}/other",))
    sandbox = Sandbox("swapped", Command(["/bin/true"], {"PATH": os.defpath}, "/"), given)
    if change == "keys appear":
        (home / ".aws").mkdir()
    else:
        (home / "other").rename(home / "moved")
    child = sandbox.start()
    try:
        with pytest.raises(LaunchError, match="Start it again"):
            child.wait_started()
    finally:
        child.close()


def test_no_folder_is_made_where_a_link_leads(home: Path) -> None:
    """Another run of a server with the same kept home puts links where folders are mounted."""
    kept = Profile(read=(f"{home}/work",), keeps_home=True)
    assert "data" in started(kept, f"ls {home}/work")
    (place,) = (home.parent / "state").glob("isolation/*/home")
    (place / "trap").symlink_to(f"/oldroot{home}/other")
    deep = kept._replace(write=(f"{home}/work/data/deep",))
    script = f"cat {home}/work/data/deep/own"
    with swapped(place / "work", place / "trap"):
        for _ in range(STARTS):
            started(deep, script)
    assert [path.name for path in (home / "other").iterdir()] == ["deep"]
    if (place / "work").is_symlink():
        (place / "work").unlink()
        (place / "trap").rename(place / "work")
    assert started(deep, script) == "own"
