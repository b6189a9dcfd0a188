"""Limits that a server runs into are told with the option that raises them."""

from __future__ import annotations

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
    assert "--limit cpu=2, or `limits: {cpu: 2}` under `isolate`." in said_at_its_end(
        tmp_path, engine, "cpu=1", LOOP
    )


@pytest.mark.needs("bubblewrap")
def test_processes_that_were_refused_are_told_where_a_group_counts_them(tmp_path: Path) -> None:
    group = make_group(ResourceLimits(), 26)
    if group is None:
        pytest.skip("no control group can be made here")
    group.leave()
    assert group.exceeded_limits() == ()
    said = said_at_its_end(tmp_path, "bubblewrap", "processes=5", FORK)
    assert "reacher ran into its limit processes=5" in said


MORE = "limit memory=64. If it needs more: --limit memory=128,"


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
        (SIGNAL_BASE + signal.SIGSYS, (), "a system call that is forbidden to isolated servers"),
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
