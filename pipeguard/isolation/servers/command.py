"""A server's command line, as isolation reads it; starts nothing, and fetches nothing."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pipeguard.config.isolate_key import IsolateEntries, find_entries
from pipeguard.isolation.docker_servers import is_of_containers, parse_run
from pipeguard.isolation.packages import find_package
from pipeguard.isolation.shipped import ShippedProfile, find_profile


class ServerCommand(NamedTuple):
    """The command that starts a server.

    Attributes:
        argv: the program and its arguments.
    """

    argv: tuple[str, ...]

    @property
    def is_container(self) -> bool:
        """True if its own command line starts a container."""
        return is_of_containers(self.argv)

    @property
    def mounts(self) -> tuple[str, ...]:
        """The files that a container's own options mount.

        Raises:
            PolicyError: its options cannot be read.
        """
        options = parse_run(self.argv).options
        return tuple(each.value for each in options if each.name in ("--volume", "--mount"))

    @property
    def package(self) -> str:
        """The package that it fetches, as `REGISTRY:NAME`; empty if it fetches none.

        Raises:
            LaunchError: it fetches in an unknown way, so it cannot be isolated.
        """
        package = find_package(self.argv)
        return package.key if package else ""

    @property
    def shipped_profile(self) -> ShippedProfile | None:
        """The profile of the package that it fetches; None if PipeGuard has none.

        Raises:
            LaunchError: as for `package`.
        """
        return find_profile(self.package)

    def check(self) -> None:
        """Check that it can start an isolated server.

        Raises:
            PipeGuardError: it cannot.
        """
        if self.is_container:
            parse_run(self.argv)
        else:
            find_package(self.argv)

    def list_folders(self, folder: str, home_folder: str) -> tuple[str, ...]:
        """The folders among its arguments, which are granted to the server.

        Args:
            folder: its working directory.
            home_folder: of the user.
        """
        from pipeguard.isolation.runtimes import folders_among, with_paths
        from pipeguard.isolation.view import SandboxUser

        host = SandboxUser(home_folder, "", 0, 0, (), "")
        return folders_among(with_paths(self.argv, folder), folder, host)

    def describe_needs(self, home_folder: str, variables: Mapping[str, str]) -> str:
        """List what a person must still know or name of a known server; empty if nothing.

        Args:
            home_folder: of the user.
            variables: of its entry.

        Raises:
            LaunchError: as for `package`.
        """
        from pipeguard.isolation.servers.sources import named_paths

        shipped = self.shipped_profile
        words = (*self.argv[1:], *named_paths(variables, shipped))
        above = [word for word in words if holds_home(word, home_folder)]
        held = f"{' and '.join(above)} is not given as a whole: name folders in it." * bool(above)
        return " ".join(filter(None, (held, shipped.needs if shipped else "")))

    def check_hardened(self, entries: IsolateEntries, name: str) -> None:
        """Check that isolation would start the container here.

        Args:
            entries: the user's policy on isolation.
            name: of the server.

        Raises:
            PolicyError: its command line grants something no isolated server may have.
        """
        from pipeguard.isolation.docker_servers import harden
        from pipeguard.isolation.sandbox import this_host
        from pipeguard.isolation.servers.sources import combine_grants

        given = combine_grants(find_entries(name, tuple(entries)))
        harden(self.argv, str(Path.cwd()), given, this_host(), {})


def holds_home(text: str, home_folder: str) -> bool:
    """True if a path is the home folder, in any spelling, or one of its parents."""
    home = Path(os.path.normpath(home_folder))
    if text == "~" or text.startswith("~/"):
        text = str(home) + text[1:]
    text = re.sub(r"\A\$(?:HOME\b|\{HOME\}|\{env:HOME\})", lambda _: str(home), text)
    path = Path(os.path.normpath(text))  # no link is followed: nothing that is named is looked for
    return path == home or path in home.parents
