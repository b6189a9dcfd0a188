"""Isolates tests from the user's settings, and skips those whose program is missing."""

import gc
import inspect
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from ctypes.util import find_library
from fnmatch import fnmatchcase
from functools import cache, partial
from inspect import iscoroutinefunction
from itertools import count
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING

import pytest
from _pytest.terminal import TerminalReporter

from pipeguard.launch.agents import AGENT_VARIABLES
from pipeguard.rulebook.cache import load_engines
from tests import forking
from tests.fuzz.budget import load_profile
from tests.programs import find_program
from tests.snapshot import IS_WRITTEN, Snapshot
from tests.tools import TOOLS

if TYPE_CHECKING:
    from tests.fleet.postgres import Cluster

FOLDERS = ("CONFIG", "STATE", "DATA")  # as the XDG base directories name them
PROGRESS_SECONDS = 25
# On CI a missing program is an error, and so is every skipped test.
ON_CI = bool(os.environ.get("PIPEGUARD_CI"))
# The programs that `needs` of a test may name; requirements/system installs them.
PROGRAMS = (
    *("Xvfb", "bash", "bubblewrap", "cc", "chromium", "curl", "dbus-daemon", "dunst", "fish"),
    *("git", "haproxy", "initdb", "ip", "java", "libxcb-cursor", "nginx", "node 20", "npx"),
    *("pgbouncer", "podman", "ps", "psql", "redis-server", "strace", "systemd-analyze"),
    *("terminal", "trayer", "xdotool", "zsh"),
)

# Tests are collected before their folders are set: a pack of whoever runs them is no part of it.
os.environ["XDG_CONFIG_HOME"] = str(TOOLS / "none")

# As rulebook.cache has it, where a test imports numpy itself: threads of OpenBLAS end when the
# process forks (pthread_atfork(3)), and whoever waits for them then waits for ever.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

# Until all tests are collected, for a quarter of the time that this takes.
gc.disable()

# Without bytecode on disk each worker rewrites the asserts of all tests anew, for 8 of the 15 s of
# collecting them, and each program that a test starts is compiled from its source.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


@cache
def works(name: str) -> bool:
    """True if a program is installed, bubblewrap makes a namespace, and there is a terminal."""
    if name == "node 20":
        program = ("node", "-e", "process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)")
        return works("node") and subprocess.run(program, check=False).returncode == 0
    if name == "terminal":
        with suppress(OSError):
            for side in os.openpty():
                os.close(side)
            return True
        return False
    if name.startswith("lib"):
        return find_library(name.removeprefix("lib")) is not None
    if name != "bubblewrap":
        return any(map(find_program, (name, f"{name}-browser")))
    tried = ["bwrap", "--unshare-user", "--unshare-net", "--ro-bind", "/", "/", "true"]
    return (
        shutil.which("bwrap") is not None
        and subprocess.run(tried, capture_output=True, check=False).returncode == 0
    )


def pytest_configure() -> None:
    """Give properties no deadline, and let processes of tests be interrupted.

    A machine with other work misses a deadline. A shell's background job ignores SIGINT.
    """
    load_profile()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str | None:
    """Name the missing programs, whose tests are skipped."""
    missing = [name for name in PROGRAMS if not works(name)]
    if missing and ON_CI:
        raise pytest.UsageError(f"missing or not working: {', '.join(missing)}")
    return f"skipping what needs {', '.join(missing)}" if missing else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Use half as many workers again as cores: a test waits a third of its time."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return cores + (cores + 1) // 2


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave rare variants to `make exhaustive`, skip tests whose program is missing, and sort."""
    _mark_rare(items)
    if IS_WRITTEN:
        items[:] = [item for item in items if "snapshot" in getattr(item, "fixturenames", ())]
    for item in items:
        for mark in item.iter_markers("needs"):
            if not works(mark.args[0]):
                item.add_marker(pytest.mark.skip(reason=f"{mark.args[0]} does not work here"))
    longest = {item.path for item in items if item.get_closest_marker("long")}
    starting = {item.path for item in items if item.get_closest_marker("real")}
    items.sort(key=lambda item: (item.path not in longest, item.path not in starting))


def _mark_rare(items: list[pytest.Item]) -> None:
    """Mark the variants of a test that its mark `often` does not name as exhaustive.

    Raises:
        pytest.UsageError: it names no existing variant, so that the test would never run.
    """
    variants: dict[str, list[bool]] = {}
    for item in items:
        if (mark := item.get_closest_marker("often")) is not None:
            test, _, name = item.nodeid.partition("[")
            is_named = any(fnmatchcase(name.removesuffix("]"), each) for each in mark.args)
            variants.setdefault(test, []).append(is_named)
            if not is_named:
                item.add_marker("exhaustive")
    never = [test for test, named in variants.items() if len(named) > 1 and not any(named)]
    if never:
        raise pytest.UsageError(f"`often` names no variant of {', '.join(never)}")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine on a loop of its own (tests.transports.wire.run)."""
    if not iscoroutinefunction(pyfuncitem.obj):
        return None
    from tests.transports.wire import run

    names = inspect.signature(pyfuncitem.obj).parameters
    run(partial(pyfuncitem.obj, **{name: pyfuncitem.funcargs[name] for name in names}))
    return True


def pytest_sessionstart(session: pytest.Session) -> None:
    """Print a line now and then, if other processes run the tests."""
    if session.config.pluginmanager.has_plugin("dsession"):
        threading.Thread(target=_tell_progress, args=(session,), daemon=True).start()


def _tell_progress(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    assert isinstance(reporter, TerminalReporter)
    for number in count(1):
        sleep(PROGRESS_SECONDS)
        done = sum(len(reporter.stats.get(kind, ())) for kind in ("passed", "skipped", "failed"))
        seconds = number * PROGRESS_SECONDS
        reporter.write(f"\n{done} of {session.testscollected} tests in {seconds} s\n")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail on CI if a test was skipped."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if ON_CI and isinstance(reporter, TerminalReporter) and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_collection_finish() -> None:
    """Exclude the objects that live until the end from further garbage collections."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        for name in AGENT_VARIABLES:  # whoever runs the tests
            patch.delenv(name, raising=False)
        for name in FOLDERS:
            patch.setenv(f"XDG_{name}_HOME", str(tmp_path_factory.mktemp(name.lower())))
        # Rules take half a minute to compile: once for all workers, and for as long as they hold.
        patch.setenv("XDG_CACHE_HOME", str(TOOLS / "cache"))
        load_engines()  # so that no test waits for them
        if not works("terminal"):
            for name in ("os.openpty", "pty.openpty", "pty.fork"):
                patch.setattr(name, partial(pytest.skip, "a terminal does not work here"))
        yield


@pytest.fixture(scope="session")
def cluster() -> "Iterator[Cluster]":
    """The PostgreSQL of this process's tests, which none of them stops: that needs its own."""
    if not works("initdb"):
        pytest.skip("initdb does not work here")
    from tests.fleet.postgres import Cluster

    with Cluster() as server:
        yield server


@pytest.fixture
def database(cluster: "Cluster") -> str:
    """The address of a new database, as a role with no right beyond its schema."""
    return cluster.create_database()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start programs instead of forking copies of them."""
    monkeypatch.setattr(forking, "_forks_of", lambda *_: None)


@pytest.fixture
def snapshot(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Snapshot:
    """The output of commands, compared with tests/snapshots/."""
    monkeypatch.setenv("COLUMNS", "80")
    return Snapshot(capfd, {re.escape(str(tmp_path)): "TMP"})
