"""The state folder's part of isolation: fetched packages, kept homes and observations."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

from pipeguard.config.options import WrapOptions
from pipeguard.errors import LaunchError, StateError
from pipeguard.isolation import kept_homes, removal
from pipeguard.isolation.fetching import (
    DONE,
    Start,
    install,
    lock,
    newest,
    package_folders,
    remove_unused,
    use,
)
from pipeguard.isolation.learning import observed
from pipeguard.isolation.learning.observed import Observed
from pipeguard.isolation.packages import Package
from pipeguard.isolation.sandbox import PACKAGES, installer, isolation_folder, packages_folder
from pipeguard.isolation.servers.outer_proxies import outer_proxies
from pipeguard.log import say
from pipeguard.state.paths import existing_state_folder

MAX_FACTS_BYTES = 65_536


class Installed(NamedTuple):
    """A package that was fetched.

    Attributes:
        package: as installed, without arguments.
        fetched: when, in seconds since 1970.
        version: of the package whose program runs.
    """

    package: Package
    folder: Path
    fetched: int
    version: str

    @property
    def name(self) -> str:
        """The package's name, without its version."""
        return self.package.name

    def size_bytes(self) -> int:
        """The size of its files."""
        return removal.tree_bytes(self.folder)


def packages() -> tuple[Installed, ...]:
    """The latest fetch of each package, by name."""
    root = packages_folder()
    identities = {folder.name.partition("-")[0] for folder in root.glob("*") if folder.is_dir()}
    folders = filter(None, (newest(root, identity) for identity in identities))
    found = filter(None, map(_read, folders))
    return tuple(sorted(found, key=lambda each: (each.name, each.package.specs)))


def update(
    installed: Installed,
    variables: Mapping[str, str],
    start: Start,
) -> Installed:
    """Fetch a package again, and remove unused copies; running servers keep theirs.

    Args:
        installed: the package.
        variables: an environment; only PATH and certificate settings are used.
        start: starts a command isolated.

    Raises:
        LaunchError: it cannot be installed; then nothing changes.
    """
    package = installed.package
    root = packages_folder()
    with lock(root, package.identity):
        folder = install(package, root, variables, start)
        new = _read(folder)
        if new is None:
            raise LaunchError(f"{folder} was removed while it was being fetched.")
        with use(folder):
            remove_unused(
                each for each in package_folders(root, package.identity) if each != folder
            )
    return new


def remove(installed: Installed) -> bool:
    """Remove a package; False if a server runs from it."""
    root = packages_folder()
    with lock(root, installed.package.identity):
        return not remove_unused(package_folders(root, installed.package.identity))


def _read(folder: Path) -> Installed | None:
    """Read a folder's own file; None if PipeGuard did not write it."""
    try:
        with (folder / DONE).open("rb") as file:
            fields = json.loads(file.read(MAX_FACTS_BYTES))
        package = Package(
            str(fields["registry"]),
            tuple(map(str, fields["specs"])),
            str(fields.get("program", "")),
            (),
            str(fields.get("python", "")),
        )
        found = Installed(package, folder, int(fields["fetched"]), str(fields["version"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return found if package.specs and folder.name.startswith(package.identity) else None


class Inventory(NamedTuple):
    """Everything that is kept, or everything under one name.

    Attributes:
        learned: the servers with observations.
        homes: kept homes, each with its server.
        packages: the fetched packages.
    """

    learned: tuple[str, ...] = ()
    homes: tuple[tuple[Path, str], ...] = ()
    packages: tuple[Installed, ...] = ()

    @classmethod
    def read(cls) -> Self:
        """Read the state folder, which need not exist."""
        if existing_state_folder() is None:
            return cls()
        homes = (
            (folder, (folder / kept_homes.NAME_FILE).read_text("utf-8", "replace")[:1000])
            for folder in sorted(Path(isolation_folder()).glob("*"))
            if folder.name != PACKAGES and (folder / kept_homes.NAME_FILE).is_file()
        )
        return cls(tuple(observed.learned_names()), tuple(homes), packages())

    @property
    def owners(self) -> tuple[str, ...]:
        """The servers with a kept home."""
        return tuple(sorted({owner for _, owner in self.homes}))

    @property
    def names(self) -> tuple[str, ...]:
        """Servers, then packages."""
        servers = dict.fromkeys((*self.learned, *self.owners))
        return (*servers, *(each.name for each in self.packages))

    def select(self, name: str) -> Inventory:
        """Select everything kept for a server or package."""
        return Inventory(
            tuple(each for each in self.learned if each == name),
            tuple((folder, owner) for folder, owner in self.homes if owner == name),
            tuple(each for each in self.packages if name in (each.name, each.package.specs[0])),
        )

    def load_learned(self) -> Iterator[tuple[str, Observed]]:
        """The servers with their observations; warns of unreadable ones."""
        for name in self.learned:
            try:
                seen = observed.load(name)
            except StateError as error:
                say(str(error), "warning")  # the others are there all the same
                continue
            if seen:
                yield name, seen

    def remove(self) -> tuple[Installed, ...]:
        """Remove everything; return the packages that stay because a server runs from them.

        Raises:
            StateError: a home cannot be removed.
        """
        for name in self.learned:
            observed.forget(name)
        for folder, _ in self.homes:
            try:
                removal.remove_tree(folder)
            except OSError as error:
                raise StateError(f"{folder} cannot be removed: {error.strerror}.") from None
        return tuple(each for each in self.packages if not remove(each))


def package_updater() -> Callable[[Installed], Installed]:
    """A function that fetches a package again, through the proxy of the user's network.

    Raises:
        PipeGuardError: the policy is invalid, or a secret that is referred to is missing.
    """
    proxies = outer_proxies(WrapOptions())
    install = partial(installer, proxies=proxies, say=say)
    return lambda installed: update(installed, os.environ, install)
