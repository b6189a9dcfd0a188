"""Finds clients' files on a machine or in a repository; reads none of them.

A Machine is a system, a home folder and an environment, so any system can be tested on any other.
"""

# Paths are not resolved: a link leads to another file.
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from operator import itemgetter
from os.path import dirname, exists, expanduser, isabs, lexists, realpath, relpath
from pathlib import Path
from typing import NamedTuple, Self

from pipeguard.clients.catalog import Client, ConfigScope, FileSpec, clients
from pipeguard.errors import InputError

# Large folders that contain no client's file.
_NOT_SEARCHED = {
    ".git",
    ".hg",
    ".svn",
    "node_modules",
    ".venv",
    "venv",
    "__pycache__",
    ".tox",
    ".mypy_cache",
    "target",
    "dist",
    "build",
}
MOST_FOLDERS = 1_000_000  # of a repository; the largest known ones have half as many
_IN_PROJECT = "{project}/"
_VARIABLE = re.compile(r"\$([A-Z_][A-Z0-9_]*)")
_FOLDER = re.compile(r"\{([a-z0-9]+)\}")


class Machine(NamedTuple):
    """A user on a machine.

    Attributes:
        system: linux, macos or windows.
        home: the user's home folder.
        environment: variables, some of which name folders.
        project: the folder to search for project files, or None.
    """

    system: str
    home: Path
    environment: Mapping[str, str]
    project: Path | None = None

    @classmethod
    def here(cls, project: Path | None = None) -> Self:
        """Return this machine and its user; the home folder is not a project."""
        system = {"darwin": "macos", "win32": "windows"}.get(sys.platform, "linux")
        home = Path.home()
        return cls(system, home, os.environ, None if project == home else project)

    @classmethod
    def in_current_folder(cls) -> Self:
        """Return this machine, with the current folder as its project if it still exists."""
        try:
            return cls.here(Path.cwd())
        except FileNotFoundError:
            return cls.here()

    def folder(self, name: str) -> str | None:
        """Resolve a folder that all clients share; None if the name is not one."""
        xdg = self.environment.get("XDG_CONFIG_HOME", "")
        dot_config = xdg if isabs(xdg) else str(self.home / ".config")
        roaming = self.environment.get("APPDATA") or str(self.home / "AppData" / "Roaming")
        local = self.environment.get("LOCALAPPDATA") or str(self.home / "AppData" / "Local")
        windows = self.system == "windows"
        config = {
            "linux": dot_config,
            "macos": str(self.home / "Library" / "Application Support"),
            "windows": roaming,
        }[self.system]
        return {
            "home": str(self.home),
            "config": config,
            "xdg": str(self.home / ".config") if windows else dot_config,
            "unix": roaming if windows else dot_config,
            "appdata": roaming if windows else None,
            "localappdata": local if windows else None,
        }.get(name)


class ConfigFile(NamedTuple):
    """An existing file, and every client that reads it.

    Attributes:
        path: its path in the client, links not resolved.
        specs: how each client reads it.
    """

    path: Path
    specs: tuple[FileSpec, ...]


def find(machine: Machine, chosen: Iterable[Client] | None = None) -> list[ConfigFile]:
    """Find every existing file of the clients: the user's, and the project's if any."""
    return _join(
        (path, spec) for client, spec in _specs(chosen) for path in paths(machine, client, spec)
    )


def find_in_repository(root: Path) -> list[ConfigFile]:
    """Every project file in a folder and below it; in hidden folders too, but not in packages.

    Names match in any case, as on systems that ignore it, and for all systems: people who clone the
    repository may have another one than this.

    Raises:
        InputError: there are more folders than the limit.
    """
    places: dict[tuple[str, ...], list[FileSpec]] = {}
    for _, spec in _specs(None):
        for place in _project_places(spec):
            places.setdefault(tuple(place.lower().split("/")), []).append(spec)
    return _join(
        (path, spec)
        for folder, names in _folders(root)
        for parts, specs in places.items()
        for path in _find_named(folder, names, parts)
        for spec in specs
    )


def _join(readings: Iterable[tuple[Path, FileSpec]]) -> list[ConfigFile]:
    """List each file once, by the first path that leads to it, with every way to read it.

    A project's file may be a link to the user's own. They stay two: the project did not write it.
    """
    keys: dict[Path, tuple[str, bool]] = {}
    files: dict[tuple[str, bool], ConfigFile] = {}
    for path, spec in readings:
        if path not in keys:
            real = str(path)
            with suppress(OSError):  # a link that may not be read, as one into another process
                real = realpath(path)
            keys[path] = real, spec.scope is ConfigScope.PROJECT
        key = keys[path]
        file = files.setdefault(key, ConfigFile(path, ()))
        if spec not in file.specs:
            files[key] = ConfigFile(file.path, (*file.specs, spec))
    # The client whose file it is, before those that read others' files too, at more places.
    joined = []
    for file in files.values():
        specs = sorted(file.specs, key=lambda spec: sum(map(len, spec.places.values())))
        joined.append(ConfigFile(file.path, tuple(specs)))
    return joined


def _specs(chosen: Iterable[Client] | None) -> Iterator[tuple[Client, FileSpec]]:
    """The kinds of files of the chosen clients, or of all."""
    if chosen is None:
        chosen = clients().values()
    for client in chosen:
        for spec in client.files:
            yield client, spec


def _project_places(spec: FileSpec) -> Iterator[str]:
    """The places of a project's file on all systems, from the project's folder on, each once."""
    if spec.scope is ConfigScope.PROJECT:
        places = dict.fromkeys(place for system in spec.places.values() for place in system)
        yield from (
            place.removeprefix(_IN_PROJECT) for place in places if place.startswith(_IN_PROJECT)
        )


def find_specs(client: Client, path: Path) -> tuple[FileSpec, ...]:
    """Find how a client would read a file with this name, in any folder; closest match first."""
    likeness = [
        (path.parent.name != f"/{place}".split("/")[-2], spec)
        for spec in client.files
        for places in spec.places.values()
        for place in places
        if fnmatchcase(path.name, place.rpartition("/")[2])
    ]
    named = [spec for _, spec in sorted(likeness, key=itemgetter(0))]
    specs = [spec for index, spec in enumerate(named) if spec not in named[:index]]
    return tuple(specs) or client.files[:1]


def is_present(machine: Machine, client: Client) -> bool:
    """True if the client seems to be installed: a file or a folder of its own exists."""
    places = client.present.get(machine.system, ())
    return any(_expand(machine, client, places, None)) or any(
        paths(machine, client, spec) for spec in client.files
    )


def managing_file(machine: Machine, client: Client) -> Path | None:
    """The administrator's file that replaces the client's servers, if there is one."""
    places = client.managed.get(machine.system, ())
    return next(_expand(machine, client, places, None), None)


def paths(machine: Machine, client: Client, spec: FileSpec) -> list[Path]:
    """The existing files of one kind."""
    places = spec.places.get(machine.system, ())
    is_projects = any("{project}" in place for place in places)
    found = []
    folders = _upwards(machine.project) if is_projects else (None,)
    for folder in folders:
        existing = dict.fromkeys(_expand(machine, client, places, folder))
        found += [*existing][: 1 if spec.first else None]
    return found


def repository(folder: Path) -> Path | None:
    """The top folder of the repository that a folder is in, or None."""
    for top in (folder, *folder.parents):
        if exists(top / ".git"):  # Path.exists raises if we may not read the folder
            return top
    return None


def is_in_repository(path: Path) -> bool:
    """True if a file, after links, is in a repository, through which others may get it.

    git is not asked whether it ignores the file: a clone's configuration can make it run programs.
    """
    return repository(Path(realpath(path)).parent) is not None


def _expand(
    machine: Machine, client: Client, places: Iterable[str], project: Path | None
) -> Iterator[Path]:
    """The existing paths of places."""
    for place in places:
        path = _resolve(machine, client, place, project)
        if path is None:
            continue
        # Only the place may contain patterns: brackets in a folder's own name are literal.
        base = dirname(path.partition("*")[0])
        if "*" in path:
            with suppress(OSError, ValueError):
                yield from sorted(Path(base).glob(relpath(path, base)))
        elif lexists(path) or _is_hidden(path):
            yield Path(path)


def _is_hidden(path: str) -> bool:
    """True if a path may exist in a folder that exists but may not be entered."""
    try:
        os.lstat(path)
    except PermissionError:
        return Path(dirname(path)).is_dir()
    except (OSError, ValueError):
        return False
    return False


def _resolve(machine: Machine, client: Client, place: str, project: Path | None) -> str | None:
    """The path that a place names here; None if a variable or folder in it has no value."""
    if not all(map(machine.environment.get, _VARIABLE.findall(place))):
        return None
    # Variables first: a folder's own name must not be read as one.
    path = _VARIABLE.sub(lambda match: machine.environment[match[1]], place)
    names = _FOLDER.findall(path)
    folders = {name: _folder(machine, client, name, project) for name in names}
    if None in folders.values():
        return None
    path = expanduser(_FOLDER.sub(lambda match: str(folders[match[1]]), path))
    return str(Path(path)) if isabs(path) else None


def _folder(machine: Machine, client: Client, name: str, project: Path | None) -> str | None:
    if name == "project":
        return str(project) if project else None
    for place in client.folders.get(name, {}).get(machine.system, ()):
        path = _resolve(machine, client, place, project)
        if path:
            return path
    return machine.folder(name)


def _upwards(folder: Path | None) -> Sequence[Path]:
    """List a folder and its parents up to the top of its repository; without one, the folder."""
    if folder is None:
        return ()
    top = repository(folder)
    if not top:
        return (folder,)
    return [above for above in (folder, *folder.parents) if above == top or top in above.parents]


def _folders(root: Path) -> Iterator[tuple[Path, Sequence[str]]]:
    """Each folder to search, with the names of its contents."""
    remaining = MOST_FOLDERS
    for folder, inner, files in os.walk(root):
        remaining -= 1
        if remaining < 0:
            raise InputError(
                f"{root} has more than {MOST_FOLDERS:,} folders.\n"
                "  Assess parts of it, one at a time."
            )
        yield Path(folder), sorted((*inner, *files))
        inner[:] = sorted(name for name in inner if name not in _NOT_SEARCHED)


def _find_named(folder: Path, names: Sequence[str], parts: Sequence[str]) -> Iterator[Path]:
    """Find paths in a folder by a name and the names of the folders below; `*` matches any."""
    first, *rest = parts
    for name in names:
        if name.lower() != first and not ("*" in first and fnmatchcase(name.lower(), first)):
            continue
        if not rest:
            yield folder / name
            continue
        try:
            inner = sorted(os.listdir(folder / name))
        except OSError:  # it is not a folder
            continue
        yield from _find_named(folder / name, inner, rest)
