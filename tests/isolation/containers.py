"""Engines for containers that work on this machine, for the tests that need one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which

import pytest

from pipeguard.errors import LaunchError
from pipeguard.isolation.container import find_engine
from pipeguard.isolation.container_engines import ContainerEngine
from pipeguard.isolation.sandbox import this_host
from tests.launch.processes import until

ON_CI = bool(os.environ.get("PIPEGUARD_CI"))


def engine_here(folder: Path) -> ContainerEngine:
    """Find the engine that works here, with this folder of PipeGuard's; skip without one."""
    try:
        return find_engine(this_host(), str(folder))
    except LaunchError as error:
        if ON_CI:
            raise
        pytest.skip(str(error))


@contextmanager
def daemon(folder: Path) -> Iterator[str]:
    """Start a docker daemon for this test only, without a network; yield its socket, or skip."""
    program = next((p for p in ("/usr/sbin/dockerd", "/usr/bin/dockerd") if Path(p).exists()), None)
    if program is None or which("docker") is None or os.getuid() != 0:
        pytest.skip("docker, its daemon, or the right to run it is not here")
    socket = str(folder / "docker.sock")
    command = [
        *(program, "--iptables=false", "--bridge=none", "--storage-driver=vfs"),
        *("--data-root", str(folder / "data"), "--exec-root", str(folder / "run")),
        *("--pidfile", str(folder / "pid"), "--host", f"unix://{socket}"),
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    info = ["docker", "--host", f"unix://{socket}", "info"]
    try:
        until(
            lambda: (
                process.poll() is not None
                or not subprocess.run(info, capture_output=True, check=False).returncode
            ),
            "it answers",
        )
        if process.poll() is not None:
            pytest.skip(f"dockerd does not run here: {(folder / 'log').read_text()[-300:]}")
        yield socket
    finally:
        process.terminate()
        process.wait(60)


def left_of(engine: ContainerEngine, folder: Path) -> list[str]:
    """The names of containers that were made from this folder of PipeGuard's and still are."""
    label = f"label=pipeguard.folder={folder}"
    words = ("ps", "--all", "--filter", label, "--format", "{{.Names}}")
    return engine.call(*words).stdout.decode().split()
