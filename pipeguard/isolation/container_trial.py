"""The trial of podman on this machine: running `true` in a container.

What was found is kept until the system starts again or the program changes, since trying takes
longer than starting a server.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pipeguard.errors import LaunchError
from pipeguard.isolation.container import start_contained
from pipeguard.isolation.container_engines import ContainerEngine, find_podman
from pipeguard.isolation.profile import Profile, ResourceLimits
from pipeguard.isolation.view import SandboxedCommand, build_view
from pipeguard.launch.command import NOT_RUNNABLE

if TYPE_CHECKING:
    from pipeguard.isolation.view import SandboxUser
    from pipeguard.launch.child import Child

FOUND = "container"  # in the folder of isolation
TRIAL_SECONDS = 20.0
MAX_SAID_BYTES = 4000
MOST_SAID = 300
_TRUE = ("/bin/true",)


def find_engine(host: SandboxUser, folder: str, *, is_new_trial: bool = False) -> ContainerEngine:
    """The engine that works here.

    Args:
        host: this machine and its user.
        folder: of PipeGuard's, for what containers are made from and what was found.
        is_new_trial: try, whatever was found before.

    Raises:
        LaunchError: none does; the message says why.
    """
    if (program := find_podman()) is None:
        raise LaunchError("podman is not installed.", NOT_RUNNABLE)
    ways = [
        ContainerEngine(program, runtime, os.getuid() != 0, is_limited)
        for is_limited in (True, False)
        for runtime in ((), ("--runtime", "runc"), ("--runtime", "crun"))
    ]
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    here = f"{boot} {os.stat(program).st_mtime_ns} {os.getuid()}"  # while a trial counts
    path = Path(folder, FOUND)
    if not is_new_trial:
        with suppress(OSError, ValueError, IndexError):
            known, chosen = path.read_text("utf-8").splitlines()
            if known == here:
                return ways[int(chosen)]
    problem = ""
    for number, engine in enumerate(ways):
        said = _trial(engine, host, folder)
        if said is None:
            path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
            path.write_text(f"{here}\n{number}\n", "utf-8")
            return engine
        problem = problem or said[:MOST_SAID]
    path.unlink(missing_ok=True)
    raise LaunchError(f"podman does not work here: {problem}", NOT_RUNNABLE)


def _trial(engine: ContainerEngine, host: SandboxUser, folder: str) -> str | None:
    """Run `true` in a container; returns what was wrong."""
    view = build_view(Profile(), host, (), "/", None)
    server = SandboxedCommand(_TRUE, {}, view, host, ResourceLimits(), ())
    try:
        child, channel, end = start_contained(engine, server, folder)
    except (LaunchError, OSError) as error:
        return str(error)
    try:
        return _ending(child, engine)
    except LaunchError as error:
        return str(error)
    finally:
        child.close()
        channel.close()
        end()


def _ending(child: Child, engine: ContainerEngine) -> str | None:
    """Explain how a trial failed."""
    child.wait_started()
    ended = child.wait(TRIAL_SECONDS)
    child.end(0)
    printed = " ".join(os.read(child.stderr_fd, MAX_SAID_BYTES).decode(errors="replace").split())
    # podman warns of limits that it ignores, before all that the server says there.
    if ended is not None and ended.code == 0 and not (printed and engine.is_limited):
        return None
    return printed or f"the program {ended or 'did not end'}"
