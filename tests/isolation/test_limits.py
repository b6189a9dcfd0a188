"""The limit that a server exceeds is named."""

import signal
import sys
from pathlib import Path

import pytest

from pipeguard.isolation.cgroups import make_group
from pipeguard.isolation.ended_by_limit import limits_told
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


@pytest.mark.often("bubblewrap")
@pytest.mark.needs("bubblewrap")
@pytest.mark.parametrize("engine", ["bubblewrap", "container"])
def test_cpu_seconds_that_are_used_up_are_told(engine: str, tmp_path: Path) -> None:
    if engine == "container":
        engine_here(tmp_path / "state" / HOMES)
    assert "ran into its limit cpu=1." in said_at_its_end(tmp_path, engine, "cpu=1", LOOP)


@pytest.mark.needs("bubblewrap")
def test_processes_that_were_refused_are_told_where_a_group_counts_them(tmp_path: Path) -> None:
    group = make_group(ResourceLimits())
    if group is None:
        pytest.skip("no control group can be made here")
    group.leave()
    assert group.exceeded_limits() == ()
    said = said_at_its_end(tmp_path, "bubblewrap", "processes=5", FORK)
    assert "reacher ran into its limit processes=5" in said


@pytest.mark.parametrize(
    ("ended", "exceeded", "expected"),
    [
        (Exit(1), (), ""),
        (Exit(1), ("memory", "memory"), "ran into its limit memory=64."),
        (Exit(SIGNAL_BASE + signal.SIGXFSZ), (), "ran into its limit file-size=7."),
        (Exit(SIGNAL_BASE + signal.SIGSYS), (), "a system call that is forbidden to isolated"),
        (Exit(250), (), ""),
        (Exit.by_signal(signal.SIGXCPU), (), ""),  # an end of our own
        (None, (), ""),
    ],
)
def test_the_limit_that_ended_a_server_is_named(
    ended: Exit | None, exceeded: tuple[str, ...], expected: str
) -> None:
    limits = ResourceLimits(memory=64, file_size=7)
    told = list(limits_told("one", ended, limits, exceeded))
    assert len(told) == bool(expected)
    assert expected in "".join(told)
