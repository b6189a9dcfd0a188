"""All that a server would be given if it were started isolated now; starts and makes nothing."""

import os
import sys
from collections.abc import Iterable
from typing import NamedTuple, Self

from pipeguard.config.effective_policy import wrap_isolation
from pipeguard.config.isolate_key import IsolateEntries, find_entries
from pipeguard.config.options import WrapOptions
from pipeguard.errors import LaunchError, PipeGuardError
from pipeguard.identity.server_name import identify_server
from pipeguard.isolation import docker_servers, engines, fetching, kept_homes, view
from pipeguard.isolation.extent import Extent, compute_extent
from pipeguard.isolation.learning.observed import Observed, load
from pipeguard.isolation.learning.reduction import ProfileProposal, propose
from pipeguard.isolation.packages import Package, find_package
from pipeguard.isolation.profile import Profile
from pipeguard.isolation.runtimes import Runtime, find_runtime, starting_folder, with_paths
from pipeguard.isolation.sandbox import isolation_folder, packages_folder, this_host
from pipeguard.isolation.server_view import server_view
from pipeguard.isolation.servers.sources import combine_grants, list_sources, whole_profile
from pipeguard.isolation.shipped import ShippedProfile, find_profile
from pipeguard.launch.command import Command


class ServerPreview(NamedTuple):
    """Everything that a server can touch.

    Attributes:
        extent: its grants; None if they are unknown, or if it is not isolated.
        container: the hardened command of a server that is a container itself; else None.
        problem: why it would not start isolated; empty if it would, or is not to be.
    """

    extent: Extent | None = None
    container: docker_servers.Hardened | None = None
    problem: str = ""

    def fields(self) -> dict[str, object]:
        """The fields for programs."""
        return {
            "extent": self.extent.fields() if self.extent else None,
            "container": self.container._asdict() if self.container else None,
            "problem": self.problem,
        }


class ServerFacts(NamedTuple):
    """A server with observations, or whose package PipeGuard knows.

    Attributes:
        observed: the observations, or None.
        proposal: the observations compared with its grants, or None.
        shipped: the profile of its package, or None.
    """

    observed: Observed | None
    proposal: ProfileProposal | None
    shipped: ShippedProfile | None

    @classmethod
    def find(cls, name: str, entries: IsolateEntries, packages: Iterable[str]) -> Self:
        """Collect the known facts about a server.

        Args:
            name: of the server, or of a package.
            entries: the policy's entries for it.
            packages: the packages that clients start it from, as `REGISTRY:NAME`.

        Raises:
            PipeGuardError: its observations cannot be read.
        """
        observed = load(name)
        keys = [observed.package] if observed else [f"npm:{name}", f"pypi:{name}"]
        shipped = next(filter(None, map(find_profile, [*keys, *packages])), None)
        if not observed:
            return cls(None, None, shipped)
        given = shipped.profile if shipped else Profile()
        given = given.with_more(combine_grants(entries))
        return cls(observed, propose(observed, given, this_host()), shipped)


def preview_server(
    options: WrapOptions, name: str, requested: str, variables: view.Variables, folder: str
) -> ServerPreview:
    """Preview a server as it would be started here.

    Args:
        options: of `wrap`.
        name: its name in the policy.
        requested: the engine, from its entry or the policy.
        variables: the environment in its entry.
        folder: its working directory if its options name none.
    """
    if sys.platform != "linux":
        return ServerPreview(problem="servers can be isolated on Linux only, so far.")
    try:
        entries = find_entries(name, wrap_isolation(options), options.lists.get("--tag", ()))
        if docker_servers.is_of_containers(options.command):
            command = Command(options.command, variables, folder)
            profile = whole_profile(list_sources(options, entries, engines.Isolation.NONE, command))
            closed = docker_servers.harden(options.command, folder, profile, this_host(), variables)
            return ServerPreview(container=closed)
        engine = engines.choose_engine(requested)
        whole = {**os.environ, **variables}
        extent = _preview(options, name, entries, engine=engine, variables=whole, folder=folder)
        return ServerPreview(extent)
    except PipeGuardError as error:
        return ServerPreview(problem=str(error))


def _preview(
    options: WrapOptions,
    name: str,
    entries: IsolateEntries,
    *,
    engine: str,
    variables: view.Variables,
    folder: str,
) -> Extent:
    """The extent that a server would be started with; it is not a container itself.

    Raises:
        PipeGuardError: it would not start: the message says why.
    """
    command = Command(options.command, variables, options.values.get("--cwd") or folder)
    start = starting_folder(command)
    host = this_host()
    sources = list_sources(options, entries, engine, command)
    profile = whole_profile(sources)
    package = find_package(command.argv)
    unknown = package_folder = ""
    try:
        argv, runtime, package_folder = _program(command, package, start, host)
    except LaunchError as error:  # here: its client may have another PATH
        unknown = str(error)
        argv = tuple(command.argv)
        runtime = Runtime("", ())
    who = identify_server(options.command, options.values.get("--cwd"))
    identity = f"{name}\n{who.identity}"
    home = kept_homes.home_path(isolation_folder(), identity) if profile.keeps_home else ""
    try:
        seen = server_view(
            with_paths(argv, start),
            runtime,
            profile,
            host=host,
            folder=start,
            kept_home=home or None,
        )
    except OSError as error:
        raise LaunchError(f"{error.filename}: {error.strerror}.") from None
    specs = " ".join(package.specs) if package else ""
    is_known = package is None or bool(package_folder)
    extent = compute_extent(engine, seen, sources, (specs, package_folder, is_known), home)
    return extent._replace(unknown=unknown)


def _program(
    command: Command, package: Package | None, folder: str, host: view.SandboxUser
) -> tuple[tuple[str, ...], Runtime, str]:
    """The command line to run, its program's needs, and the folder of a fetched package."""
    if not package:
        return tuple(command.argv), find_runtime(command.argv, command.env, folder, host), ""
    there = fetching.newest(packages_folder(), package.identity)
    if there is None:
        return ("", *package.arguments), Runtime("", ()), ""
    return *fetching.fetched_runtime(there, package, command, folder, host), str(there)
