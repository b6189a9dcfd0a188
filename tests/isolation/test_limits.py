"""Limits that a server runs into are told with the option that raises them."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from pipeguard.isolation.cgroups import make_group
from pipeguard.isolation.ended_by_limit import limits_named, limits_told
from pipeguard.isolation.profile import ResourceLimits
from pipeguard.isolation.sandbox import HOMES
from pipeguard.launch.command import SIGNAL_BASE, Exit
from tests.isolation.containers import engine_here
from tests.isolation.test_wrapped import Isolated

LOOP = "while True: pass"
FORK = "import os\nfor _ in range(9):\n  if os.fork() == 0: os.read(0, 1)"


def said_at_its_end(folder: Path, engine: str, limit: str, source: str) -> str:
    command = (sys.executable, "-I", "-c", source)
    options = ("--isolate", engine, "--limit", limit)
    with Isolated(folder, *options, command=command) as run:
        run.process.wait(60)
        return run.said()


@pytest.mark.needs("bubblewrap")
@pytest.mark.parametrize("engine", ["bubblewrap", "container"])
def test_cpu_seconds_that_are_used_up_are_told(engine: str, tmp_path: Path) -> None:
    if engine == "container":
        engine_here(tmp_path / "state" / HOMES)
    assert "--limit cpu=2, or `limits: {cpu: 2}` under `isolate`." in said_at_its_end(
        tmp_path, engine, "cpu=1", LOOP
    )


@pytest.mark.needs("bubblewrap")
def test_processes_that_were_refused_are_told_where_a_group_counts_them(tmp_path: Path) -> None:
    group = make_group(ResourceLimits(), 26)
    if group is None:
        pytest.skip("no control group can be made here")
    group.leave()
    assert group.exceeded() == ()
    said = said_at_its_end(tmp_path, "bubblewrap", "processes=5", FORK)
    assert "reacher ran into its limit processes=5" in said


MORE = "limit memory=64. If it needs more: --limit memory=128,"
MORE_MEMORY = "x = bytearray(80 * 1024 * 1024)"
MANY_FILES = "held = [open('/dev/null') for _ in range(64)]"
THREADS = (
    "import threading, time\n"
    "for _ in range(64): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()"
)
LARGE_FILE = "open('/tmp/large', 'wb').write(b'x' * 99_999)"


@pytest.mark.needs("bubblewrap")
@pytest.mark.parametrize(
    ("engine", "limit", "source", "more"),
    [
        ("container", "memory=64MiB", MORE_MEMORY, "memory=128MiB"),  # no room to start in
        ("container", "processes=1", MORE_MEMORY, "processes=2"),
        ("container", "files=32", MANY_FILES, "files=64"),
        ("container", "scratch=64KiB", LARGE_FILE, "scratch=128KiB"),
        ("bubblewrap", "memory=64MiB", MORE_MEMORY, "memory=128MiB"),
        ("bubblewrap", "files=32", MANY_FILES, "files=64"),
        ("bubblewrap", "memory=80MiB", THREADS, "memory=160MiB"),
        ("bubblewrap", "file-size=64KiB", LARGE_FILE, "file-size=128KiB"),
        ("bubblewrap", "scratch=64KiB", LARGE_FILE, "scratch=128KiB"),
    ],
)
def test_a_failure_at_a_limit_says_which_one_it_was(
    engine: str, limit: str, source: str, more: str, tmp_path: Path
) -> None:
    if engine == "container":
        engine_here(tmp_path / "state" / HOMES)
    said = said_at_its_end(tmp_path, engine, limit, source)
    either = ", or processes=1024" if source == THREADS else ""
    assert f"its limit {limit}{either} may be why" in said
    assert f"--limit {more}, or" in said
    assert said.count("pipeguard: reacher failed") == 1


def test_what_a_server_says_of_limits_counts_once_it_has_failed() -> None:
    named = limits_named(b"OSError: [Errno 28] No space left on device")
    assert named == {"scratch"}
    assert not limits_named(b"all is well: there is space left in memory")
    for ended in (None, Exit(0), Exit.by_signal(signal.SIGKILL)):
        assert not list(limits_told("one", ended, ResourceLimits(), (), named))
    unlimited = ResourceLimits(memory=None)
    assert not list(limits_told("one", Exit(1), unlimited, (), ["memory"]))
    (told,) = limits_told("one", Exit(1), ResourceLimits(scratch=1024), (), named)
    assert "--limit scratch=2KiB" in told
    assert "unless it is said: scratch=1GiB" in told


@pytest.mark.parametrize(
    ("code", "exceeded", "expected"),
    [
        (0, (), ""),
        (1, (), ""),
        (1, ("memory", "memory"), MORE),
        (
            SIGNAL_BASE + signal.SIGXFSZ,
            (),
            "limit file-size=7. If",
        ),
        (SIGNAL_BASE + signal.SIGSYS, (), "a system call that no isolated server may make"),
        (SIGNAL_BASE + signal.SIGABRT, (), "crashed (SIGABRT)"),
        (
            SIGNAL_BASE + signal.SIGABRT,
            ("memory",),
            "limit memory=64. If it needs more: --limit memory=128,",
        ),
        (SIGNAL_BASE + signal.SIGTERM, (), ""),
        (250, (), ""),
    ],
)
def test_an_end_is_explained_where_a_limit_may_be_why(
    code: int, exceeded: tuple[str, ...], expected: str
) -> None:
    limits = ResourceLimits(memory=64, file_size=7)
    told = list(limits_told("one", Exit(code), limits, exceeded))
    assert len(told) == bool(expected)
    assert expected in "".join(told)


def test_what_we_ended_ourselves_is_not_explained() -> None:
    assert not list(limits_told("one", Exit.by_signal(signal.SIGXCPU), ResourceLimits(), ()))
    assert not list(limits_told("one", None, ResourceLimits(), ()))
