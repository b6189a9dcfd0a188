"""The engines that work on this machine, found by trying them, and why the others do not."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.errors import LaunchError

if TYPE_CHECKING:
    from collections.abc import Callable

ADVICE = (
    "`pipeguard doctor isolation` tries the engines and says what each lacks. To run the server"
    " without isolation: --isolate none."
)


class Isolation(StrEnum):
    """The values of `--isolate`: engines, and two words for none."""

    AUTO = "auto"
    BUBBLEWRAP = "bubblewrap"
    CONTAINER = "container"
    NONE = "none"
    LEARN = "learn"  # as open as without an engine, and watched


class EngineState(NamedTuple):
    """The state of an engine on this machine.

    Attributes:
        name: of the engine.
        works: whether it does.
        why: what it lacks and what would give it that; where it works, what it is.
    """

    name: str
    works: bool
    why: str


def bubblewrap_state(trial: Callable[[], str | None]) -> EngineState:
    """Test bubblewrap on this machine.

    Args:
        trial: runs a program with it, and returns what was wrong (isolation.servers.engine_trial).
    """
    if sys.platform != "linux":
        return EngineState(Isolation.BUBBLEWRAP, works=False, why="it needs Linux")
    from pipeguard.isolation.bubblewrap import describe_search, find

    program = find()
    if program is None:
        why = f"it is not installed: {describe_search()}. Install the package `bubblewrap`"
        return EngineState(Isolation.BUBBLEWRAP, works=False, why=f"{why} of your distribution.")
    try:
        problem = trial()
    except LaunchError as error:
        problem = str(error)
    if problem is None:
        return EngineState(Isolation.BUBBLEWRAP, works=True, why=program)
    return EngineState(Isolation.BUBBLEWRAP, works=False, why=_with_reason(problem))


def _with_reason(problem: str) -> str:
    from pipeguard.isolation.bubblewrap import forbidden

    reason = forbidden() or "the trial failed"
    return problem if reason in problem else f"{reason}: {problem}"


def container_state(find: Callable[[], str]) -> EngineState:
    """Test containers on this machine.

    Args:
        find: tries podman and returns what works (isolation.servers.engine_trial).
    """
    try:
        return EngineState(Isolation.CONTAINER, works=True, why=find())
    except LaunchError as error:
        return EngineState(Isolation.CONTAINER, works=False, why=str(error))


def choose_engine(requested: str) -> str:
    """The engine to use.

    Args:
        requested: as `--isolate` or the policy says.

    Raises:
        LaunchError: there is no such engine, or none is installed. It is tried by `doctor` and
            `setup` alone: a server that cannot be isolated then does not start.
    """
    if requested not in tuple(Isolation) or requested == Isolation.LEARN:
        raise LaunchError(f"--isolate {requested}: choose from {', '.join(Isolation)}.", 2)
    if requested in (Isolation.CONTAINER, Isolation.NONE):
        return requested
    if sys.platform != "linux":
        raise LaunchError("servers can be isolated on Linux only, so far.", 126, ADVICE)
    from pipeguard.isolation.bubblewrap import describe_search, find, forbidding_setting

    is_here, others = find() is not None, requested == Isolation.AUTO
    if is_here and not (others and forbidding_setting() and _has_podman()):
        return Isolation.BUBBLEWRAP
    if others and _has_podman():
        return Isolation.CONTAINER
    also = ", nor is podman" if others else ""
    raise LaunchError(
        f"bubblewrap is not installed here{also}, so the server was not started:"
        f" {describe_search()}. Install the package `bubblewrap` of your distribution.",
        126,
        ADVICE,
    )


def _has_podman() -> bool:
    from pipeguard.isolation.container_engines import find_podman

    return find_podman() is not None
