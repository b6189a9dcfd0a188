"""Check of isolation: tries each engine, and lists the servers that need one."""

from collections.abc import Iterable
from contextlib import suppress

from pipeguard.clients.entries import read_config
from pipeguard.clients.isolating import is_isolated
from pipeguard.clients.machine import Machine, find
from pipeguard.config.effective_policy import wrap_isolation
from pipeguard.config.options import WrapOptions
from pipeguard.doctor.diagnosis import Diagnosis, InstallationCheck, good, note, wrong
from pipeguard.errors import LaunchError, PolicyError
from pipeguard.isolation import Isolation, choose_engine, try_engines, try_landlock

_ENGINES = "Install bubblewrap or podman, or allow user namespaces; see docs/isolation.md."


def isolation(machine: Machine) -> Iterable[Diagnosis]:
    """Try the engines that can isolate servers here."""
    states = try_engines()
    if any(state.works and state.name == Isolation.BUBBLEWRAP for state in states):
        landlock = try_landlock()
        second = "works inside sandboxes" if landlock.works else "adds no second wall"
        yield good(f"Landlock {second} ({landlock.why})")
    works = {state.name for state in states if state.works}
    for state in states:
        if state.works:
            yield good(f"{state.name} works ({state.why})")
        elif works:
            yield good(f"{state.name} does not work, and is not needed: {state.why}")
        else:
            yield note(f"servers cannot be isolated here: {state.name}: {state.why}", _ENGINES)
    for who, engine in _users(machine).items():
        try:
            chosen = choose_engine(engine)
        except LaunchError:
            chosen = engine
        if chosen not in works:
            yield wrong(f"{who}: isolated by {engine}, which does not work", _ENGINES)


def _users(machine: Machine) -> dict[str, str]:
    """Return the isolated servers, by the policy or by a client's entry, with their engines."""
    users: dict[str, str] = {}
    with suppress(PolicyError):  # the check of the policy says so
        entries = wrap_isolation(WrapOptions())
        asking = (entry for entry in entries if entry.engine != Isolation.NONE)
        users |= {f"{entry.server} in your policy": entry.engine for entry in asking}
    for file in find(machine):
        for server in read_config(file).servers:
            if server.guard is not None and is_isolated(server.guard):
                users[f"{server.name} in {server.file}"] = server.guard.isolate or Isolation.AUTO
    return users


CHECKS = (
    InstallationCheck(
        "isolation",
        "isolation",
        isolation,
        waits="trying what can isolate servers here (a few seconds)",
    ),
)
