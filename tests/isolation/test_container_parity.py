"""What real servers say is the same, frame for frame, in a container."""

from __future__ import annotations

import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeguard.isolation.sandbox import HOMES
from tests.isolation.containers import engine_here
from tests.isolation.test_parity import without_added
from tests.parity.session import Session
from tests.parity.test_parity import to_the_end

pytestmark = pytest.mark.real

SERVERS = ("everything", "fetch", "filesystem", "git", "time")  # npm and PyPI, folders and ports


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the clients live, with the cache of all tests; they share an engine that was found."""
    folder = tmp_path_factory.mktemp("home")
    (folder / ".cache").symlink_to(os.environ["XDG_CACHE_HOME"])
    return folder


@pytest.mark.often("filesystem", "time")
@pytest.mark.parametrize("server", SERVERS)
def test_a_server_in_a_container_says_the_same(server: str, tmp_path: Path, home: Path) -> None:
    engine_here(home / ".local" / "state" / "pipeguard" / HOMES)
    session = Session.load(server, "python")
    given: tuple[str, ...] = ("--write", "{root}")
    if session.plan.get("git"):
        given += ("--write", "{root}/.git")
    wrapper = [
        *(sys.executable, "-m", "pipeguard", "wrap", "--name", f"contained-{server}"),
        *("--isolate", "container", *given, "--loopback", "{port}", "--"),
    ]
    with ThreadPoolExecutor() as pool:
        bare = pool.submit(session.play, tmp_path / "plain", home, None)
        isolated = pool.submit(session.play, tmp_path / "guard", home, wrapper, inside=False)
        direct, guarded = bare.result(), isolated.result()
    assert list(map(settled, to_the_end(guarded))) == list(map(settled, to_the_end(direct)))
    assert "was refused" not in guarded.stderr


def settled(line: str) -> str:
    """A line with its variables in one order: a shell passes them on in its own."""
    return re.sub(
        r'(?:\\n  \\"\w+\\": \\"[^"]*\\",?){2,}',
        lambda found: ",".join(sorted(found[0].replace(",\\n", "\n").split("\n"))),
        without_added(line),
    )
