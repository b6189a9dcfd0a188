"""The trial of podman on this machine: running `true` in a container.

What was found is kept until the system starts again or the program changes, since trying takes
longer than starting a server.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pipeguard.errors import LaunchError
from pipeguard.isolation.container import Contained, start_contained
from pipeguard.isolation.container_engines import ContainerEngine, find_podman
from pipeguard.isolation.profile import Profile, ResourceLimits
from pipeguard.isolation.view import build_view
from pipeguard.launch.command import NOT_RUNNABLE

if TYPE_CHECKING:
    from pipeguard.isolation.view import SandboxUser
    from pipeguard.launch.child import Child

FOUND = "container.json"  # in the folder of isolation
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
    path = Path(folder, FOUND)
    if not is_new_trial and (kept := _read_cached(path)) is not None:
        return kept
    if (program := find_podman()) is None:
        raise LaunchError("podman is not installed.", NOT_RUNNABLE)
    problem = ""
    for is_limited in (True, False):
        for runtime in ((), ("--runtime", "runc"), ("--runtime", "crun")):
            engine = ContainerEngine(program, runtime, os.getuid() != 0, is_limited)
            said = _trial(engine, host, folder)
            if said is None:
                _cache(path, engine)
                return engine
            problem = problem or said[:MOST_SAID]
    with suppress(FileNotFoundError):
        path.unlink()
    raise LaunchError(f"podman does not work here: {problem}", NOT_RUNNABLE)


def _trial(engine: ContainerEngine, host: SandboxUser, folder: str) -> str | None:
    """Run `true` in a container; returns what was wrong."""
    view = build_view(Profile(), host, (), "/", None)
    server = Contained(_TRUE, {}, view, host, ResourceLimits(), ())
    try:
        child, channel, clean_up = start_contained(engine, server, folder)
    except (LaunchError, OSError) as error:
        return str(error)
    try:
        return _ending(child, engine)
    except LaunchError as error:
        return str(error)
    finally:
        child.close()
        channel.close()
        clean_up()


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


def _key(engine: ContainerEngine) -> dict[str, object]:
    """The conditions under which an earlier trial still counts."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    changed = os.stat(engine.program).st_mtime_ns
    return {
        "boot": boot,
        "changed": changed,
        "user": os.getuid(),
        "engine": [engine.program, list(engine.options), *engine[2:]],
    }


def _cache(path: Path, engine: ContainerEngine) -> None:
    path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
    path.write_text(json.dumps(_key(engine)) + "\n", "utf-8")


def _read_cached(path: Path) -> ContainerEngine | None:
    try:
        kept = json.loads(path.read_text("utf-8"))
        program, options, *rest = kept["engine"]
        engine = ContainerEngine(program, tuple(options), *rest)
        is_same = _key(engine) == kept
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return engine if is_same else None
