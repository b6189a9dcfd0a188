"""The start of a run: the server first, and no module that an ordinary session does not need."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.forking import PIPEGUARD
from tests.launch.processes import PATIENCE_SECONDS, until
from tests.wrap.wrapped import PYTHON, SERVER, Wrapped

pytestmark = pytest.mark.usefixtures("started")

# What an ordinary session never needs: an event loop, HTTP, the command line, the log, YAML.
NOT_NEEDED = {
    *("asyncio", "anyio", "http", "httpx", "urllib.request", "ssl", "socket", "selectors"),
    *("click", "logging", "yaml", "rich", "platformdirs", "subprocess", "pathlib"),
    *("importlib.metadata", "hypothesis", "pytest", "unittest", "dataclasses", "inspect"),
    *("typing-before-the-server", "pipeguard.state.record"),
}
# Tells what is loaded once everything is over, in the words of the interpreter itself.
TELLS = """
import os, sys
fork = os.fork
os.fork = lambda: ("typing" in sys.modules and os.write(2, b"typing-before-the-server "), fork())[1]
sys.argv[:] = ["pipeguard", *sys.argv[1:]]
from pipeguard.__main__ import main
try:
    main()
finally:
    os.write(2, " ".join(sorted(sys.modules)).encode())
"""


def maps(process: int) -> str:
    return Path(f"/proc/{process}/maps").read_text()


def name_of(process: int) -> str:
    return Path(f"/proc/{process}/comm").read_text().strip()


def test_the_server_is_started_before_anything_is_loaded_that_judges(tmp_path: Path) -> None:
    with Wrapped(tmp_path).opened() as wrapped:
        # The warden is PipeGuard as it was when it forked: it has what was loaded by then.
        (warden,) = (one for one in wrapped.running() if name_of(one) == "pipeguard-ward")
        until(lambda: "hyperscan" in maps(wrapped.process.pid), "what judges is loaded")
        assert "hyperscan" not in maps(warden)


def test_a_session_loads_no_more_than_it_needs(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if "COVERAGE" not in k}
    environment["PIPEGUARD_STATE_DIR"] = str(tmp_path)
    done = subprocess.run(
        [*PIPEGUARD[:3], "-c", TELLS, "wrap", "--", *PYTHON, str(SERVER)],
        input=b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"x"}}\n'
        b'{"jsonrpc":"2.0","id":2,"method":"tools/list"}\n'
        b'{"jsonrpc":"2.0","id":3,"method":"tools/call","params":'
        b'{"name":"echo","arguments":{"text":"hello"}}}\n',
        capture_output=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b"\n") == 3
    loaded = done.stderr.decode().split()
    assert "pipeguard.firewall.session.session" in loaded
    assert sorted(NOT_NEEDED & set(loaded)) == []


def test_no_rules_are_loaded_for_what_earlier_runs_said(tmp_path: Path) -> None:
    def are_loaded(wrapped: Wrapped) -> bool:
        return ".opener" in maps(wrapped.process.pid)  # mapped with the rules for a list

    with Wrapped(tmp_path).opened() as wrapped:
        wrapped.ask("tools/list")
        wrapped.end()
    with Wrapped(tmp_path).opened() as wrapped:
        wrapped.ask("tools/list")
        assert not are_loaded(wrapped)
        wrapped.ask("tools/call", name="echo", arguments={"text": "hello"})
        until(lambda: are_loaded(wrapped), "the rules are loaded")


def test_a_process_of_ours_is_one_and_the_warden(tmp_path: Path) -> None:
    with Wrapped(tmp_path).opened() as wrapped:
        assert len(wrapped.running()) == 3


def test_a_person_who_types_it_is_told_what_it_waits_for(tmp_path: Path) -> None:
    """A client, which has no terminal, gets no message."""
    ours, typed = os.openpty()
    environment = {**os.environ, "PIPEGUARD_STATE_DIR": str(tmp_path)}
    with subprocess.Popen(
        [*PIPEGUARD, "wrap", "--no-audit", "--", *PYTHON, str(SERVER)],
        stdin=typed,
        stderr=subprocess.PIPE,
        env=environment,
    ) as process:
        os.close(typed)
        assert process.stderr is not None
        told = process.stderr.readline().decode()
        assert "MCP client on standard input" in told
        assert told.rstrip().endswith("pipeguard setup")
        os.close(ours)  # hangs up
        assert process.wait(PATIENCE_SECONDS) == 0
    with Wrapped(tmp_path / "client").opened() as wrapped:
        assert "standard input" not in wrapped.said()
