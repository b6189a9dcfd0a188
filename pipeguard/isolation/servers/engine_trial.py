"""Runs a program isolated by each engine, to say whether that works here."""

import os
import sys
from typing import NamedTuple

from pipeguard.errors import LaunchError
from pipeguard.isolation.engines import Isolation, choose_engine
from pipeguard.isolation.profile import Profile
from pipeguard.launch.child import Command

TRIAL_SECONDS = 5.0


class EngineState(NamedTuple):
    """The state of an engine on this machine.

    Attributes:
        works: True if the engine can be used.
        why: the missing requirement and its remedy; for a working engine, its description.
    """

    name: str
    works: bool
    why: str


def _try_bubblewrap() -> tuple[bool, str]:
    """Run a program isolated to test whether that works here."""
    from pipeguard.isolation.bubblewrap import describe_search, find, forbidden

    program = find()
    if program is None:
        why = f"it is not installed: {describe_search()}. Install the package `bubblewrap`"
        return False, f"{why} of your distribution."
    try:
        problem = _trial()
    except LaunchError as error:
        problem = str(error)
    if problem is None:
        return True, program
    reason = forbidden() or "the trial failed"
    return False, problem if reason in problem else f"{reason}: {problem}"


def _try_container() -> tuple[bool, str]:
    """Run a program in a container to test whether and how that works here."""
    from pipeguard.isolation.container import find_engine
    from pipeguard.isolation.sandbox import isolation_folder, this_host

    try:
        return True, find_engine(this_host(), isolation_folder(), is_new_trial=True).name
    except LaunchError as error:
        return False, str(error)


def try_engines() -> tuple[EngineState, ...]:
    """Run a program isolated by each engine to test which work here."""
    if sys.platform != "linux":
        return (EngineState("isolation", works=False, why="it needs Linux"),)
    bubblewrap = EngineState(Isolation.BUBBLEWRAP, *_try_bubblewrap())
    return bubblewrap, EngineState(Isolation.CONTAINER, *_try_container())


def try_landlock() -> EngineState:
    """Test whether Landlock's rules hold in a sandbox here, too."""
    from pipeguard.isolation.landlock import obstacle, version

    why = obstacle()
    return EngineState("landlock", why is None, why or f"version {version()}")


def find_engine_problem(requested: str) -> str:
    """Explain why servers isolated by an engine would not start here; empty if they would.

    Args:
        requested: from `--isolate` or the policy.
    """
    if sys.platform != "linux":
        return "servers can be isolated on Linux only, so far"
    try:
        engine = choose_engine(requested)
    except LaunchError as error:
        return str(error)
    works, why = _try_container() if engine == Isolation.CONTAINER else _try_bubblewrap()
    return "" if works else f"{engine}: {why}"


def _trial() -> str | None:
    """Run `true` isolated; return the problem, if any."""
    from pipeguard.isolation.container import read_trial
    from pipeguard.isolation.sandbox import Sandbox

    sandbox = Sandbox("trial", Command(["/bin/true"], {"PATH": os.defpath}, "/"), Profile())
    child = sandbox.start()
    try:
        return read_trial(child, TRIAL_SECONDS, may_print=True)
    finally:
        child.close()
