"""Starts a server isolated, where an option or the policy asks for that."""

# ruff: noqa: PTH109, PTH111
# pathlib costs 5 ms, and a server is waiting
from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Protocol

from pipeguard.config.effective_policy import wrap_isolation
from pipeguard.config.isolate_key import entries_for
from pipeguard.errors import PolicyError
from pipeguard.identity.server_name import launched
from pipeguard.isolation.docker_servers import hardened
from pipeguard.isolation.docker_words import is_of_containers
from pipeguard.isolation.engines import AUTO, CONTAINER, NONE, engine_for
from pipeguard.isolation.profile import Limits, Profile, limits_of, path_of, port_of
from pipeguard.isolation.refusals import Refusals
from pipeguard.isolation.sandbox import Sandbox, this_host
from pipeguard.launch.child import Child, Command, start
from pipeguard.log import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pipeguard.config.isolate_key import IsolateEntry
    from pipeguard.config.options import WrapOptions


class Starts(Protocol):
    """Starts a server isolated, as often as is asked."""

    def start(self) -> Child:
        """Start it; returns at once."""
        ...


def sandbox_of(options: WrapOptions, variables: Mapping[str, str]) -> Starts | None:
    """What starts a server isolated; None where that is not asked for.

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
    is_container = is_of_containers(options.command)
    engine = CONTAINER if is_container and asked == AUTO else engine_for(asked)
    if engine == NONE:
        if (useless := options.isolation()) and "--isolate" not in options.values:
            raise PolicyError(
                f"{min(useless)} would have no effect: the server is not isolated. Add --isolate"
                " auto, or leave it out."
            )
        return None
    command = Command(options.command, variables, options.values.get("--cwd"))
    folder = os.path.abspath(command.cwd or os.getcwd())  # noqa: PTH100  as above
    profile = _profile(options, entries, folder)
    if is_container:
        return _hardened(name, command, profile, folder)
    identity = f"{name}\n{who.identity}"
    return Sandbox(identity, command, profile, Refusals(name, say).report, say, engine)


def _hardened(name: str, command: Command, profile: Profile, folder: str) -> Starts:
    """A server that is a container already, with what its own words leave open closed."""
    closed = hardened(command.argv, folder, profile, this_host())
    if closed.added:
        say(f"{name} is started with {' '.join(closed.added)}")
    if closed.is_open:
        say(f"{name} has a network by its own words: where it connects to is not judged.")
    return ContainerServer(Command(closed.argv, command.env, command.cwd))


class ContainerServer:
    """Starts a server that is a container by its own command.

    Args:
        command: that was hardened.
    """

    def __init__(self, command: Command) -> None:
        self._command = command

    def start(self) -> Child:
        """Start it; returns at once.

        Raises:
            LaunchError: the system has no descriptors or processes left.
        """
        return start(self._command)


def starter_of(options: WrapOptions, variables: Mapping[str, str]) -> Callable[[], Child]:
    """What starts the server that the options name, isolated where that is asked for.

    Raises:
        PipeGuardError: as `sandbox_of`.
    """
    sandbox = sandbox_of(options, variables)
    if sandbox is not None:
        return sandbox.start
    return partial(start, Command(options.command, variables, options.values.get("--cwd")))


def _profile(options: WrapOptions, entries: Iterable[IsolateEntry], folder: str) -> Profile:
    """What policy and options give together."""
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
            )
        )
    lists = options.lists
    given = Profile(
        _paths(lists.get("--read", ()), folder, home),
        _paths(lists.get("--write", ()), folder, home),
        tuple(lists.get("--connect", ())),
        tuple(port_of(text) for text in lists.get("--loopback", ())),
        "--keep-home" in options.flags,
        limits_of(lists.get("--limit", ()), limits),
    )
    return profile.with_more(given)


def _paths(texts: Iterable[str], folder: str, home: str) -> tuple[str, ...]:
    return tuple(path_of(text, folder, home) for text in texts)
