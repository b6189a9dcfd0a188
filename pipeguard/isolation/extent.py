"""Everything an isolated server can touch, as values, each with its source. Decides nothing."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from pipeguard.isolation import git_settings, run_later, server_view
from pipeguard.isolation.profile import WRITE_ROOTS, Profile, ResourceLimits
from pipeguard.isolation.sensitive import is_below, is_in_any, is_inside
from pipeguard.isolation.view import SYSTEM, Mount, MountKind

ITS_PROGRAM, ITS_PROJECT = "its program", "the project that its program is in"  # sources
ITS_ARGUMENTS = "its arguments or variables"
ITS_OPTIONS, POLICY, KNOWN = "its options", "your policy", "its package is known"
OF_GIT = "your name and settings of git, no credentials: its package is known"
GIVEN = ("write", "read", "hosts", "loopback")  # fields with a source
DOTENV = ".env"  # a file of variables, with keys in it mostly: `.env`, `.env.local`
MOST_NAMES = 1000  # of a folder that are looked through for such files


class Given(NamedTuple):
    """One grant of a server.

    Attributes:
        what: a path, a host as written, or a port.
        why: its source.
    """

    what: str
    why: str


class Extent(NamedTuple):
    """Everything that one isolated server can touch.

    Attributes:
        write: the user's files and folders that it may change.
        read: those that it may read: named ones, then those its program needs.
        fixed: read-only paths in folders that it may change.
        git: changeable parts of repositories that git runs later: `.git`, or paths in it.
        hidden: paths in granted folders that do not exist for it.
        secrets: files of variables that it may read.
        package: the package that it runs from; empty if there is none.
        is_fetched: True if the package is fetched, so that its interpreter's needs are known.
        system: folders of this machine's system, which it may read.
        own: folders of its own, in memory.
        kept_home: the folder that is its home if that is kept; else empty.
        hosts: hosts it may connect to.
        loopback: ports of this machine that it may connect to.
        roots: `read` or `write` if it is given the client's roots.
        folder: its working directory.
        unknown: why PipeGuard cannot tell its program's needs; else empty.
    """

    engine: str
    write: tuple[Given, ...] = ()
    read: tuple[Given, ...] = ()
    fixed: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    package: str = ""
    is_fetched: bool = True
    system: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    kept_home: str = ""
    hosts: tuple[Given, ...] = ()
    loopback: tuple[Given, ...] = ()
    roots: str = ""
    limits: ResourceLimits = ResourceLimits()
    folder: str = ""
    unknown: str = ""
    git: tuple[str, ...] = ()

    @property
    def is_offline(self) -> bool:
        """True if it may not connect to anything."""
        return not self.hosts and not self.loopback

    @property
    def changes_roots(self) -> bool:
        """True if it may change the client's roots."""
        return self.roots == WRITE_ROOTS

    def fields(self) -> dict[str, object]:
        """The fields for programs."""
        fields = self._asdict()
        for name in GIVEN:
            fields[name] = [each._asdict() for each in fields[name]]
        return {**fields, "limits": self.limits._asdict()}


def compute_extent(
    engine: str,
    seen: server_view.ServerView,
    sources: Sequence[tuple[str, Profile]],
    package: tuple[str, str, bool] = ("", "", True),
    kept_home: str = "",
) -> Extent:
    """Compute the extent of a server from its view.

    Args:
        engine: the engine that isolates it.
        seen: its view.
        sources: each source of its grants, and what it gives; the one with precedence first.
        package: the package that it fetches: name, folder, and True if it was fetched.
        kept_home: its home, if that is kept.
    """
    name, package_folder, is_fetched = package
    profile = seen.profile
    mounts = seen.files.mounts
    given = frozenset((*profile.read, *profile.write))
    needed = dict.fromkeys(
        each
        for each in seen.needed
        if each not in given and not (package_folder and is_inside(each, package_folder))
    )
    fixed = [each for each in needed if is_in_any(each, profile.write)]
    alone = [each for each in needed if each not in fixed]
    last = {mount.path: mount.kind for mount in mounts}  # which covers one before it
    read_only = {path for path, kind in last.items() if kind is MountKind.READ}
    held = (path for path in sorted(read_only - given) if is_below(path, profile.write))
    alone = [each for each in alone if not is_below(each, (*alone, *profile.read))]
    write = tuple(_with_sources(profile.write, "write", sources, ITS_ARGUMENTS))
    named = tuple(_with_sources(profile.read, "read", sources, ITS_ARGUMENTS))
    projects = [path for path in alone if any(is_below(each, (path,)) for each in seen.code)]
    read = (
        *(each for each in named if not is_below(each.what, projects)),
        *(Given(each.path, OF_GIT) for each in mounts if each.path == git_settings.PLACE),
        *(Given(path, ITS_PROJECT) for path in projects),
        *(Given(path, ITS_PROGRAM) for path in alone if path not in projects),
    )
    return Extent(
        engine,
        write,
        read,
        tuple(dict.fromkeys((*fixed, *held))),
        tuple(_mounted_paths(mounts, MountKind.HIDDEN)),
        tuple(_secret_files(each.what for each in (*write, *read))),
        name,
        is_fetched,
        tuple(_mounted_paths(mounts, MountKind.READ, SYSTEM)),
        tuple(_mounted_paths(mounts, MountKind.EMPTY)),
        kept_home,
        tuple(_with_sources(profile.hosts, "hosts", sources, ITS_OPTIONS)),
        tuple(_with_sources(map(str, profile.loopback), "loopback", sources, ITS_OPTIONS)),
        profile.roots,
        profile.limits,
        seen.files.folder,
        git=tuple(dict.fromkeys(run_later.changed_git(profile.write, read_only))),
    )


def _mounted_paths(
    mounts: Iterable[Mount], kind: MountKind, among: Sequence[str] = ()
) -> Iterator[str]:
    for mount in mounts:
        if mount.kind is kind and (not among or mount.path in among):
            yield mount.path


def _with_sources(
    values: Iterable[str], kind: str, sources: Sequence[tuple[str, Profile]], otherwise: str
) -> Iterator[Given]:
    """Values with the first source that grants them."""
    for value in values:
        holders = (why for why, given in sources if value in map(str, getattr(given, kind)))
        yield Given(value, next(holders, otherwise))


def _secret_files(paths: Iterable[str]) -> Iterator[str]:
    """Files of variables directly in folders, or among the paths."""
    for path in paths:
        try:
            names = sorted(os.listdir(path))[:MOST_NAMES]
        except OSError:  # a file, or not ours to read
            names = []
        yield from (
            f"{path}/{name}" for name in names if name == DOTENV or name.startswith(f"{DOTENV}.")
        )
