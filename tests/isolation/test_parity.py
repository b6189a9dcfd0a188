"""What real servers say is the same, frame for frame, when they are isolated."""

from __future__ import annotations

import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.parity.session import SERVERS, Session
from tests.parity.test_parity import to_the_end

pytestmark = [pytest.mark.real, pytest.mark.needs("bubblewrap")]

_NAMES = "PWD|npm_config_fetch_retries|UV_HTTP_RETRIES|PIP_RETRIES"
_ADDED = re.compile(rf'(?:,|(?<={{))\\n  \\"(?:{_NAMES})\\": \\"[^"]*\\"')


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the clients live; all sessions share one store, and the cache of all tests."""
    folder = tmp_path_factory.mktemp("home")
    (folder / ".cache").symlink_to(os.environ["XDG_CACHE_HOME"])
    return folder


@pytest.mark.often("filesystem", "memory", "git")
@pytest.mark.parametrize("server", SERVERS)
def test_an_isolated_server_says_the_same(server: str, tmp_path: Path, home: Path) -> None:
    session = Session.load(server, "python")
    named = "{root}" in str(session.plan.get("arguments"))  # then that is enough
    given: tuple[str, ...] = () if named else ("--write", "{root}")
    if session.plan.get("git"):
        given += ("--write", "{root}/.git")
    wrapper = [
        *(sys.executable, "-m", "pipeguard", "wrap", "--name", f"isolated-{server}"),
        *("--isolate", "bubblewrap", *given, "--loopback", "{port}", "--"),
    ]
    with ThreadPoolExecutor() as pool:
        bare = pool.submit(session.play, tmp_path / "plain", home, None)
        isolated = pool.submit(session.play, tmp_path / "guard", home, wrapper, inside=False)
        direct, guarded = bare.result(), isolated.result()
    seen = [without_added(line) for line in to_the_end(guarded)]
    assert seen == to_the_end(direct), guarded.stderr
    assert "was refused" not in guarded.stderr


def without_added(line: str) -> str:
    """A line without the variables that a sandbox adds: its folder, and to try registries once."""
    return _ADDED.sub("", line).replace("{,", "{")
