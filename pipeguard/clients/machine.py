"""Where clients' files lie on a machine or in a repository; reads none of them.

A Machine is a system, a home folder and an environment, so that all of it can be tried for any
system on any other.
"""

# A path is taken as it is written, and not resolved: what a link leads to is another file.
# ruff: noqa: PTH110, PTH111, PTH117, PTH120, PTH208
from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from pipeguard.clients.catalog import Client, ConfigScope, FileSpec, clients
from pipeguard.errors import InputError

# Where nobody keeps a client's file, and where there is much.
_NOT_SEARCHED = frozenset(
    {
        *(".git", ".hg", ".svn", "node_modules", ".venv", "venv", "__pycache__", ".tox"),
        *(".mypy_cache", "target", "dist", "build"),
    }
)
MOST_FOLDERS = 1_000_000  # of a repository; the largest that people work in have half as many
_IN_PROJECT = "{project}/"
_VARIABLE = re.compile(r"\$([A-Z_][A-Z0-9_]*)")
_FOLDER = re.compile(r"\{([a-z0-9]+)\}")


@dataclass(frozen=True, slots=True)
class Machine:
    """A user on a machine.

    Attributes:
        system: linux, macos or windows.
        home: the user's folder.
        environment: variables, some of which say where things lie.
        project: the folder whose project files count, or None.
    """

    system: str
    home: Path
    environment: Mapping[str, str]
    project: Path | None = None

    @classmethod
    def here(cls, project: Path | None = None) -> Machine:
        """This machine and its user."""
        system = {"darwin": "macos", "win32": "windows"}.get(sys.platform, "linux")
        return cls(system, Path.home(), os.environ, project)

    def folder(self, name: str) -> str | None:
        """A folder that is the same for all clients, or None where there is none."""
        home = str(self.home)
        xdg = self.environment.get("XDG_CONFIG_HOME", "")
        dot_config = xdg if os.path.isabs(xdg) else str(self.home / ".config")
        roaming = self.environment.get("APPDATA") or str(self.home / "AppData" / "Roaming")
        local = self.environment.get("LOCALAPPDATA") or str(self.home / "AppData" / "Local")
        windows = self.system == "windows"
        config = {
            "linux": dot_config,
            "macos": str(self.home / "Library" / "Application Support"),
            "windows": roaming,
        }[self.system]
        return {
            "home": home,
            "config": config,
            "xdg": str(self.home / ".config") if windows else dot_config,
            "unix": roaming if windows else dot_config,
            "appdata": roaming if windows else None,
            "localappdata": local if windows else None,
        }.get(name)


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file that exists, and every client that reads it.

    Attributes:
        path: as the client names it, links not followed.
        specs: how each client reads it.
    """

    path: Path
    specs: tuple[FileSpec, ...]


def find(machine: Machine, chosen: Iterable[Client] | None = None) -> list[ConfigFile]:
    """Every file of the clients that exists: of the user, and of the project where there is one."""
    found: dict[str, list[FileSpec]] = {}
    for client in clients().values() if chosen is None else chosen:
        for spec in client.files:
            for path in paths(machine, client, spec):
                specs = found.setdefault(str(path), [])
                if not any(spec.client == one.client and spec == one for one in specs):
                    specs.append(spec)
    return [ConfigFile(Path(path), tuple(specs)) for path, specs in found.items()]


def find_in_repository(root: Path, chosen: Iterable[Client] | None = None) -> list[ConfigFile]:
    """Every project file in a folder and in all below it; hidden ones too, but no packages.

    Names fit in any case, as they do on systems that know none, and for all systems: whoever clones
    the repository has perhaps another than this one.

    Raises:
        InputError: there are more folders than are searched.
    """
    places: dict[tuple[str, ...], list[FileSpec]] = {}
    for client in clients().values() if chosen is None else chosen:
        for spec in client.files:
            for place in dict.fromkeys(one for each in spec.places.values() for one in each):
                if spec.scope is ConfigScope.PROJECT and place.startswith(_IN_PROJECT):
                    parts = tuple(place.removeprefix(_IN_PROJECT).lower().split("/"))
                    places.setdefault(parts, []).append(spec)
    found: dict[Path, list[FileSpec]] = {}
    for folder, names in _folders(root):
        for parts, specs in places.items():
            for path in _named(folder, names, parts):
                known = found.setdefault(path, [])
                known += (spec for spec in specs if spec not in known)
    return [ConfigFile(path, tuple(specs)) for path, specs in found.items()]


def specs_of(client: Client, path: Path) -> tuple[FileSpec, ...]:
    """How a client would read a file of that name, wherever it lies."""
    named = [
        spec
        for spec in client.files
        for places in spec.places.values()
        if any(fnmatchcase(path.name, place.rpartition("/")[2]) for place in places)
    ]
    found = [spec for index, spec in enumerate(named) if spec not in named[:index]]
    return tuple(found) or client.files[:1]


def is_present(machine: Machine, client: Client) -> bool:
    """Whether the client seems to be installed: a file or a folder of its own exists."""
    places = client.present.get(machine.system, ())
    return any(
        next(_expanded(machine, client, place, None), None) is not None for place in places
    ) or any(True for spec in client.files for _ in paths(machine, client, spec))


def managed_by(machine: Machine, client: Client) -> Path | None:
    """The administrator's file that takes the client's servers over, if there is one."""
    for place in client.managed.get(machine.system, ()):
        for path in _expanded(machine, client, place, None):
            return path
    return None


def paths(machine: Machine, client: Client, spec: FileSpec) -> list[Path]:
    """The files of one kind that exist."""
    places = spec.places.get(machine.system, ())
    if not any("{project}" in place for place in places):
        return _existing(_places(machine, client, spec, None), spec)
    found = []
    for folder in _upwards(machine.project):
        found += _existing(_places(machine, client, spec, folder), spec)
    return found


def repository(folder: Path) -> Path | None:
    """The top of the repository that a folder is in, or None."""
    for one in (folder, *folder.parents):
        if os.path.exists(one / ".git"):  # Path.exists raises where a folder is closed to us
            return one
    return None


def _existing(places: Iterator[Path], spec: FileSpec) -> list[Path]:
    found = list(dict.fromkeys(places))
    return found[:1] if spec.first else found


def _places(
    machine: Machine, client: Client, spec: FileSpec, project: Path | None
) -> Iterator[Path]:
    for place in spec.places.get(machine.system, ()):
        yield from _expanded(machine, client, place, project)


def _expanded(machine: Machine, client: Client, place: str, project: Path | None) -> Iterator[Path]:
    """The existing paths that a place stands for."""
    path = _resolved(machine, client, place, project)
    if path is None:
        return
    if "*" not in path:
        if os.path.lexists(path):
            yield Path(path)
        return
    # Only the place may hold patterns: a folder that has brackets in its name is no pattern.
    base = os.path.dirname(path.partition("*")[0])
    try:
        yield from sorted(Path(base).glob(os.path.relpath(path, base)))
    except (OSError, ValueError):
        return


def _resolved(machine: Machine, client: Client, place: str, project: Path | None) -> str | None:
    missing = False

    def variable(match: re.Match[str]) -> str:
        nonlocal missing
        value = machine.environment.get(match[1], "")
        missing = missing or not value
        return value

    def folder(match: re.Match[str]) -> str:
        nonlocal missing
        value = _folder(machine, client, match[1], project)
        missing = missing or value is None
        return value or ""

    # Variables first: what a folder is called must not be read as one.
    path = _FOLDER.sub(folder, _VARIABLE.sub(variable, place))
    if missing or not os.path.isabs(os.path.expanduser(path)):
        return None
    return str(Path(os.path.expanduser(path)))


def _folder(machine: Machine, client: Client, name: str, project: Path | None) -> str | None:
    if name == "project":
        return str(project) if project else None
    for place in client.folders.get(name, {}).get(machine.system, ()):
        path = _resolved(machine, client, place, project)
        if path is not None:
            return path
    return machine.folder(name)


def _upwards(folder: Path | None) -> Sequence[Path]:
    """A folder and those above it, up to the top of its repository; alone where it has none."""
    if folder is None:
        return ()
    top = repository(folder)
    if top is None:
        return (folder,)
    return [one for one in (folder, *folder.parents) if one == top or top in one.parents]


def _folders(root: Path) -> Iterator[tuple[Path, Sequence[str]]]:
    """Each folder that is searched, with the names of all that is in it."""
    left = MOST_FOLDERS
    for folder, inner, files in os.walk(root):
        left -= 1
        if left < 0:
            raise InputError(
                f"{root} has more than {MOST_FOLDERS:,} folders.\n"
                "  Name the parts of it that are to be assessed, one at a time."
            )
        yield Path(folder), sorted((*inner, *files))
        inner[:] = sorted(name for name in inner if name not in _NOT_SEARCHED)


def _named(folder: Path, names: Sequence[str], parts: Sequence[str]) -> Iterator[Path]:
    """What is in a folder under a name, or under several that follow; `*` fits many."""
    wanted, *rest = parts
    for name in names:
        if name.lower() != wanted and not ("*" in wanted and fnmatchcase(name.lower(), wanted)):
            continue
        if not rest:
            yield folder / name
            continue
        try:
            inner = sorted(os.listdir(folder / name))
        except OSError:  # it is no folder
            continue
        yield from _named(folder / name, inner, rest)
