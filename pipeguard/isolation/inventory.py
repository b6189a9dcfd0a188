"""The state folder's part of isolation: fetched packages and kept homes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.errors import LaunchError, StateError
from pipeguard.isolation.fetching import DONE, install, lock, package_folders, remove_unused, use
from pipeguard.isolation.packages import Package
from pipeguard.isolation.removal import remove_tree, tree_bytes
from pipeguard.isolation.sandbox import NAME_FILE, PACKAGES, homes_folder, packages_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pipeguard.isolation.profile import Profile
    from pipeguard.launch.child import Child, Command

MAX_FACTS_BYTES = 65_536


class Installed(NamedTuple):
    """A package that was fetched.

    Attributes:
        package: what was installed; it has no arguments.
        folder: that it is in.
        fetched: when, in seconds since 1970.
        versions: by package.
    """

    package: Package
    folder: Path
    fetched: int
    versions: Mapping[str, str]

    @property
    def key(self) -> str:
        """The package whose program runs, as `REGISTRY:NAME`."""
        return f"{self.package.registry}:{self.name}"

    @property
    def name(self) -> str:
        """The package's name, without its version."""
        return self.package.name

    @property
    def version(self) -> str:
        """The package's version."""
        return self.versions.get(self.name, "")

    def size_bytes(self) -> int:
        """The size of its files."""
        return tree_bytes(self.folder)


def packages() -> tuple[Installed, ...]:
    """All packages as they were fetched last, by name."""
    newest: dict[str, Installed] = {}
    for folder in packages_folder().glob("*"):
        found = _read(folder) if (folder / DONE).is_file() else None
        if found is None:
            continue
        known = newest.get(found.package.identity)
        if known is None or known.fetched < found.fetched or _is_refetched(found, known):
            newest[found.package.identity] = found
    return tuple(sorted(newest.values(), key=lambda each: (each.name, each.package.specs)))


def update(
    installed: Installed, variables: Mapping[str, str], start: Callable[[Command, Profile], Child]
) -> Installed:
    """Fetch a package anew; what runs stays with what it has, and what nobody runs is removed.

    Args:
        installed: the package.
        variables: an environment, of which PATH and settings of certificates are used.
        start: starts a command isolated.

    Raises:
        LaunchError: it cannot be installed; then all stays as it is.
    """
    package, root = installed.package, packages_folder()
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
    """Remove a package; False where a server runs from it."""
    root = packages_folder()
    with lock(root, installed.package.identity):
        return not remove_unused(package_folders(root, installed.package.identity))


def server_homes(name: str) -> tuple[Path, ...]:
    """The folders of the kept homes of a server."""
    return tuple(folder for folder, owner in _homes() if owner == name)


def home_owners() -> tuple[str, ...]:
    """The servers that have a kept home."""
    return tuple(sorted({owner for _, owner in _homes()}))


def remove_home(folder: Path) -> None:
    """Remove a kept home.

    Raises:
        StateError: it cannot be removed.
    """
    try:
        remove_tree(folder)
    except OSError as error:
        raise StateError(f"{folder} cannot be removed: {error.strerror}.") from None


def _homes() -> Iterator[tuple[Path, str]]:
    for folder in sorted(homes_folder().glob("*")):
        file = folder / NAME_FILE
        if folder.name != PACKAGES and file.is_file():
            yield folder, file.read_text("utf-8", "replace")[:1000]


def _is_refetched(later: Installed, earlier: Installed) -> bool:
    """True if a package was fetched after itself in the same second."""
    order = package_folders(packages_folder(), later.package.identity)
    is_same = later.fetched == earlier.fetched
    return is_same and order.index(later.folder) > order.index(earlier.folder)


def _read(folder: Path) -> Installed | None:
    """Read a folder's own file; None where we did not write it."""
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
        versions = {str(name): str(version) for name, version in fields["versions"].items()}
        found = Installed(package, folder, int(fields["fetched"]), versions)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return found if package.specs and folder.name.startswith(package.identity) else None
