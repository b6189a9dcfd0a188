"""Check of isolation: which engines work here, by trying each."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from pipeguard.config.effective_policy import wrap_isolation
from pipeguard.config.options import WrapOptions
from pipeguard.doctor.diagnosis import Case, Diagnosis, InstallationCheck, good, note, wrong
from pipeguard.errors import PolicyError
from pipeguard.installation import reinstall_command
from pipeguard.isolation.engines import BUBBLEWRAP, NONE, EngineState

LANDLOCK_FIX = "nothing: the sandbox holds without it; Linux 5.19 or newer has it"
LEARN_FIX = "name it yourself: --read, --write, --connect (docs/isolation.md)"


def isolation(_case: Case) -> Iterable[Diagnosis]:
    """Which engines can isolate servers here."""
    if sys.platform == "linux":
        from pipeguard.isolation.sandbox import try_bubblewrap, try_container

        states = [try_bubblewrap(), try_container()]
    else:
        states = [EngineState("isolation", works=False, why="it needs Linux")]
    if any(state.works and state.name == BUBBLEWRAP for state in states):
        yield from _second_wall()
    works = any(state.works for state in states)
    for state in states:
        if state.works:
            yield good(f"{state.name} works ({state.why})")
        elif works:
            yield good(f"{state.name} does not, which is not needed: {state.why}")
        elif _is_asked_for():
            what = f"your policy isolates servers, which do not start: {state.name}: {state.why}"
            yield wrong(what, _fix(state))
        else:
            yield note(f"servers cannot be isolated here: {state.name}: {state.why}", _fix(state))


def _second_wall() -> Iterable[Diagnosis]:
    """Whether Landlock's rules hold in a sandbox, too."""
    from pipeguard.isolation.landlock import PROGRAM, obstacle, version

    why = obstacle()
    if why is None:
        yield good(f"in bubblewrap's sandbox Landlock's rules hold, too (version {version()})")
        return
    has_it = version() and not os.access(PROGRAM, os.X_OK)
    fix = f"install one (gcc or clang), then: {reinstall_command()}" if has_it else LANDLOCK_FIX
    yield note(f"bubblewrap's sandbox is without Landlock, a second wall: {why}", fix)


def learning(_case: Case) -> Iterable[Diagnosis]:
    """Whether it can be learned what a server needs."""
    if sys.platform == "linux":
        from pipeguard.isolation.learning.learner import obstacle

        why = obstacle()
    else:
        why = "it needs Linux"
    if why is None:
        yield good("what a server needs can be learned (`wrap --isolate learn`)")
    else:
        yield note(f"what a server needs cannot be learned here: {why}", LEARN_FIX)


def _is_asked_for() -> bool:
    """Whether the user's policy isolates any server."""
    try:
        entries = wrap_isolation(WrapOptions((), {}, {}, ()))
    except PolicyError:
        return False  # the check of the policy says so
    return any(entry.engine != NONE for entry in entries)


def _fix(state: EngineState) -> str:
    if "not installed" in state.why:
        return "install the package bubblewrap of your distribution"
    return "docs/isolation.md says what each engine needs"


CHECKS = (
    InstallationCheck("isolation", "isolation", isolation, waits="running a program isolated"),
    InstallationCheck("learning", "learning", learning),
)
