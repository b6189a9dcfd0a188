"""Runs a program isolated by each engine, to say whether that works here."""

from __future__ import annotations

import os
import sys

from pipeguard.errors import LaunchError
from pipeguard.isolation.engines import (
    EngineState,
    Isolation,
    bubblewrap_state,
    choose_engine,
    container_state,
)
from pipeguard.isolation.profile import Profile
from pipeguard.launch.child import Command

TRIAL_SECONDS = 5.0
MAX_SAID_BYTES = 300


def try_bubblewrap() -> EngineState:
    """Run a program isolated, and say whether that works here."""
    return bubblewrap_state(_trial)


def try_container() -> EngineState:
    """Run a program in a container, and say whether and how that works here."""
    return container_state(_container_engine)


def try_engines() -> tuple[EngineState, ...]:
    """Run a program isolated by each engine, and say which works here."""
    if sys.platform != "linux":
        return (EngineState("isolation", works=False, why="it needs Linux"),)
    return try_bubblewrap(), try_container()


def try_landlock() -> EngineState:
    """Say whether Landlock's rules hold in a sandbox here, too."""
    from pipeguard.isolation.landlock import obstacle, version

    why = obstacle()
    return EngineState("landlock", why is None, why or f"version {version()}")


def try_learning() -> EngineState:
    """Say whether it can be learned here what a server needs."""
    why: str | None = "it needs Linux"
    if sys.platform == "linux":
        from pipeguard.isolation.learning.tracer import obstacle

        why = obstacle()
    return EngineState(Isolation.LEARN, why is None, why or "strace")


def find_engine_problem(requested: str) -> str:
    """Why servers that are isolated by an engine would not start here; empty where they do.

    Args:
        requested: as `--isolate` or the policy says.
    """
    if sys.platform != "linux":
        return "servers can be isolated on Linux only, so far"
    try:
        engine = choose_engine(requested)
    except LaunchError as error:
        return str(error)
    state = try_container() if engine == Isolation.CONTAINER else try_bubblewrap()
    return "" if state.works else f"{state.name}: {state.why}"


def _container_engine() -> str:
    from pipeguard.isolation.container_trial import find_engine
    from pipeguard.isolation.sandbox import isolation_folder, this_host

    return find_engine(this_host(), isolation_folder(), is_new_trial=True).name


def _trial() -> str | None:
    """Run `true` isolated; returns what was wrong."""
    from pipeguard.isolation.sandbox import Sandbox

    sandbox = Sandbox("trial", Command(["/bin/true"], {"PATH": os.defpath}, "/"), Profile())
    child = sandbox.start()
    try:
        child.wait_started()
        ended = child.wait(TRIAL_SECONDS)
        if ended is not None and ended.code == 0:
            return None
        child.end(0)
        said = os.read(child.stderr_fd, MAX_SAID_BYTES).decode("utf-8", "replace").strip()
        return said or f"the program {ended or 'did not end'}"
    finally:
        child.close()
