"""Starts a server isolated, where an option or the policy asks for that."""

# ruff: noqa: PTH109, PTH111
# pathlib costs 5 ms, and a server is waiting
from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from pipeguard.config.effective_policy import wrap_isolation
from pipeguard.config.isolate_key import entries_for
from pipeguard.errors import PolicyError
from pipeguard.identity.server_name import launched
from pipeguard.isolation.engines import AUTO, LEARN, NONE, engine_for
from pipeguard.isolation.packages import package_of
from pipeguard.isolation.profile import Limits, Profile, limits_of, path_of, port_of
from pipeguard.isolation.refusals import Refusals
from pipeguard.isolation.sandbox import Sandbox, home_folder
from pipeguard.isolation.shipped import key_of, shipped_for
from pipeguard.launch.child import Child, Command, start
from pipeguard.log import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pipeguard.config.isolate_key import IsolateEntry
    from pipeguard.config.options import WrapOptions
    from pipeguard.isolation.learning.learner import Learner
    from pipeguard.isolation.shipped import ShippedProfile


def sandbox_of(options: WrapOptions, variables: Mapping[str, str]) -> Sandbox | None:
    """The sandbox that a server is started in; None where none is asked for.

    Args:
        options: of `wrap`.
        variables: the server's environment.

    Raises:
        PipeGuardError: isolation is asked for and cannot be given; then no server is started.
    """
    who = launched(options.command, options.values.get("--cwd"))
    name = options.values.get("--name") or who.name
    entries = entries_for(name, wrap_isolation(options))
    asked = options.values.get("--isolate") or next((each.engine for each in entries), NONE)
    if engine_for(asked) == NONE:
        if (useless := options.isolation()) and "--isolate" not in options.values:
            raise PolicyError(
                f"{min(useless)} would have no effect: the server is not isolated. Add --isolate"
                " auto, or leave it out."
            )
        return None
    folder = os.path.abspath(options.values.get("--cwd") or os.getcwd())  # noqa: PTH100  as above
    profile = _profile(options, entries, folder)
    if (shipped := _shipped(asked, options.command)) is not None:
        profile = shipped.profile.with_more(profile)
        variables = shipped.variables_in(home_folder()) | dict(variables)
    command = Command(options.command, variables, options.values.get("--cwd"))
    identity = f"{name}\n{who.identity}"
    return Sandbox(identity, command, profile, Refusals(name, say).report, say)


def starter_of(options: WrapOptions, variables: Mapping[str, str]) -> Callable[[], Child]:
    """What starts the server that the options name, isolated where that is asked for.

    Raises:
        PipeGuardError: as `sandbox_of`.
    """
    if options.values.get("--isolate") == LEARN:
        return _learner_of(options, variables).start
    sandbox = sandbox_of(options, variables)
    if sandbox is not None:
        return sandbox.start
    return partial(start, Command(options.command, variables, options.values.get("--cwd")))


def _learner_of(options: WrapOptions, variables: Mapping[str, str]) -> Learner:
    """What runs the server with nothing kept from it, and learns.

    Raises:
        PipeGuardError: nothing can be learned here, or options would have no effect.
    """
    from pipeguard.isolation.learning.learner import Learner

    if useless := options.isolation():
        raise PolicyError(
            f"{min(useless)} would have no effect: while it is learned what the server needs,"
            " nothing is kept from it. Leave it out."
        )
    who = launched(options.command, options.values.get("--cwd"))
    command = Command(options.command, variables, options.values.get("--cwd"))
    return Learner(options.values.get("--name") or who.name, command, say)


def granted(entries: Iterable[IsolateEntry]) -> Profile:
    """What entries of the policy give together.

    Raises:
        PolicyError: one gives what cannot be given.
    """
    home = os.path.expanduser("~")
    profile, limits = Profile(), Limits()
    for entry in entries:
        limits = limits_of(entry.limits, limits)
        profile = profile.with_more(
            Profile(
                _paths(entry.read, home, home),
                _paths(entry.write, home, home),
                entry.hosts,
                tuple(port_of(text) for text in entry.loopback),
                entry.keep_home,
                limits,
            )
        )
    return profile


def _profile(options: WrapOptions, entries: Iterable[IsolateEntry], folder: str) -> Profile:
    """What policy and options give together."""
    home = os.path.expanduser("~")
    profile = granted(entries)
    lists = options.lists
    given = Profile(
        _paths(lists.get("--read", ()), folder, home),
        _paths(lists.get("--write", ()), folder, home),
        tuple(lists.get("--connect", ())),
        tuple(port_of(text) for text in lists.get("--loopback", ())),
        "--keep-home" in options.flags,
        limits_of(lists.get("--limit", ()), profile.limits),
    )
    return profile.with_more(given)


def _shipped(engine: str, command: Sequence[str]) -> ShippedProfile | None:
    """The profile of a known server; an engine that is named by itself gives none."""
    package = package_of(command) if engine == AUTO else None
    return shipped_for(key_of(package)) if package is not None else None


def _paths(texts: Iterable[str], folder: str, home_folder: str) -> tuple[str, ...]:
    return tuple(path_of(text, folder, home_folder) for text in texts)
