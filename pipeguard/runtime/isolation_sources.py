"""What an isolated server is given, by the options of `wrap`, the policy and what is known of it.

Reads no policy and starts nothing: runtime.isolated does.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipeguard.errors import PolicyError
from pipeguard.isolation.engines import AUTO, CONTAINER
from pipeguard.isolation.extent import ITS_OPTIONS, KNOWN, POLICY, GivenFrom
from pipeguard.isolation.packages import package_of
from pipeguard.isolation.profile import (
    Profile,
    ResourceLimits,
    limits_of,
    path_of,
    port_of,
    roots_mode,
    written_path,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pipeguard.config.isolate_key import IsolateEntry
    from pipeguard.config.options import WrapOptions
    from pipeguard.isolation.shipped import ShippedProfile


def granted(entries: Iterable[IsolateEntry]) -> Profile:
    """What entries of the policy give together.

    Raises:
        PolicyError: one gives what cannot be given.
    """
    home = os.path.expanduser("~")
    profile, limits = Profile(), ResourceLimits()
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
                entry.roots,
                _links((*entry.read, *entry.write), home, home),
            )
        )
    return profile


def named_profile(options: WrapOptions, entries: Iterable[IsolateEntry], folder: str) -> Profile:
    """What policy and options give together.

    Args:
        options: of `wrap`.
        entries: of the policy, for this server.
        folder: that relative paths are in.

    Raises:
        PolicyError: one gives what cannot be given.
    """
    profile = granted(entries)
    return profile.with_more(given_by(options, profile.limits, folder))


def given_by(options: WrapOptions, limits: ResourceLimits, folder: str) -> Profile:
    """What options give.

    Args:
        options: of `wrap`.
        limits: what holds where they say nothing.
        folder: that relative paths are in.

    Raises:
        PolicyError: one gives what cannot be given.
    """
    home = os.path.expanduser("~")
    lists = options.lists
    return Profile(
        _paths(lists.get("--read", ()), folder, home),
        _paths(lists.get("--write", ()), folder, home),
        tuple(lists.get("--connect", ())),
        tuple(port_of(text) for text in lists.get("--loopback", ())),
        "--keep-home" in options.flags,
        limits_of(lists.get("--limit", ()), limits),
        roots_mode(options.values.get("--roots", "")),
        _links((*lists.get("--read", ()), *lists.get("--write", ())), folder, home),
    )


def sources_of(
    options: WrapOptions, entries: Iterable[IsolateEntry], engine: str, folder: str
) -> tuple[GivenFrom, ...]:
    """What gives a server what, the source whose limits count first.

    Args:
        options: of `wrap`.
        entries: of the policy, for this server.
        engine: as it is asked for.
        folder: that the server starts in.

    Raises:
        PipeGuardError: one gives what cannot be given.
    """
    policy = granted(entries)
    by_options = given_by(options, policy.limits, folder)
    shipped = shipped_of(engine, options.command)
    below = (GivenFrom(KNOWN, shipped.profile),) if shipped is not None else ()
    return GivenFrom(ITS_OPTIONS, by_options), GivenFrom(POLICY, policy), *below


def whole_profile(sources: Sequence[GivenFrom]) -> Profile:
    """What all sources give together; the limits of the first count."""
    profile = Profile()
    for each in reversed(sources):
        profile = profile.with_more(each.profile)
    return profile


def shipped_of(engine: str, command: Sequence[str]) -> ShippedProfile | None:
    """The profile of a known server; an engine that is named by itself gives none."""
    package = package_of(command) if engine == AUTO else None
    if package is None:
        return None
    from pipeguard.isolation.shipped import key_of, shipped_for

    return shipped_for(key_of(package))


def check_roots(name: str, engine: str, *, is_shared: bool, is_container: bool) -> None:
    """Refuse what cannot be given, before anything is started.

    Args:
        name: of the server, which is to be given the client's roots.
        engine: that isolates it.
        is_shared: whether several clients share it.
        is_container: whether it is one by its own words.

    Raises:
        PolicyError: the client's roots cannot be given here.
    """
    why, named = "", "--read PATH or --write PATH"
    if is_container:
        named = "-v PATH:PATH:ro among its own words"
    if is_shared:
        why = "several clients share it, and each would get the folders of the others"
    elif engine == CONTAINER or is_container:
        why = "it runs in a container, into which nothing can be mounted while it runs"
    if why:
        raise PolicyError(
            f"{name} cannot be given the client's roots: {why}. Leave out `--roots` (or `roots` in"
            f" the policy), and name the folders: {named}."
        )


def what_is_left(
    identity: str, shipped: ShippedProfile, variables: Mapping[str, str], profile: Profile
) -> str:
    """What a known server does not find that has no kept home yet; empty where it has one."""
    from pipeguard.isolation.kept_homes import home_of, left_behind
    from pipeguard.isolation.sandbox import home_folder, homes_folder

    if home_of(homes_folder(), identity).exists():
        return ""
    return left_behind(shipped, variables, home_folder(), profile.write)


def _paths(texts: Iterable[str], folder: str, home_folder: str) -> tuple[str, ...]:
    return tuple(path_of(text, folder, home_folder) for text in texts)


def _links(texts: Iterable[str], folder: str, home_folder: str) -> tuple[tuple[str, str], ...]:
    """Of paths to which links lead, as written and theirs."""
    written = (written_path(text, folder, home_folder) for text in texts)
    pairs = ((path, os.path.realpath(path)) for path in written)
    return tuple((path, real) for path, real in pairs if path != real)
