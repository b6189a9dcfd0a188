"""Engines for containers that work on this machine, for the tests that need one."""

import os
from pathlib import Path

import pytest

from pipeguard.errors import LaunchError
from pipeguard.isolation.container import find_engine
from pipeguard.isolation.container_engines import ContainerEngine
from pipeguard.isolation.sandbox import this_host

ON_CI = bool(os.environ.get("PIPEGUARD_CI"))


def engine_here(folder: Path) -> ContainerEngine:
    """Find the engine that works here, with this folder of PipeGuard's; skip without one."""
    try:
        return find_engine(this_host(), str(folder))
    except LaunchError as error:
        if ON_CI:
            raise
        pytest.skip(str(error))


def left_of(engine: ContainerEngine, folder: Path) -> list[str]:
    """The names of containers that were made from this folder of PipeGuard's and still are."""
    label = f"label=pipeguard.folder={folder}"
    words = ("ps", "--all", "--filter", label, "--format", "{{.Names}}")
    return engine.call(*words).stdout.decode().split()
