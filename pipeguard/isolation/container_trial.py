"""The trial of container engines on this machine: running `true` in each.

What was found is kept until the system starts again or the program changes, since trying takes
longer than starting a server.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pipeguard.errors import LaunchError
from pipeguard.isolation.container import Contained, start_contained
from pipeguard.isolation.container_engines import (
    DOCKER,
    PODMAN,
    ContainerEngine,
    find_client,
    sockets,
)
from pipeguard.isolation.profile import Profile, ResourceLimits
from pipeguard.isolation.view import build_view
from pipeguard.launch.command import NOT_RUNNABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeguard.isolation.view import SandboxUser
    from pipeguard.launch.child import Child

FOUND = "container.json"  # in the folder of isolation
TRIAL_SECONDS = 20.0
MAX_SAID_BYTES = 4000
MOST_SAID = 300
_TRUE = ("/bin/true",)
_GIVE_RANGE = (
    "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER,"
    " then podman system migrate"
)
# A part of what an engine says, and what that means and needs. The first that is found counts.
_MEANINGS = (
    (
        ("subuid", "subgid", "newuidmap", "cannot set up namespace"),
        f"your user has no range of subordinate user numbers. Give it one: {_GIVE_RANGE}",
    ),
    (("permission denied while trying to connect",), "its daemon is root's and not open to you"),
    (
        ("Cannot connect to the Docker daemon", "Is the docker daemon running", "dial unix"),
        "its daemon is not running",
    ),
    (("cgroup",), "its runtime cannot use this system's control groups"),
    (("user namespace", "clone: operation not permitted"), "user namespaces are off here"),
)


def find_engine(host: SandboxUser, folder: str, *, is_new_trial: bool = False) -> ContainerEngine:
    """The engine that works here.

    Args:
        host: this machine and its user.
        folder: of PipeGuard's, for what containers are made from and what was found.
        is_new_trial: try, whatever was found before.

    Raises:
        LaunchError: none does; the message says for each why not.
    """
    path = Path(folder, FOUND)
    if not is_new_trial and (kept := _read_cached(path)) is not None:
        return kept
    problems: list[str] = []
    for candidates in _candidates(problems):
        said_of: dict[str, str] = {}  # the same for several settings is told once
        for engine in candidates:
            said = _trial(engine, host, folder)
            if said is None:
                _cache(path, engine)
                return engine
            said_of.setdefault(_explain_failure(said), " ".join((engine.kind, *engine.options)))
        problems += [f"{name}: {said}" for said, name in said_of.items()]
    with suppress(FileNotFoundError):
        path.unlink()
    why = "; ".join(problems)
    raise LaunchError(f"no engine for containers works here{_inside()}. {why}", NOT_RUNNABLE)


def _candidates(problems: list[str]) -> Iterator[Iterator[ContainerEngine]]:
    """The engines that are installed, each with what it may have to do without, best first."""
    if sys.platform != "linux":
        problems.append("servers run from this machine's files, which needs Linux")
        return
    if (program := find_client(PODMAN)) is not None:
        yield _podman(program)
    else:
        problems.append("podman is not installed")
    if (program := find_client(DOCKER)) is None:
        problems.append("docker is not installed")
        return
    found = list(sockets())
    if not found:
        problems.append("docker: its daemon is not running, or on another machine")
    for socket in found:
        yield _docker(program, socket)


def _podman(program: str) -> Iterator[ContainerEngine]:
    is_rootless = os.getuid() != 0
    for is_limited in (True, False):
        for runtime in ((), ("--runtime", "runc"), ("--runtime", "crun")):
            yield ContainerEngine(PODMAN, program, runtime, "", is_rootless, is_limited)


def _docker(program: str, socket: str) -> Iterator[ContainerEngine]:
    owner = os.stat(socket).st_uid
    is_rootless = owner == os.getuid() and owner != 0
    for joins in (True, False) if owner == os.getuid() else (False,):
        for is_limited in (True, False):
            yield ContainerEngine(DOCKER, program, (), socket, is_rootless, is_limited, joins)


def _trial(engine: ContainerEngine, host: SandboxUser, folder: str) -> str | None:
    """Run `true` in a container; returns what was wrong."""
    view = build_view(Profile(), host, (), "/", None)
    server = Contained(_TRUE, {}, view, host, ResourceLimits(), (), is_offline=True)
    try:
        running = start_contained(engine, server, folder)
    except (LaunchError, OSError) as error:
        return str(error)
    try:
        return _ending(running.child, engine)
    except LaunchError as error:
        return str(error)
    finally:
        running.child.close()
        running.channel.close()
        running.clean_up()


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


def _explain_failure(message: str) -> str:
    for marks, meaning in _MEANINGS:
        if any(mark.lower() in message.lower() for mark in marks):
            return f"{meaning} ({message[:MOST_SAID]})"
    return message[:MOST_SAID]


def _inside() -> str:
    """Said where this is a container already, which most do not let run another."""
    marks = ("/.dockerenv", "/run/.containerenv")
    return ", inside a container" if any(os.path.exists(mark) for mark in marks) else ""


def _key(engine: ContainerEngine) -> dict[str, object]:
    """The conditions under which an earlier trial still counts."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    changed = os.stat(engine.program).st_mtime_ns
    return {
        "boot": boot,
        "changed": changed,
        "user": os.getuid(),
        "engine": [*engine[:2], list(engine.options), *engine[3:]],
    }


def _cache(path: Path, engine: ContainerEngine) -> None:
    path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
    path.write_text(json.dumps(_key(engine)) + "\n", "utf-8")


def _read_cached(path: Path) -> ContainerEngine | None:
    try:
        kept = json.loads(path.read_text("utf-8"))
        kind, program, options, *rest = kept["engine"]
        engine = ContainerEngine(kind, program, tuple(options), *rest)
        is_same = _key(engine) == kept
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return engine if is_same else None
