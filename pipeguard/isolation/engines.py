"""Which engines work on this machine, found by trying them, and why the others do not."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.errors import LaunchError

if TYPE_CHECKING:
    from collections.abc import Callable

BUBBLEWRAP, CONTAINER = "bubblewrap", "container"
AUTO, NONE = "auto", "none"
LEARN = "learn"  # no engine: as open as without one, and watched
CHOICES = (AUTO, BUBBLEWRAP, CONTAINER, NONE, LEARN)  # of `--isolate`
_SYSCTLS = {
    "/proc/sys/kernel/unprivileged_userns_clone": "0",  # Debian's patch of the kernel
    "/proc/sys/user/max_user_namespaces": "0",
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1",  # Ubuntu since 23.10
}


class EngineState(NamedTuple):
    """Whether an engine works here.

    Attributes:
        name: of the engine.
        works: whether it does.
        why: what it lacks and what would give it that; where it works, what it is.
    """

    name: str
    works: bool
    why: str


def bubblewrap_state(trial: Callable[[], str | None]) -> EngineState:
    """Whether bubblewrap works here.

    Args:
        trial: runs a program with it, and returns what was wrong (isolation.sandbox).
    """
    if sys.platform != "linux":
        return EngineState(BUBBLEWRAP, works=False, why="it needs Linux")
    from pipeguard.isolation.bubblewrap import find

    program = find()
    if program is None:
        return EngineState(
            BUBBLEWRAP,
            works=False,
            why="it is not installed. Install the package `bubblewrap` of your distribution.",
        )
    try:
        problem = trial()
    except LaunchError as error:
        problem = str(error)
    if problem is None:
        return EngineState(BUBBLEWRAP, works=True, why=program)
    return EngineState(
        BUBBLEWRAP, works=False, why=f"{_forbidden() or 'the trial failed'}: {problem}"
    )


def container_state(find: Callable[[], str]) -> EngineState:
    """Whether containers work here.

    Args:
        find: tries podman and docker and returns what works (isolation.sandbox).
    """
    try:
        return EngineState(CONTAINER, works=True, why=find())
    except LaunchError as error:
        return EngineState(CONTAINER, works=False, why=str(error))


def _forbidden() -> str | None:
    """The setting of this system that forbids user namespaces; None where none does."""
    for path, value in _SYSCTLS.items():
        if _content(path) == value:
            name = path.removeprefix("/proc/sys/").replace("/", ".")
            return f"{name} = {value} forbids user namespaces"
    if any(map(os.path.exists, ("/.dockerenv", "/run/.containerenv"))):
        return "this is a container, whose settings forbid namespaces inside it"
    return None


def _content(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def engine_for(requested: str) -> str:
    """The engine to use.

    Args:
        requested: as `--isolate` or the policy says.

    Raises:
        LaunchError: there is no such engine, or none is installed. It is tried only by `doctor`:
            a server that cannot be isolated then does not start.
    """
    if requested not in CHOICES or requested == LEARN:
        raise LaunchError(f"--isolate {requested}: choose from {', '.join(CHOICES)}.", 2)
    if requested in (CONTAINER, NONE):
        return requested
    if sys.platform == "linux":
        from pipeguard.isolation.bubblewrap import find

        if find() is not None:
            return BUBBLEWRAP
        if requested == AUTO and _has_containers():
            return CONTAINER
    raise LaunchError(
        "no engine for isolation is installed here, so the server was not started. On Linux,"
        " install the package `bubblewrap`; `pipeguard doctor` says more. To run it without"
        " isolation: --isolate none.",
        126,
    )


def _has_containers() -> bool:
    from pipeguard.isolation.container_engines import DOCKER, PODMAN, installed

    return any(installed(kind) is not None for kind in (PODMAN, DOCKER))
