"""Real servers answer alike, frame for frame, when they are isolated."""

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeguard.isolation.sandbox import HOMES
from tests.isolation.containers import engine_here
from tests.parity.session import SERVERS, Session
from tests.parity.test_parity import home as home  # a fixture, by its name
from tests.parity.test_parity import to_the_end

pytestmark = [pytest.mark.real, pytest.mark.needs("bubblewrap")]

IN_CONTAINERS = ("everything", "fetch", "filesystem", "git", "time")  # folders and ports
CASES = [
    *(("bubblewrap", server) for server in SERVERS),
    *(("container", server) for server in IN_CONTAINERS),
]
_ADDED = re.compile(r'(?:,|(?<={))\\n  \\"PWD\\": \\"[^"]*\\"')


@pytest.mark.often("bubblewrap-filesystem", "container-time")
@pytest.mark.parametrize(("engine", "server"), CASES)
def test_an_isolated_server_says_the_same(
    engine: str, server: str, tmp_path: Path, home: Path
) -> None:
    if engine == "container":
        engine_here(home / ".local" / "state" / "pipeguard" / HOMES)
    session = Session.load(server, "python")
    named = "{root}" in str(session.plan.get("arguments"))  # then that is enough
    given: tuple[str, ...] = () if named else ("--write", "{root}")
    if session.plan.get("git"):
        given += ("--write", "{root}/.git")
    wrapper = [
        *(sys.executable, "-m", "pipeguard", "wrap", "--name", f"{engine}-{server}"),
        *("--isolate", engine, *given, "--loopback", "{port}", "--"),
    ]
    with ThreadPoolExecutor() as pool:
        bare = pool.submit(session.play, tmp_path / "plain", home, None)
        isolated = pool.submit(session.play, tmp_path / "guard", home, wrapper, inside=False)
        direct, guarded = bare.result(), isolated.result()
    seen = list(map(settled, to_the_end(guarded)))
    assert seen == list(map(settled, to_the_end(direct))), guarded.stderr
    assert "was refused" not in guarded.stderr


def settled(line: str) -> str:
    """A line with its variables in one order, and without the folder: a shell adds that."""
    return re.sub(
        r'(?:\\n  \\"\w+\\": \\"[^"]*\\",?){2,}',
        lambda found: ",".join(sorted(found[0].replace(",\\n", "\n").split("\n"))),
        _ADDED.sub("", line).replace("{,", "{"),
    )
