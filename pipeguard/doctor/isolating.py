"""Check of isolation: which engines work here, by trying each, and who needs one."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from pipeguard.clients.entries import read_config
from pipeguard.clients.isolating import is_isolated
from pipeguard.clients.machine import Machine, find
from pipeguard.config.effective_policy import wrap_isolation
from pipeguard.config.options import WrapOptions
from pipeguard.doctor.diagnosis import Case, Diagnosis, InstallationCheck, good, note, wrong
from pipeguard.errors import LaunchError, PolicyError
from pipeguard.installation import reinstall_command
from pipeguard.isolation import (
    EngineState,
    Isolation,
    choose_engine,
    try_engines,
    try_landlock,
    try_learning,
)

LANDLOCK_FIX = "nothing: the sandbox holds without it; Linux 5.19 or newer has it"
LEARN_FIX = "name it yourself: --read, --write, --connect"
_FIXES = {  # what an engine needs, by words of why it does not work
    "not installed: there is no": "install the package bubblewrap of your distribution",
    "max_user_namespaces": "sudo sysctl user.max_user_namespaces=15000",
    "unprivileged_userns_clone": "sudo sysctl kernel.unprivileged_userns_clone=1",
    "apparmor_restrict": "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0",
    "podman is not installed": "install podman, or bubblewrap",
}
_OTHER_FIX = "use the other engine: --isolate bubblewrap or --isolate container"


def isolation(case: Case) -> Iterable[Diagnosis]:
    """The engines that can isolate servers here."""
    states = try_engines()
    if any(state.works and state.name == Isolation.BUBBLEWRAP for state in states):
        yield from _second_wall()
    works = any(state.works for state in states)
    users = _users(case)
    for state in states:
        if state.works:
            yield good(f"{state.name} works ({state.why})")
        elif works:
            yield good(f"{state.name} does not work, and is not needed: {state.why}")
        elif users:
            yield wrong(f"isolated servers do not start: {state.name}: {state.why}", _fix(state))
        else:
            yield note(f"servers cannot be isolated here: {state.name}: {state.why}", _fix(state))
    for engine in dict.fromkeys(users.values()):
        yield from _unstartable(
            engine, [who for who, wants in users.items() if wants == engine], states
        )


def _unstartable(
    engine: str, users: list[str], states: Iterable[EngineState]
) -> Iterable[Diagnosis]:
    """The servers that are isolated by an engine that does not work."""
    try:
        chosen = choose_engine(engine)
    except LaunchError:
        chosen = engine
    if not any(state.works and state.name == chosen for state in states):
        what = f"isolated by {engine}, which does not work, so they do not start"
        fix = "fix the engine, or undo the isolation: pipeguard setup --undo"
        yield wrong(f"{', '.join(users)}: {what}", fix)


def _second_wall() -> Iterable[Diagnosis]:
    """True if Landlock's rules hold in a sandbox, too."""
    landlock = try_landlock()
    if landlock.works:
        yield good(f"Landlock works inside sandboxes ({landlock.why})")
        return
    compiler = f"install one (gcc or clang), then: {reinstall_command()}"
    fix = compiler if "no C compiler" in landlock.why else LANDLOCK_FIX
    yield note(f"sandboxes run without Landlock as a second wall: {landlock.why}", fix)


def learning(_case: Case) -> Iterable[Diagnosis]:
    """True if it can be learned what a server needs."""
    state = try_learning()
    if state.works:
        yield good("PipeGuard can learn what a server needs (`wrap --isolate learn`)")
    else:
        yield note(f"PipeGuard cannot learn here what a server needs: {state.why}", LEARN_FIX)


def _users(case: Case) -> dict[str, str]:
    """Isolated servers, by the policy or by a client's entry, with the engine that it names."""
    users: dict[str, str] = {}
    with suppress(PolicyError):  # the check of the policy says so
        entries = wrap_isolation(WrapOptions((), {}, {}, ()))
        asking = (entry for entry in entries if entry.engine != Isolation.NONE)
        users |= {f"{entry.server} in your policy": entry.engine for entry in asking}
    environment = case.environment
    machine = replace(Machine.here(case.project), home=case.user_folder, environment=environment)
    for file in find(machine):
        for server in read_config(file).servers:
            if server.guard is not None and is_isolated(server.guard):
                users[f"{server.name} in {server.file}"] = server.guard.isolate or Isolation.AUTO
    return users


def _fix(state: EngineState) -> str:
    return next((fix for words, fix in _FIXES.items() if words in state.why), _OTHER_FIX)


CHECKS = (
    InstallationCheck(
        "isolation",
        "isolation",
        isolation,
        waits="trying what can isolate servers here (a few seconds)",
    ),
    InstallationCheck("learning", "learning", learning),
)
