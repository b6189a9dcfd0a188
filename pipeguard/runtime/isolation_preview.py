"""What a server would be given if it were started isolated now; starts and makes nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pipeguard.config.effective_policy import wrap_isolation
from pipeguard.config.isolate_key import entries_for
from pipeguard.errors import LaunchError
from pipeguard.identity.server_name import launched
from pipeguard.isolation.extent import extent_of
from pipeguard.isolation.fetching import DONE, newest
from pipeguard.isolation.kept_homes import home_of
from pipeguard.isolation.own_arguments import with_paths
from pipeguard.isolation.packages import package_of, program_in
from pipeguard.isolation.runtimes import Runtime, runtime_of, runtime_of_package
from pipeguard.isolation.sandbox import homes_folder, packages_folder, this_host
from pipeguard.isolation.server_view import server_view
from pipeguard.isolation.starting_folder import starting_folder
from pipeguard.launch.command import Command
from pipeguard.runtime.isolation_sources import sources_of, whole_profile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeguard.config.options import WrapOptions
    from pipeguard.isolation.extent import Extent
    from pipeguard.isolation.packages import Package
    from pipeguard.isolation.view import SandboxUser


def preview(
    options: WrapOptions, name: str, engine: str, variables: Mapping[str, str], *, folder: str
) -> Extent:
    """The extent of a server as it would be started, which is no container by its own words.

    Args:
        options: of `wrap`.
        name: under which the policy knows it.
        engine: that isolates it.
        variables: of its environment; PATH names its program.
        folder: that it starts in, where its options name none.

    Raises:
        PipeGuardError: it would not start: the message says why.
    """
    command = Command(options.command, variables, options.values.get("--cwd") or folder)
    start, host = starting_folder(command), this_host()
    entries = entries_for(name, wrap_isolation(options), options.lists.get("--tag", ()))
    sources = sources_of(options, entries, engine, start)
    profile = whole_profile(sources)
    package = package_of(command.argv)
    unknown = package_folder = ""
    try:
        argv, runtime, package_folder = _program(command, package, start, host)
    except LaunchError as error:  # here: its client may have another PATH
        unknown, argv, runtime = str(error), tuple(command.argv), Runtime("", ())
    who = launched(options.command, options.values.get("--cwd"))
    home = str(home_of(homes_folder(), f"{name}\n{who.identity}")) if profile.keeps_home else ""
    try:
        seen = server_view(
            with_paths(argv[0], argv[1:], start), runtime, profile, host, start, home or None
        )
    except OSError as error:
        raise LaunchError(f"{error.filename}: {error.strerror}.") from None
    specs = " ".join(package.specs) if package is not None else ""
    is_known = package is None or bool(package_folder)
    extent = extent_of(engine, seen, sources, (specs, package_folder, is_known), home)
    return extent._replace(unknown=unknown)


def _program(
    command: Command, package: Package | None, folder: str, host: SandboxUser
) -> tuple[tuple[str, ...], Runtime, str]:
    """The words to run, what their program needs, and the folder of a package that is there."""
    if package is None:
        return tuple(command.argv), runtime_of(command.argv, command.env, folder, host), ""
    there = newest(packages_folder(), package.identity)
    if there is None:
        return ("", *package.arguments), Runtime("", ()), ""
    argv = (program_in(str(there), package), *package.arguments)
    needs = json.loads((there / DONE).read_text("utf-8")).get("needs", ())
    given = (str(there), *map(str, needs))
    name = package.program_name
    runtime = runtime_of_package(name, argv, given, command.env, folder, host)
    return argv, runtime, str(there)
