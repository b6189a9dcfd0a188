"""Grants of an isolated server: by options, the policy and its profile.

Reads no policy and starts nothing: `starter` and `preview` do.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipeguard.errors import PolicyError
from pipeguard.isolation.engines import Isolation
from pipeguard.isolation.extent import ITS_OPTIONS, KNOWN, POLICY, GivenFrom
from pipeguard.isolation.packages import find_package
from pipeguard.isolation.profile import (
    Profile,
    ResourceLimits,
    parse_limits,
    parse_path,
    parse_port,
    roots_mode,
    written_path,
)
from pipeguard.isolation.shipped import find_profile, package_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipeguard.config.isolate_key import IsolateEntry
    from pipeguard.config.options import WrapOptions
    from pipeguard.isolation.shipped import ShippedProfile


def combine_grants(entries: Iterable[IsolateEntry]) -> Profile:
    """Combine the grants of entries of the policy.

    Raises:
        PolicyError: one gives what cannot be given.
    """
    home = os.path.expanduser("~")
    profile, limits = Profile(), ResourceLimits()
    for entry in entries:
        limits = parse_limits(entry.limits, limits)
        profile = profile.with_more(
            Profile(
                tuple(granted_path(entry, text, home) for text in entry.read),
                tuple(granted_path(entry, text, home) for text in entry.write),
                entry.hosts,
                tuple(parse_port(text) for text in entry.loopback),
                entry.keep_home,
                limits,
                entry.roots,
                _links((*entry.read, *entry.write), home, home),
            )
        )
    return profile


def granted_path(entry: IsolateEntry, text: str, home_folder: str) -> str:
    """The absolute path that an entry of the policy grants.

    Raises:
        PolicyError: it cannot be given.
    """
    try:
        return parse_path(text, home_folder, home_folder)
    except PolicyError as error:
        raise PolicyError(f"{error} It is under `isolate`, for {entry.server}.") from None


def named_profile(options: WrapOptions, entries: Iterable[IsolateEntry], folder: str) -> Profile:
    """Combine the grants of policy and options.

    Args:
        options: of `wrap`.
        entries: of the policy, for this server.
        folder: that relative paths are in.

    Raises:
        PolicyError: one gives what cannot be given.
    """
    profile = combine_grants(entries)
    return profile.with_more(read_grants(options, profile.limits, folder))


def read_grants(options: WrapOptions, limits: ResourceLimits, folder: str) -> Profile:
    """The grants of options.

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
        tuple(parse_port(text) for text in lists.get("--loopback", ())),
        "--keep-home" in options.flags,
        parse_limits(lists.get("--limit", ()), limits),
        roots_mode(options.values.get("--roots", "")),
        _links((*lists.get("--read", ()), *lists.get("--write", ())), folder, home),
    )


def list_sources(
    options: WrapOptions, entries: Iterable[IsolateEntry], engine: str, folder: str
) -> tuple[GivenFrom, ...]:
    """The sources of grants, the one whose limits count first.

    Args:
        options: of `wrap`.
        entries: of the policy, for this server.
        engine: as it is asked for.
        folder: that the server starts in.

    Raises:
        PipeGuardError: one gives what cannot be given.
    """
    policy = combine_grants(entries)
    by_options = read_grants(options, policy.limits, folder)
    shipped = find_shipped(engine, options.command)
    below = (GivenFrom(KNOWN, shipped.profile),) if shipped is not None else ()
    return GivenFrom(ITS_OPTIONS, by_options), GivenFrom(POLICY, policy), *below


def whole_profile(sources: Sequence[GivenFrom]) -> Profile:
    """Combine the grants of all sources; the limits of the first count."""
    profile = Profile()
    for each in reversed(sources):
        profile = profile.with_more(each.profile)
    return profile


def find_shipped(engine: str, command: Sequence[str]) -> ShippedProfile | None:
    """The profile of a known server, for every engine that keeps something from it."""
    is_kept = engine not in (Isolation.NONE, Isolation.LEARN)
    package = find_package(command) if is_kept else None
    return find_profile(package_key(package)) if package is not None else None


def check_roots(name: str, *, is_shared: bool, is_container: bool) -> None:
    """Refuse what cannot be given, before anything is started.

    Args:
        name: of the server, which is to be given the client's roots.
        is_shared: True if several clients may share it.
        is_container: True if it is one by its own words.

    Raises:
        PolicyError: the client's roots cannot be given here.
    """
    why, named = "", "--read PATH or --write PATH"
    if is_container:
        named = "-v PATH:PATH:ro among its own words"
    if is_shared:
        why = "several clients may share it, and each would get the folders of the others"
    elif is_container:
        why = "its own words start a container"
    if why:
        raise PolicyError(
            f"{name} cannot be given the client's roots: {why}. Leave out `--roots` (or `roots` in"
            f" the policy), and name the folders: {named}."
        )


def _paths(texts: Iterable[str], folder: str, home_folder: str) -> tuple[str, ...]:
    return tuple(parse_path(text, folder, home_folder) for text in texts)


def _links(texts: Iterable[str], folder: str, home_folder: str) -> tuple[tuple[str, str], ...]:
    """List paths to which links lead, as written and resolved."""
    written = (written_path(text, folder, home_folder) for text in texts)
    pairs = ((path, os.path.realpath(path)) for path in written)
    return tuple((path, real) for path, real in pairs if path != real)
